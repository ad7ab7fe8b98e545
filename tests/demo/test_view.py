"""What a person sees: a panel on a terminal, a line a change anywhere else."""

import io

import pytest
from rich.console import Console

from keyturn.demo.daemon import Status
from keyturn.demo.view import ClientRow, Frame, View

OVERLAP = Status(headline="shop: v1 → v2 in overlap waits", phase="overlap", reason="baking", hold="", halted=False)


def frame(*, version: str = "the old key", refused: int = 0) -> Frame:
    client = ClientRow(name="checkout", version=version, requests=12, refused=refused)
    return Frame(status=OVERLAP, clients=(client,))


def test_plain_lines_tell_changes_only() -> None:
    """Piped, the same frame twice says nothing more; a client that moved and a refusal do."""
    file = io.StringIO()
    with View("happy on vault", Console(file=file, width=200)) as view:
        view.show(frame())
        view.show(frame())
        view.show(frame(version="the new key"))
        view.show(frame(version="the new key", refused=1))
    told = [line.partition("] ")[2] for line in file.getvalue().splitlines()]
    assert told == [
        OVERLAP.headline,
        "on the old key: checkout",
        "on the new key: checkout",
        "12 requests, 1 refused, 0 failed",
    ]


@pytest.mark.parametrize("status", [OVERLAP, None])
def test_a_panel_on_a_terminal(status: Status | None) -> None:
    """On a terminal the phase, what blocks, and each client stand in one place."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=120, color_system=None)
    with View("happy on vault", console) as view:
        view.show(Frame(status=status, clients=frame(refused=3).clients, note="killed 4 times"))
        view.say("something that stays")
    shown = file.getvalue()
    assert ("OVERLAP" in shown) is (status is not None)
    assert "checkout" in shown
    assert "killed 4 times" in shown
    assert "something that stays" in shown
