"""What holds for every test."""

import signal
from pathlib import Path

import pytest

# A shell that starts a job in the background has it ignore SIGINT, and everything below inherits that: what the tests say
# of SIGINT must not depend on how they were started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SEARCHES = ("test_stateful.py", "test_mutants.py", "test_evidence_simulation.py")
MEASURED = (Path("tests/domain"), Path("tests/unit/evidence"), Path("tests/unit/runtime"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The domain's coverage is that of its examples: what searches, simulates or runs whole processes would only be slower
    for being measured, and covers by chance."""
    for item in items:
        path = item.path.relative_to(config.rootpath)
        if path.name in SEARCHES or not any(path.is_relative_to(one) for one in MEASURED):
            item.add_marker(pytest.mark.no_cover)
