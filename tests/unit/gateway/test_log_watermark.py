"""The watermark of `access-log`: how far its lines are complete, whatever becomes of its files."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.reading import SECRET, START, Reader, append, at, line, source

from keyturn.domain.errors import Transient
from keyturn.plugins.gateway.probe_mark import make_mark
from keyturn.plugins.logs import follower


def test_an_idle_log_moves_the_watermark(log: Path) -> None:
    """Nothing written is known silence: the watermark follows the present at the distance of the lag."""
    reader = Reader(log, lag="2s")
    reader.poll(10)
    assert reader.watermark == at(8)
    reader.poll(20)
    assert reader.watermark == at(18)


def test_the_slowest_file_decides(log: Path, tmp_path: Path) -> None:
    """One node's missing log holds the watermark of all; what the others tell is still counted."""
    other = tmp_path / "other.log"
    append(log, line(1))
    reader = Reader(log, other)
    reader.poll(5)
    assert reader.watermark is None
    assert reader.uses == 1
    other.touch()
    reader.poll(6)
    assert reader.watermark == at(5)
    other.unlink()
    append(log, line(7))
    reader.poll(8)
    assert reader.watermark == at(5)
    assert reader.uses == 2


def test_the_moment_between_renaming_and_reopening_is_no_outage(log: Path) -> None:
    """The log is renamed and its writer has not opened the next one yet: a poll then moves no watermark and is no error;
    that it is still not there with the next one is."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(2)
    stood = reader.watermark
    log.rename(f"{log}.1")
    reader.poll(3)
    assert reader.watermark == stood
    with pytest.raises(Transient, match="none of its logs"):
        reader.poll(4)
    log.touch()
    reader.poll(5)
    assert reader.uses == 1
    assert reader.watermark is not None
    assert stood is not None
    assert reader.watermark > stood


def test_no_log_at_all_is_an_error(tmp_path: Path) -> None:
    """When no file can be opened the poll fails, and so does the check."""
    with pytest.raises(Transient, match=r"gone\.log"):
        source(tmp_path / "gone.log").poll(None, now=START)
    assert source(tmp_path / "gone.log").check()


def test_the_watermark_never_goes_back(log: Path) -> None:
    """A clock that is set back does not take knowledge away."""
    reader = Reader(log)
    reader.poll(20)
    reader.poll(10)
    assert reader.watermark == at(19)


def test_nonsense_moves_no_watermark(log: Path) -> None:
    """A log whose new lines cannot be read tells of nothing, until one can be read again."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(5)
    append(log, "127.0.0.1 - - [now] plain text\n")
    reader.poll(10)
    reader.poll(15)
    assert reader.watermark == at(4)
    assert any("fields" in found for found in source(log, fields={"time": "t"}).check())
    append(log, line(16))
    reader.poll(20)
    assert reader.watermark == at(19)


def test_line_of_another_age_hides_no_other(log: Path) -> None:
    """A line with a time that cannot be is malformed, not a reason to refuse all that stand beside it; alone it tells of
    nothing. A clock that is ahead is not hidden: what it tells waits until its time has come."""
    append(log, line(1), line(60 * 86400), line(2))
    reader = Reader(log)
    reader.poll(5)
    assert {report.start for report in reader.reports} == {at(0)}
    assert reader.uses == 2
    assert reader.watermark == at(4)
    append(log, line(90 * 86400))
    reader.poll(10)
    assert reader.watermark == at(4)
    append(log, line(3600))
    assert [report.start for report in reader.poll(20)] == [at(3600)]


