"""The documents are held to the code."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.docs.drawing import PAGE, drawing, page_with

from keyturn.cli.failures import USAGE
from keyturn.domain.reasons import MEANING, Reason

ROOT = Path(__file__).parents[3]


def test_every_reason_is_documented_with_its_meaning() -> None:
    """docs/reasons.md lists every reason with the words of the table, and nothing else."""
    text = (ROOT / "docs" / "reasons.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, flags=re.MULTILINE))
    assert rows == {str(reason): MEANING[reason] for reason in Reason}


def test_machine_is_drawn_as_its_tables_are() -> None:
    """ARCHITECTURE.md shows the phases, edges, rows and guards that the tables have; `python -m tests.unit.docs.drawing`
    draws them anew."""
    assert PAGE.read_text() == page_with(drawing())


def test_links_in_the_documents_lead_somewhere() -> None:
    """Every relative link in the Markdown files names a file that exists."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("runbooks/*.md")]
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert dead == []


def test_nothing_but_serve_keeps_the_daemon_from_starting() -> None:
    """The systemd unit runs no check before it: one credential that cannot rotate would stop the daemon for all."""
    unit = (ROOT / "deploy" / "keyturn.service").read_text()
    runs = re.findall(r"^Exec\w+=\S+ (\w+)", unit, flags=re.MULTILINE)
    assert runs == ["serve"]


def test_start_of_the_unit_fails_where_the_daemon_cannot_start() -> None:
    """systemd waits for the daemon's own word that it serves, and leaves it failed when its exit code says that the
    configuration is wrong: a loop of restarts would hide that."""
    unit = (ROOT / "deploy" / "keyturn.service").read_text()
    assert set(re.findall(r"^(?:Type|RestartPreventExitStatus)=(.*)$", unit, flags=re.MULTILINE)) == {
        "notify",
        str(USAGE),
    }
