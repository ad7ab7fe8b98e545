"""Reads YAML and remembers on which line each key stands, so that an error can say where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from keyturn.config.problems import ConfigProblems, KeyPath, Problem

_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A configuration file as plain data."""

    file: Path
    data: object
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest key around it when the key itself is not there."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        # What is missing at the outermost level is missing from the first line on.
        return 1 if path else None

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A problem with the key at `path`."""
        return Problem(file=self.file, line=self.line(path), path=path, message=message)


def read_document(file: Path) -> Document:
    """The file's content. Raises `ConfigProblems` when it cannot be read, is no YAML, or has a key twice."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigProblems([_whole(file, "there is no such file; name the configuration with --config")]) from None
    except UnicodeDecodeError:
        raise ConfigProblems([_whole(file, "is not UTF-8 text")]) from None
    except OSError as error:
        raise ConfigProblems([_whole(file, f"cannot be read: {error.strerror}")]) from None
    try:
        return _Reader(file, text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigProblems([Problem(file=file, line=line, path=(), message=f"is no valid YAML: {what}")]) from None
    except yaml.YAMLError:
        raise ConfigProblems([_whole(file, "is no valid YAML: it holds characters that YAML does not allow")]) from None


def _whole(file: Path, message: str) -> Problem:
    return Problem(file=file, line=None, path=(), message=message)


class _Reader:
    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._loader = yaml.SafeLoader(text)
        self._lines: dict[KeyPath, int] = {}
        self._problems: list[Problem] = []
        self._within: set[int] = set()

    def document(self) -> Document:
        try:
            root = self._loader.get_single_node()
            data = {} if root is None else self._value(root, ())
        finally:
            self._loader.dispose()
        if self._problems:
            raise ConfigProblems(self._problems)
        return Document(file=self._file, data=data, lines=self._lines)

    def _value(self, node: yaml.Node, path: KeyPath) -> object:
        if node.tag.startswith("!") or (not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS):
            self._complain(node, path, f"has the tag {node.tag!r}, which means nothing here: remove it")
            return None
        if id(node) in self._within:
            self._complain(node, path, "contains itself through an alias")
            return None
        self._within.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self._item(item, (*path, number)) for number, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._within.discard(id(node))

    def _scalar(self, node: yaml.Node) -> object:
        loader: Any = self._loader  # untyped in the stubs
        value: object = loader.construct_object(node, deep=True)
        return value

    def _item(self, node: yaml.Node, path: KeyPath) -> object:
        self._lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _TEXT:
                self._complain(key, path, f"a key here is no text: put it in quotes, as {str(key.value)!r}")
            elif key.value in seen:
                self._complain(key, (*path, key.value), f"is there twice, first on line {seen[key.value]}: remove one")
            seen.setdefault(str(key.value), key.start_mark.line + 1)
        self._loader.flatten_mapping(node)
        found: dict[str, object] = {}
        for key, value in node.value:
            inner = (*path, str(key.value))
            self._lines[inner] = key.start_mark.line + 1
            found[str(key.value)] = self._value(value, inner)
        return found

    def _complain(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        self._problems.append(
            Problem(file=self._file, line=node.start_mark.line + 1, path=path, message=message),
        )
