"""The explorer itself, in a calm world: `make explore` goes through every state with one adverse event, or two."""

from __future__ import annotations

from tests.explorer.report import told
from tests.explorer.search import Search
from tests.explorer.state import start

SECONDS = 600.0
"""More than it ever needs; a machine that is busy with other things is no failure."""


def test_calm_world_has_one_way_to_one_end() -> None:
    """Without any adverse event nothing is broken, and an operator's rollback at any moment leads to an end too."""
    search = Search(roots=[start(budget=0)], seconds=SECONDS)
    search.run()
    assert search.complete
    assert not search.breaches, "\n".join(told(search, next(iter(search.breaches.values()))))
