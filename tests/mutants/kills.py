"""Which killer kills which mutant, as it was last found out: the record that keeps the proof cheap."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.mutants.catalogue import Mutant
from tests.mutants.killers import KILLERS, Killer

RECORD = Path(__file__).with_name("kills.json")


def recorded() -> dict[str, str]:
    """By mutant: the name of its killer."""
    kills: dict[str, str] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return kills


def record(kills: Mapping[str, str]) -> None:
    """Keep what was found out."""
    RECORD.write_text(json.dumps(dict(sorted(kills.items())), indent=1, ensure_ascii=False) + "\n")


def called(name: str) -> Killer | None:
    """The killer of that name; None where there is none any more."""
    return KILLERS.get(name)


def found(mutant: Mutant, killer: Killer) -> str | None:
    """What a killer finds on a mutant."""
    with pytest.MonkeyPatch.context() as patch:
        mutant.patch(patch)
        return killer.finds()