def test_a_half_written_line_holds_the_watermark(log: Path) -> None:
    """What is being written may be a use of any time."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(5)
    append(log, line(6)[:20])
    reader.poll(10)
    assert reader.watermark == at(4)


def test_lost_lines_hold_the_watermark(log: Path) -> None:
    """A log that was cut before its end was read leaves a gap: silence is not claimed over it, until the lines are back."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(5)
    append(log, line(6))
    kept = log.read_bytes()
    log.unlink()
    append(log, line(20, kid="new", matched=""))
    reader.poll(21)
    assert reader.watermark == at(4)
    assert reader.uses == 2
    Path(f"{log}.1").write_bytes(kept)
    reader.poll(30)
    assert reader.watermark == at(29)
    assert reader.uses == 3


def rotate(log: Path, *lines: str) -> None:
    """As logrotate does with `delaycompress`: the newest stays uncompressed; the next one begins with these lines."""
    newest, older = Path(f"{log}.1"), Path(f"{log}.2.gz")
    if newest.exists():
        older.write_bytes(gzip.compress(newest.read_bytes()))
        newest.unlink()
    log.rename(newest)
    log.write_text("".join(lines))


@pytest.mark.parametrize("there", [True, False])
def test_generation_lost_after_an_empty_log_holds_the_watermark(log: Path, there: bool) -> None:
    """The last poll met a log without a line, or none; what was written and compressed since is no silence."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(5)
    rotate(log)
    if not there:
        log.unlink()
    reader.poll(10)
    stood = reader.watermark
    append(log, line(20))
    rotate(log, line(200, kid="kid2"))
    rotate(log, line(300, kid="kid2"))
    reader.poll(400)
    reader.poll(401)
    assert reader.watermark == stood


def test_rotation_of_empty_logs_is_no_loss(log: Path) -> None:
    """A node without traffic is rotated again and again, until what it has logged last is compressed, and goes on."""
    append(log, line(1))
    reader = Reader(log)
    for now in range(10, 60, 10):
        reader.poll(now)
        rotate(log)
    append(log, line(61))
    reader.poll(70)
    rotate(log, line(71))
    reader.poll(80)
    assert reader.watermark == at(79)
    assert reader.uses == 3


class Logrotate:
    """A log under logrotate with `delaycompress`: what is rotated out is compressed with the next, keeps its time, and is
    removed when more are there than are kept. Each change takes a second."""

    def __init__(self, log: Path, *, kept: int = 3) -> None:
        self.log = log
        self.kept = kept
        self.seconds = 0
        self.written = 0

    def write(self) -> None:
        self.written += 1
        append(self.log, line(self.written / 100, kid=f"k{self.written}", matched=""))
        self._changed(self.log)

    def cut(self) -> None:
        os.truncate(self.log, 0)
        self._changed(self.log)

    def copytruncate(self) -> None:
        shutil.copyfile(self.log, self._shift())
        self._changed(Path(f"{self.log}.1"))
        self.cut()

    def rename(self) -> None:
        self.log.rename(self._shift())
        self.log.touch()
        self._changed(self.log)

    def _shift(self) -> Path:
        for number in range(self.kept, 1, -1):
            if (compressed := Path(f"{self.log}.{number}.gz")).exists():
                compressed.rename(f"{self.log}.{number + 1}.gz")
        if (newest := Path(f"{self.log}.1")).exists():
            older = Path(f"{self.log}.2.gz")
            older.write_bytes(gzip.compress(newest.read_bytes()))
            shutil.copystat(newest, older)
            newest.unlink()
        Path(f"{self.log}.{self.kept + 1}.gz").unlink(missing_ok=True)
        return Path(f"{self.log}.1")

    def _changed(self, path: Path) -> None:
        self.seconds += 1
        os.utime(path, (self.seconds, self.seconds))


ROTATION = pytest.mark.parametrize("rotation", [Logrotate.copytruncate, Logrotate.rename])


@ROTATION
def test_idle_log_is_no_loss_however_often_it_is_rotated(log: Path, rotation: Callable[[Logrotate], None]) -> None:
    """The last lines were compressed and removed long ago, and the empty log is rotated day by day: nothing was written.
    When there is traffic again it goes on, also where a rotation and a line fall between the same two polls."""
    logrotate, reader = Logrotate(log), Reader(log)
    logrotate.write()
    reader.poll(5)
    for day in range(1, 10):
        rotation(logrotate)
        reader.poll(day * 10)
        assert reader.watermark == at(day * 10 - 1)
    logrotate.write()
    reader.poll(100)
    assert reader.watermark == at(99)
    for now in (110, 120):
        rotation(logrotate)
        reader.poll(now)
    rotation(logrotate)
    logrotate.write()
    reader.poll(130)
    assert reader.watermark == at(129)
    for now in (140, 150):
        rotation(logrotate)
        reader.poll(now)
    logrotate.write()
    rotation(logrotate)
    reader.poll(160)
    assert reader.watermark == at(159)
    assert reader.uses == 4


def test_poll_in_the_midst_of_a_change_to_an_idle_log_is_no_loss(log: Path, tmp_path: Path) -> None:
    """The log is renamed and the next one not opened yet, or has begun with half a line, when its last lines were compressed
    long ago: nothing that came after them is gone."""
    other = tmp_path / "other.log"
    other.touch()
    logrotate, reader = Logrotate(log), Reader(log, other)
    logrotate.write()
    reader.poll(5)
    for now in (10, 20, 30):
        logrotate.rename()
        if now == 30:
            log.unlink()
        reader.poll(now)
    append(log, line(31))
    reader.poll(40)
    assert reader.watermark == at(39)
    for now in (50, 60):
        logrotate.rename()
        reader.poll(now)
    for half in (line(61)[:20], line(61)[20:]):
        append(log, half)
        reader.poll(70)
    assert reader.watermark == at(69)
    assert reader.uses == 3


@pytest.mark.parametrize(
    "changes",
    [
        [Logrotate.write, Logrotate.cut],
        [Logrotate.write, Logrotate.copytruncate, Logrotate.copytruncate],
        [Logrotate.write, Logrotate.rename, Logrotate.rename, Logrotate.rename],
        [Logrotate.write, *[Logrotate.copytruncate] * 6],
        [Logrotate.write, Logrotate.copytruncate, Logrotate.copytruncate, Logrotate.write],
    ],
)
def test_lines_that_went_from_an_idle_log_between_two_polls_are_a_loss(
    log: Path, changes: list[Callable[[Logrotate], None]]
) -> None:
    """The log may be empty as before, and yet it was not all the time: what was cut away or compressed is no silence."""
    logrotate, reader = Logrotate(log), Reader(log)
    logrotate.write()
    reader.poll(5)
    for day in (1, 2):
        logrotate.copytruncate()
        reader.poll(day * 10)
    for change in changes:
        change(logrotate)
    reader.poll(30)
    reader.poll(40)
    assert reader.watermark == at(19)


def test_lines_that_were_removed_between_two_polls_are_a_loss(log: Path) -> None:
    """One rotated file is kept, and beside it an operator's copy for ever: that one does not tell what came after it."""
    Path(f"{log}.old").touch()
    os.utime(f"{log}.old", (0, 0))
    logrotate, reader = Logrotate(log, kept=1), Reader(log)
    logrotate.write()
    reader.poll(5)
    logrotate.copytruncate()
    reader.poll(10)
    logrotate.write()
    for _ in range(2):
        logrotate.copytruncate()
    reader.poll(20)
    reader.poll(30)
    assert reader.watermark == at(9)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["write", "rotate", "rotate", "poll"]), max_size=20))
