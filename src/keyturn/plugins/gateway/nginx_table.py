"""The text of an nginx key table: one line a key, `"<full key value>" "<kid>:<state>";`, included into a `map` block.

Lines that are not ours (comments, directives of `map`, entries made by hand) stay as they are, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from keyturn.domain.errors import Absent, Conflict, Invalid
from keyturn.domain.observations import Entry
from keyturn.domain.secret_value import SecretValue

_WORD = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s;{}\"'\#][^\s;{}]*"
_LINE = re.compile(rf"(?P<indent>\s*)(?:(?P<left>{_WORD})(?:\s+(?P<right>{_WORD}))?\s*;)?(?P<rest>\s*(?:#.*)?)")
_ENTRY = re.compile(r"(?P<kid>[A-Za-z0-9]+):(?P<state>active|disabled|revoked)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n"}
# What several lines of one key id come to: nginx accepts the key if it accepts any of them.
_STRONGEST_FIRST = (Entry.ACTIVE, Entry.DISABLED, Entry.REVOKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the file; the fields after `text` are set when it is the entry of a key."""

    text: str = field(repr=False)
    kid: str | None = None
    state: Entry | None = None
    value: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTable:
    """A whole table. Changes return a new one; what changes nothing returns an equal one."""

    lines: tuple[Line, ...]

    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    def entries(self) -> Mapping[str, Entry]:
        """The state of each key id that has a line."""
        found: dict[str, set[Entry]] = {}
        for line in self.lines:
            if line.kid is not None and line.state is not None:
                found.setdefault(line.kid, set()).add(line.state)
        return {kid: next(state for state in _STRONGEST_FIRST if state in states) for kid, states in found.items()}

    def active(self) -> Iterator[tuple[str, SecretValue]]:
        """Each key that has an active line, its id and its value."""
        for line in self.lines:
            if line.kid is not None and line.state is Entry.ACTIVE and line.value:
                yield line.kid, SecretValue(line.value)

    def lists(self, kid: str, value: SecretValue) -> Entry:
        """What the table says of this very value."""
        states = {line.state for line in self._of(kid) if line.value is not None and _same(line.value, value)}
        return next((state for state in _STRONGEST_FIRST if state in states), Entry.ABSENT)

    def install(self, kid: str, value: SecretValue) -> KeyTable:
        """With an active line of this key, unless it has one already, active or disabled."""
        lines = self._of(kid)
        if any(line.state is Entry.REVOKED for line in lines):
            raise Conflict(f"key {kid} is revoked in the key table; mint another")
        if any(line.value is not None and _same(line.value, value) for line in lines):
            return self
        if lines:
            raise Conflict(f"the key table holds another value under key id {kid}")
        if any(line.value is not None and _same(line.value, value) for line in self.lines):
            raise Conflict(f"the key table holds the value of key {kid} under another key id")
        return self._with(f'"{value.reveal()}" "{kid}:active";')

    def enable(self, kid: str) -> KeyTable:
        lines = self._of(kid)
        if any(line.state is Entry.REVOKED for line in lines):
            raise Conflict(f"key {kid} is revoked in the key table, for good")
        if not lines:
            raise Absent(f"the key table has no line of key {kid} to enable; install it")
        return self._set(kid, Entry.ACTIVE)

    def disable(self, kid: str) -> KeyTable:
        """Without any accepted line of this key; one that is not there is refused already."""
        return self._set(kid, Entry.DISABLED, unless=Entry.REVOKED)

    def revoke(self, kid: str) -> KeyTable:
        """With nothing but revoked lines of this key, and at least one."""
        if self._of(kid):
            return self._set(kid, Entry.REVOKED)
        # No header can hold a line feed, so no presentation matches this line, and none can pose as the key's holder.
        return self._with(f'"\\nrevoked {kid}" "{kid}:revoked";')

    def _of(self, kid: str) -> list[Line]:
        return [line for line in self.lines if line.kid == kid]

    def _set(self, kid: str, state: Entry, *, unless: Entry | None = None) -> KeyTable:
        return replace(
            self,
            lines=tuple(
                _restated(line, state) if line.kid == kid and line.state not in (state, unless) else line
                for line in self.lines
            ),
        )

    def _with(self, text: str) -> KeyTable:
        # After the last line and before the end of the file's final newline.
        lines = list(self.lines)
        ending = [lines.pop()] if lines and lines[-1].text == "" else [Line(text="")]
        return replace(self, lines=(*lines, _parse_line(text, where="the new line"), *ending))


def parse_table(text: str, *, where: str) -> KeyTable:
    """The table in `text`. Raises `Invalid` naming file and line, and nothing of what stands there."""
    return KeyTable(
        lines=tuple(_parse_line(raw, where=f"{where}:{number}") for number, raw in enumerate(text.split("\n"), start=1))
    )


def _parse_line(raw: str, *, where: str) -> Line:
    found = _LINE.fullmatch(raw)
    if found is None:
        raise Invalid(f'{where}: not a line of a key table ("<key>" "<kid>:<state>";); mend it by hand')
    left, right = found["left"], found["right"]
    entry = _ENTRY.fullmatch(_unquoted(right)) if right is not None else None
    if entry is None:
        return Line(text=raw)
    return Line(text=raw, kid=entry["kid"], state=Entry(entry["state"]), value=_unquoted(left))


def _restated(line: Line, state: Entry) -> Line:
    found = _LINE.fullmatch(line.text)
    assert found is not None  # noqa: S101  # only parsed lines have a key id
    text = f'{found["indent"]}{found["left"]} "{line.kid}:{state}";{found["rest"]}'
    return replace(line, text=text, state=state)


def _unquoted(word: str) -> str:
    if word[0] not in "\"'":
        return word
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), word[1:-1])


def _same(listed: str, value: SecretValue) -> bool:
    # nginx looks up without regard to case.
    return SecretValue(listed.lower() or " ") == SecretValue(value.reveal().lower())
