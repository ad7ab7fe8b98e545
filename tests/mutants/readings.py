"""Unknown read as zero: at each place of the domain that reads something which may be unknown, the reading is replaced by
one that takes the unknown for nothing, or overlooks it. One function's code changes, and nothing else.
"""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import CodeType, FunctionType, ModuleType

import pytest
from tests.mutants.surgery import Patch

from keyturn.domain import absorb, establish, guards, observations, room, rows, situation, succession, withdraw
from keyturn.domain.observations import Acceptance, Entry

MODULES = (observations, situation, rows, establish, withdraw, room, guards, absorb, succession)
ALL_TOLD = datetime.max.replace(tzinfo=UTC)
ALWAYS_TOLD = datetime.min.replace(tzinfo=UTC)

CALLS = {
    "copies": ("no copy", "{} or frozenset()"),
    "stored": ("no copy", "{} or frozenset()"),
    "readable": ("no", "{} or False"),
    "unasked": ("no", "False"),
}
TOLD = {
    "watermark": ("all told", "_all_told if {0} is None else {0}"),
    "failure_watermark": ("all told", "_all_told if {0} is None else {0}"),
    "since": ("told ever since", "_always_told if {0} is None else {0}"),
    "room": ("none", "{} or 0"),
}
SEEN = frozenset({"s.seen", "s.seen.usage", "usage", "self.seen.usage"})
WORDS = frozenset({"ServingKind.UNKNOWN", "Acceptance.UNREACHABLE", "Acceptance.UNSETTLED", "Entry.UNKNOWN"})
MEANT = {"Acceptance": ("ACCEPTED", "REFUSED"), "Entry": ("ABSENT", "REVOKED")}
"""What an unknown that is written down, rather than asked for, may be taken for."""


def replacements(node: ast.expr, within: ast.AST | None) -> Iterator[tuple[str, str]]:
    """What a reading may be taken for: a word for it, and the expression."""
    text = ast.unparse(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
        word, zero = CALLS[node.func.attr]
        if not isinstance(within, ast.BoolOp | ast.IfExp | ast.UnaryOp):  # there an unknown counts as nothing already
            yield word, zero.format(text)
    if isinstance(node, ast.Attribute) and node.attr in TOLD and ast.unparse(node.value) in SEEN:
        word, zero = TOLD[node.attr]
        yield word, zero.format(text)
    if text in WORDS and isinstance(within, ast.Call) and ast.unparse(within.func).endswith(".get"):
        kind = text.partition(".")[0]
        yield from ((word.lower(), f"{kind}.{word}") for word in MEANT[kind])
    elif text in WORDS and not isinstance(within, ast.IfExp):
        yield "overlooked", "None"
    if text == "len(known) == len(marks)":
        yield "true", "True"
    if text == "s.seen.verifiers" and isinstance(within, ast.UnaryOp):
        yield "some", "True"


def parsed(text: str) -> ast.expr:
    """An expression from its text."""
    return ast.parse(text, mode="eval").body


class _Replace(ast.NodeTransformer):
    """Replaces nodes, by their identity."""

    def __init__(self, by: dict[int, ast.expr]) -> None:
        self.by = by

    def visit(self, node: ast.AST) -> ast.AST:
        return self.by[id(node)] if id(node) in self.by else super().visit(node)


def sites(module: ModuleType) -> Iterator[tuple[str, FunctionType, CodeType]]:
    """Each reading of a module, read otherwise: a name for it, the function, and the code that the function gets."""
    tree = ast.parse(inspect.getsource(module))
    for owner, definition in definitions(tree):
        parents = {child: node for node in ast.walk(definition) for child in ast.iter_child_nodes(node)}
        found: dict[str, list[tuple[ast.expr, str]]] = {}
        times: Counter[str] = Counter()
        for node in (one for one in ast.walk(definition) if isinstance(one, ast.expr)):
            for word, by in replacements(node, parents.get(node)):
                name = f"{ast.unparse(node)} is {word}"
                if not (isinstance(node, ast.Attribute) and node.attr in TOLD):
                    times[name] += 1
                    name += f", {times[name]}" if times[name] > 1 else ""
                found.setdefault(name, []).append((node, by))
        for name, changes in found.items():
            with changed(definition, changes):
                code = compiled(tree, module, owner, definition)
            yield f"{definition.name}: {name}", function(module, owner, definition.name), code


@contextmanager
def changed(definition: ast.FunctionDef, changes: list[tuple[ast.expr, str]]) -> Iterator[None]:
    """Some expressions of a function are others for a while: to copy the tree for each change would take a second."""
    by = {id(node): parsed(text) for node, text in changes}
    back = {id(by[id(node)]): node for node, _ in changes}
    _Replace(by).visit(definition)
    yield
    _Replace(back).visit(definition)


def definitions(tree: ast.Module) -> Iterator[tuple[str | None, ast.FunctionDef]]:
    """The functions of a module, and the methods with their class."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield None, node
        if isinstance(node, ast.ClassDef):
            yield from ((node.name, one) for one in node.body if isinstance(one, ast.FunctionDef))


def function(module: ModuleType, owner: str | None, name: str) -> FunctionType:
    """The function that a definition made."""
    made = vars(module)[name] if owner is None else inspect.getattr_static(vars(module)[owner], name)
    if isinstance(made, property):
        made = made.fget
    assert isinstance(made, FunctionType)
    return made


def compiled(tree: ast.Module, module: ModuleType, owner: str | None, definition: ast.FunctionDef) -> CodeType:
    """The code of one function of a changed module."""
    code = compile(tree, module.__file__ or module.__name__, "exec")
    begins = min([definition.lineno, *[one.lineno for one in definition.decorator_list]])
    if owner is not None:
        code = next(one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == owner)
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return next(one for one in inner if (one.co_name, one.co_firstlineno) == (definition.name, begins))


def read_as_zero() -> dict[str, Patch]:
    """Every mutant of this kind."""
    patches = {
        f"unknown in {module.__name__.rpartition('.')[2]}.{name}": _with_code(module, changed, code)
        for module in MODULES
        for name, changed, code in sites(module)
    }
    for taken in (Acceptance.ACCEPTED, Acceptance.REFUSED):
        listed = {**situation.LISTED_AS, Entry.UNKNOWN: taken}
        patches[f"unknown in situation.LISTED_AS is {taken}"] = _listing(listed)
    return patches


def _with_code(module: ModuleType, changed: FunctionType, code: CodeType) -> Patch:
    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(module, "_all_told", ALL_TOLD, raising=False)
        patch.setattr(module, "_always_told", ALWAYS_TOLD, raising=False)
        patch.setattr(changed, "__code__", code)

    return patched


def _listing(listed: dict[Entry, Acceptance]) -> Patch:
    return lambda patch: patch.setattr(situation, "LISTED_AS", listed)