@ROTATION
def test_no_watermark_passes_a_line_that_was_not_read(
    tmp_path_factory: pytest.TempPathFactory, rotation: Callable[[Logrotate], None], steps: list[str]
) -> None:
    """Whatever is compressed and removed between two polls: the log is complete only if every line was counted, once; and
    it is, if there was a poll after each change."""
    log = tmp_path_factory.mktemp("rotated") / "access.log"
    logrotate, reader, seldom = Logrotate(log), Reader(log), Reader(log)
    for number, step in enumerate(["write", "poll", *steps, "poll"]):
        if step == "write":
            logrotate.write()
        elif step == "rotate":
            rotation(logrotate)
        else:
            seldom.poll(100 + number)
        reader.poll(100 + number)
        everything = {f"k{one}": 1 for one in range(1, logrotate.written + 1)}
        assert (reader.by_key, reader.watermark) == (everything, at(99 + number))
        if seldom.watermark == at(99 + number):
            assert seldom.by_key == everything


@pytest.mark.parametrize(
    ("name", "followed"),
    [
        ("access-2026-11-21T12-00-07.000.log", True),
        ("access-20261121.log", True),
        ("access.1.log", True),
        ("access-8443.log", False),
        ("access-2026-11-21T12-00-07.000.log.gz", False),
        ("access_2026-11-21.log", False),
    ],
)
def test_time_before_the_suffix_is_a_rotated_log_too(log: Path, name: str, followed: bool) -> None:
    """As Caddy names what it rolls; a port or another word there is another log."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(5)
    append(log, line(6))
    log.rename(log.with_name(name))
    append(log, line(8))
    reader.poll(10)
    assert reader.uses == (3 if followed else 2)
    assert reader.watermark == (at(9) if followed else at(4))


@pytest.mark.parametrize("name", ["access.443.log", "access.log-8443"])
def test_neighbour_with_the_name_of_a_rotated_log_is_followed_once(log: Path, name: str) -> None:
    """Each line of it and of what is rotated out of it counts once, and a probe of ours there is none the second time; the
    log that it could be a sibling of has siblings of its own."""
    neighbour = log.with_name(name)
    reader = Reader(log, neighbour)
    for now in (0, 10, 20):
        for path in (log, neighbour):
            append(path, line(now + 1, node=path.name))
            append(path, line(now + 2, probe=make_mark(SECRET, "kid1", now=at(now + 2)), status=401))
        if now == 10:
            for path in (log, neighbour):
                path.rename(f"{path}.1")
        elif now == 0:
            reader.poll(5)
    reader.poll(30)
    assert reader.uses == 6
    assert reader.watermark == at(29)


def test_line_without_end_is_taken_in_pieces(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gathered in memory only so far; the lines before and after it are whole."""
    longest, taken = 1 << 20, list[bytes]()
    monkeypatch.setattr(follower, "_LONGEST_LINE", longest)
    append(log, line(1))
    with log.open("ab") as file:
        file.truncate(8 << 20)
    append(log, "\n", line(2))
    reading = follower.LogFollower(log, time_of=lambda _: None).read(
        follower.LogPosition(), take=taken.append, budget=1 << 30, now=0, gaps_until=None
    )
    assert reading.at_end
    assert (taken[0], taken[-1]) == (line(1).strip().encode(), line(2).strip().encode())
    assert max(len(piece) for piece in taken) <= 2 * longest


def test_an_operator_may_accept_a_gap(log: Path) -> None:
    """With the operator's word, in the configuration, lines lost before a time no longer hold the watermark."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(5)
    log.unlink()
    append(log, line(20))
    reader.poll(21)
    reader.options["accept_gaps_before"] = at(22).isoformat()
    reader.poll(30)
    assert reader.watermark == at(29)


def test_much_is_read_in_batches(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log comes in several polls; meanwhile the watermark is at the last line read, behind it by the lag."""
    monkeypatch.setattr("keyturn.plugins.logs.tail._BUDGET", 1)
    append(log, *(line(i) for i in range(30_000)))
    reader = Reader(log)
    reader.poll(40_000)
    assert reader.uses < 30_000
    assert reader.watermark == at(reader.uses - 2)
    while reader.poll(40_000):
        pass
    assert reader.uses == 30_000
    assert reader.watermark == at(39_999)
