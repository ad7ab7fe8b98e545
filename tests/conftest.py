"""What holds for every test."""

import os
import signal
from pathlib import Path

import pytest

# A shell that starts a job in the background has it ignore SIGINT, and everything below inherits that: what the tests say
# of SIGINT must not depend on how they were started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SEARCHES = ("test_stateful.py", "test_mutants.py", "test_evidence_simulation.py")
WAITING = "test_whole_demo.py"
MEASURED = (Path("tests/domain"), Path("tests/unit/evidence"), Path("tests/unit/runtime"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The domain's coverage is that of its examples: what searches, simulates or runs whole processes would only be slower
    for being measured, and covers by chance."""
    for item in items:
        path = item.path.relative_to(config.rootpath)
        if path.name in SEARCHES or not any(path.is_relative_to(one) for one in MEASURED):
            item.add_marker(pytest.mark.no_cover)
    items[:] = started_in_time(items, workers=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def started_in_time(items: list[pytest.Item], *, workers: int) -> list[pytest.Item]:
    """What takes long is not left to the end. `--dist worksteal` begins with an equal share of the list for each worker, and
    takes from a share's end for those that are idle: the first worker begins with the whole demos, which mostly wait, and
    one at a time, and the second with what takes long to compute."""
    waiting = [item for item in items if item.path.name == WAITING]
    computing = [item for item in items if item not in waiting and item.get_closest_marker("slow")]
    short = [item for item in items if item not in waiting and item not in computing]
    first = max(len(items) // workers - len(waiting), 0)
    return [*waiting, *short[:first], *computing, *short[first:]]
