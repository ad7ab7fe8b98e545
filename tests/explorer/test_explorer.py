"""Every state that one adverse event of any kind can lead to, over the real `decide`."""

from __future__ import annotations

import sys

import pytest
from tests.explorer.__main__ import summary
from tests.explorer.report import told
from tests.explorer.search import Search
from tests.explorer.state import start

SECONDS = 1200.0
"""More than it ever needs; a machine that is busy with other things is no failure."""


def test_calm_world_has_one_way_to_one_end() -> None:
    """Without any adverse event nothing is broken, and an operator's rollback at any moment leads to an end too."""
    search = Search(roots=[start(budget=0)], seconds=SECONDS)
    search.run()
    assert search.complete
    assert not search.breaches, "\n".join(told(search, next(iter(search.breaches.values()))))


@pytest.mark.slow
def test_no_promise_is_broken_by_one_adverse_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever one thing goes wrong, at whatever moment, every promise holds and an end can be reached."""
    search = Search(roots=[start(budget=1)], seconds=SECONDS)
    search.run()
    with capsys.disabled():
        sys.stdout.write(f"\n{summary(search)}\n")
    traces = ["\n".join(told(search, breach)) for breach in search.breaches.values()]
    assert not traces, "\n\n".join(traces[:5])
    assert search.complete, "the time was over before every state was explored"
