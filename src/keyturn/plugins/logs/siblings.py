"""Which of the files beside a log were rotated out of it: their names alone tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# As logrotate and its like name them; not what other tools keep beside a log.
_ROTATED = re.compile(r"[.-](?:[0-9][\w.:-]*|old)")
# As Caddy's own rolling and logrotate's `extension` do, before the suffix: a number there may be another log's, a port say.
_ROTATED_INSIDE = re.compile(r"[.-]\d{4}-?\d\d-?\d\d[\w.:-]*|\.\d{1,3}")
_COMPRESSED = re.compile(r"\.(?:gz|bz2|xz|zst|zip|lz4)$")


class Siblings:
    """The rotated files of one log, where other logs may be followed too."""

    def __init__(self, log: Path, *, followed: Sequence[Path]) -> None:
        self._log = log
        # Whose name is longer is the more exact one: `access.443.log` is no `access.log` of former days.
        self._others = [other for other in followed if len(other.name) > len(log.name)]

    def paths(self) -> list[Path]:
        try:
            folder = self._log.parent.resolve()
            others = [other for other in self._others if other.parent.resolve() == folder]
            return sorted(
                path for path in self._log.parent.iterdir() if self._is_ours(path.name, others) and path.is_file()
            )
        except OSError:
            return []

    def _is_ours(self, name: str, others: Sequence[Path]) -> bool:
        return _rotated_from(self._log, name) and not any(
            name == other.name or _rotated_from(other, name) for other in others
        )


def is_compressed(path: Path) -> bool:
    return _COMPRESSED.search(path.name) is not None


def _rotated_from(log: Path, name: str) -> bool:
    name = _COMPRESSED.sub("", name)
    if name.startswith(log.name):
        return _ROTATED.fullmatch(name, len(log.name)) is not None
    inside = name.startswith(log.stem) and name.endswith(log.suffix)
    return inside and _ROTATED_INSIDE.fullmatch(name, len(log.stem), len(name) - len(log.suffix)) is not None
