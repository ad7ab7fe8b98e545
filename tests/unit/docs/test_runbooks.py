"""The runbooks are held to the command line and to what the daemon says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from keyturn.cli.application import application
from keyturn.domain.reasons import Reason

FOLDER = Path(__file__).parents[3] / "runbooks"
SOURCE = FOLDER.parent / "src" / "keyturn"
SUBJECTS = "rotation|client|credential|compromised|destroyed|source"
"""What a topic begins with, where its name has two parts."""
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")


def commands(page: Path) -> list[str]:
    """Every command line that a page shows for typing."""
    return re.findall(r"^\$ (keyturn .+)$", page.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_runbook_are_the_command_lines(page: Path) -> None:
    """Each is parsed as the program parses it: command, options and the types of what they take."""
    assert commands(page)
    group = get_command(application)
    for line in commands(page):
        words = shlex.split(line.split("  ")[0])[1:]
        with typer.Context(group) as context:
            name, command, rest = group.resolve_command(context, words)  # type: ignore[attr-defined]
        command.make_context(name, rest)


def test_every_runbook_is_in_the_index() -> None:
    """A page that nobody finds helps nobody."""
    index = (FOLDER / "README.md").read_text()
    assert [page.name for page in PAGES if f"({page.name})" not in index] == []


def test_every_page_leads_to_a_runbook() -> None:
    """Each topic that people may be sent stands in the index."""
    code = "".join(page.read_text() for room in ("domain", "runtime") for page in sorted((SOURCE / room).glob("*.py")))
    topics = set(re.findall(r'topic="([a-z_.]+)"', code)) | set(re.findall(rf'"((?:{SUBJECTS})\.[a-z_]+)"', code))
    assert {"tripwire", "rotation.held", "compromised.not_cut", "source.blind"} <= topics
    index = (FOLDER / "README.md").read_text()
    assert sorted(topic for topic in topics if f"`{topic}`" not in index) == []


def test_reasons_in_the_runbooks_exist() -> None:
    """What stands first in a row of a table of reasons is one that the machine gives."""
    tables = re.findall(
        r"^\| reason \|.*\n\|.*\n((?:\|.*\n)+)", "\n".join(page.read_text() for page in PAGES), re.MULTILINE
    )
    cells = [row.split("|")[1] for table in tables for row in table.splitlines()]
    named = {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}
    assert named
    assert named <= set(Reason)
