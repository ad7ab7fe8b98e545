"""Each part of the machine is needed: with one change in its tables, its chain, or its reading of what is unknown, a
promise is broken where the record says so, unless the change is none."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from tests.mutants.catalogue import MUTANTS
from tests.mutants.equivalent import EQUIVALENT, reason
from tests.mutants.kills import called, found, recorded

KILLS = recorded()
MEND = "run `make mutants`, which finds a killer or says that it lives; a rule that nothing misses is unneeded"


@pytest.mark.parametrize("name", [name for name in MUTANTS if reason(name) is None])
def test_mutant_is_killed(name: str) -> None:
    """The scenario that the record names finds the change."""
    killer = called(KILLS[name]) if name in KILLS else None
    assert killer is not None, f"nothing is known to kill {name!r}: {MEND}"
    assert found(MUTANTS[name], killer) is not None, f"{KILLS[name]!r} does not kill {name!r} any more: {MEND}"


def test_the_record_speaks_of_what_there_is() -> None:
    """No killer is kept for a mutant that is gone or equivalent, and no reason for none."""
    assert [name for name in KILLS if name not in MUTANTS or reason(name) is not None] == []
    assert [pattern for pattern in EQUIVALENT if not any(fnmatchcase(name, pattern) for name in MUTANTS)] == []
