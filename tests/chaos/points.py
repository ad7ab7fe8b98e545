"""What a daemon with failpoints came by, and whether it was killed at all of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.failpoints import ISSUER_CALLS, TARGET_CALLS, WRITES, kind_of

NEVER: Mapping[str, str] = {
    "set_due": "nothing is scheduled",
    "set_blind": "no source is away for long enough",
    "enqueue": "it tells of blind sources and of backups",
    "undelivered": "the receiver takes everything",
    "found": "no backup is restored",
    "dismiss": "no client is gone",
    "acknowledge": "no client is vouched for",
    "restored": "no backup is restored",
    "confirm": "no backup is restored",
}
"""Writes that these runs need not come to, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The points of a run, of one daemon or of several that share them."""

    died_at: Sequence[str]
    passed: frozenset[str]
    """Those that some life went on from."""
    reached: frozenset[str]
    """Those that some life came to."""

    @classmethod
    def beside(cls, journal: Path) -> Points:
        """Of the daemons that write them down there."""
        met, passed, reached = (_lines(Path(f"{journal}.{kind}")) for kind in ("met", "passed", "reached"))
        return cls(
            died_at=[json.loads(line)["point"] for line in met], passed=frozenset(passed), reached=frozenset(reached)
        )

    @property
    def kinds(self) -> Counter[str]:
        """Kills by what was under way."""
        return Counter(map(kind_of, self.died_at))

    @property
    def missed(self) -> frozenset[str]:
        """Passed, and never died at."""
        return self.passed.difference(self.died_at)

    @property
    def forestalled(self) -> frozenset[str]:
        """Reached by lives alone that another of their threads was killed in just then: neither passed nor died at."""
        return self.reached.difference(self.passed, self.died_at)

    @property
    def cut_short(self) -> frozenset[str]:
        """What somebody died before, and nobody came to the end of: no later life had it to do again."""
        names = {point.removesuffix(": before") for point in self.died_at if point.endswith(": before")}
        return frozenset(name for name in names if f"{name}: after" not in self.reached)

    def tell(self) -> Iterator[str]:
        """The figures, a line each."""
        for kind, count in sorted(self.kinds.items()):
            yield f"{count:5} {kind}"
        yield f"{len(self.missed)} of {len(self.reached)} points were passed and not died at"
        for point in sorted(self.forestalled):
            yield f"another thread was killed whenever one was here: {point}"
        for name in sorted(self.cut_short):
            yield f"killed there, and not to be done again: {name}"

    def broken(self) -> Iterator[str]:
        """What keeps this from being a run that was killed everywhere."""
        for point in sorted(self.missed):
            yield f"was passed and never died at: {point}"
        kinds = self.kinds
        wanted = {(call, when) for call in (*WRITES, *TARGET_CALLS, *ISSUER_CALLS) for when in ("before", "after")}
        wanted |= {(call, "within") for call in WRITES}
        # The steps of a call: who came to one is to have gone on from it too.
        wanted |= {(kind.removesuffix(", before"), "after") for kind in kinds if kind.endswith(", before")}
        for call, when in sorted(wanted):
            if f"{call}, {when}" not in kinds and call not in NEVER:
                yield f"nobody died {when} {call}"


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
