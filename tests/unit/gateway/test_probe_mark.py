"""Marks on keyturn's own presentations: nobody else can make one, and nobody can use one twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from keyturn.domain.errors import ConfigError
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway import log_cursor
from keyturn.plugins.gateway.log_cursor import LogCursor, SpentMarks
from keyturn.plugins.gateway.probe_mark import make_mark, read_mark, usable_secret
from keyturn.plugins.logs import FileCursor

SECRET = SecretValue("a secret for marks, long enough")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AT = int(NOW.timestamp() * 1000)


def read_to(complete_to: int | None) -> dict[str, FileCursor]:
    return {"log": FileCursor(complete_to=complete_to)}


def test_a_mark_is_read_back_by_its_key_alone() -> None:
    """The secret and the key id that a mark was made with are both needed to read it."""
    text = make_mark(SECRET, "kid1", now=NOW)
    mark = read_mark(SECRET, "kid1", text)
    assert mark is not None
    assert mark.issued == AT
    assert read_mark(SECRET, "kid2", text) is None
    assert read_mark(SecretValue("another secret of good length"), "kid1", text) is None


@pytest.mark.parametrize("forged", ["", "x", "1-2.3", "a" * 200])
def test_nonsense_is_no_mark(forged: str) -> None:
    """Whatever a client puts into the header, it is only read as a mark if we made it."""
    assert read_mark(SECRET, "kid1", forged) is None


def test_any_change_spoils_a_mark() -> None:
    """No part of a mark can be exchanged for another."""
    text = make_mark(SECRET, "kid1", now=NOW)
    for place, letter in enumerate(text):
        changed = text[:place] + ("0" if letter != "0" else "1") + text[place + 1 :]
        assert read_mark(SECRET, "kid1", changed) is None


def test_marks_are_never_alike() -> None:
    """Two presentations at one moment bear different marks."""
    assert len({make_mark(SECRET, "kid1", now=NOW) for _ in range(100)}) == 100


def test_a_mark_excuses_one_presentation_near_its_time() -> None:
    """A mark that is seen again, or long after, excuses nothing; nor after a restart."""
    mark = read_mark(SECRET, "kid1", make_mark(SECRET, "kid1", now=NOW))
    late = read_mark(SECRET, "kid1", make_mark(SECRET, "kid1", now=NOW))
    assert mark is not None
    assert late is not None
    marks = SpentMarks(LogCursor())
    assert marks.excuses(mark, at=AT + 5, path="log")
    assert not marks.excuses(mark, at=AT + 6, path="log")
    assert not marks.excuses(late, at=AT + 61_000, path="log")
    restarted = SpentMarks(LogCursor(spent=marks.left(read_to(AT)), spent_before=marks.before))
    assert not restarted.excuses(mark, at=AT + 7, path="log")
    much_later = SpentMarks(LogCursor(spent=restarted.left(read_to(AT + 200_000)), spent_before=restarted.before))
    assert not much_later.left(read_to(None))
    assert not much_later.excuses(mark, at=AT + 7, path="log")


def test_what_is_forgotten_excuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many marks are seen, memory stays small, and none of them can be used again."""
    monkeypatch.setattr(log_cursor, "_REMEMBERED_MARKS", 1024)
    marks = SpentMarks(LogCursor())
    seen = [read_mark(SECRET, "k", make_mark(SECRET, "k", now=datetime.fromtimestamp(i, UTC))) for i in range(2000)]
    for number, mark in enumerate(seen):
        assert mark is not None
        assert marks.excuses(mark, at=number * 1000, path="log")
    left = marks.left(read_to(None))
    assert len(left) <= 1024
    again = SpentMarks(LogCursor(spent=left, spent_before=marks.before))
    assert not any(again.excuses(mark, at=mark.issued, path="log") for mark in seen if mark is not None)


def test_cursor_of_a_former_release_is_read() -> None:
    """It had one time for all logs, before which a mark excuses nothing in any."""
    former = json.loads(LogCursor(files=read_to(AT)).to_text()) | {"spent_before": AT}
    assert LogCursor.from_text(json.dumps(former)).spent_before == {"log": AT}


def test_short_secrets_are_refused() -> None:
    """A secret that could be guessed from logged marks is no secret."""
    with pytest.raises(ConfigError, match="shorter than"):
        usable_secret(SecretValue("short"), where="here")
