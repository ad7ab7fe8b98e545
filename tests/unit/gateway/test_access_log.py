"""The usage source `access-log` on files of a test's own: rotation, restarts, probes, and whose word counts."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyturn.domain.errors import ConfigError, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway import access_log
from keyturn.plugins.gateway.log_source import AccessLog
from keyturn.plugins.gateway.probe_mark import make_mark
from keyturn.plugins.logs import follower
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageReport

SECRET = SecretValue("a secret for marks, long enough")
START = datetime(2026, 11, 21, 12, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return 0.0


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def source(*files: Path, **options: object) -> AccessLog:
    surroundings = Surroundings(clock=FixedClock(), resolve=lambda _: SECRET)
    given_options: dict[str, object] = {"files": [str(file) for file in files], "probe_secret": "env:PROBE"}
    return access_log("nodes", given_options | options, surroundings)


def line(seconds: float, **changes: object) -> str:
    fields: dict[str, object] = {
        "epoch": at(seconds).timestamp(),
        "remote_addr": "127.0.0.5",
        "kid": "kid1",
        "matched": "kid1:active",
        "status": 200,
        "probe": "",
    }
    return json.dumps(fields | changes) + "\n"


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(lines)


class Reader:
    """Polls as a daemon does: a new instance each time, its cursor the only memory."""

    def __init__(self, *files: Path, **options: object) -> None:
        self.files = files
        self.options = options
        self.cursor: str | None = None
        self.watermark: datetime | None = None
        self.reports: list[UsageReport] = []

    def poll(self, seconds: float) -> list[UsageReport]:
        batch = source(*self.files, **self.options).poll(self.cursor, now=at(seconds))
        self.cursor, self.watermark = batch.cursor, batch.watermark
        self.reports += batch.reports
        return list(batch.reports)

    @property
    def uses(self) -> int:
        return sum(report.successes + report.failures for report in self.reports)

    @property
    def by_key(self) -> Mapping[str | None, int]:
        return Counter({None: 0}) + sum(
            (Counter({report.key_id: report.successes + report.failures}) for report in self.reports), Counter()
        )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.touch()
    return path


# What a line means


def test_presentations_are_counted_by_key_client_and_bucket(log: Path) -> None:
    """Buckets are aligned to the epoch, and successes and failures of one key and client are added up in each."""
    append(
        log, line(1), line(2), line(9.9, status=401, matched="kid1:disabled"), line(10), line(3, kid="kid2", matched="")
    )
    reader = Reader(log, clients={"127.0.0.5": "billing"})
    reader.poll(20)
    found = {(r.key_id, r.client, r.start, r.matched): (r.successes, r.failures) for r in reader.reports}
    assert found == {
        ("kid1", "billing", START, True): (2, 1),
        ("kid1", "billing", at(10), True): (1, 0),
        ("kid2", "billing", START, False): (0, 1),
    }


@pytest.mark.parametrize(
    ("changes", "success"),
    [
        ({"status": 200}, True),
        ({"status": 502}, True),
        ({"status": 499}, True),
        ({"status": 401}, False),
        ({"status": 403}, False),
        ({"status": 499, "matched": "kid1:disabled"}, False),
        ({"status": 500, "matched": ""}, False),
    ],
)
def test_success_is_the_authentications(log: Path, changes: dict[str, object], success: bool) -> None:
    """Trouble behind the gateway is no failure of the key, and no accident of the answer makes a refused key accepted."""
    append(log, line(1, **changes))
    (report,) = Reader(log).poll(5)
    assert (report.successes, report.failures) == ((1, 0) if success else (0, 1))


def test_requests_without_a_key_are_no_use(log: Path) -> None:
    """What presents nothing counts for no key; a refusal of it is pooled without one."""
    append(log, line(1, kid="", matched=""), line(2, kid="", matched="", status=401))
    (report,) = Reader(log).poll(5)
    assert (report.key_id, report.failures, report.attributable) == (None, 1, False)


def test_the_verifiers_word_names_the_key(log: Path) -> None:
    """A matched entry names the key, whatever the presented value looks like."""
    append(
        log, line(1, kid="forged", matched="kid9:revoked", status=401), line(1, kid='"; drop', matched="", status=401)
    )
    reports = Reader(log).poll(5)
    assert {report.key_id for report in reports} == {"kid9", None}


def test_clients_are_named_by_what_proves_them(log: Path) -> None:
    """A proven field goes before an address, an address before a claim, and a claim counts only from a key's holder."""
    append(
        log,
        line(1, subject="CN=a", remote_addr="10.0.0.1"),
        line(2, subject="", remote_addr="10.0.0.1"),
        line(3, subject="", remote_addr="::ffff:10.0.7.7"),
        line(4, subject="", remote_addr="8.8.8.8"),
    )
    clients = {"10.0.0.0/16": "cluster", "10.0.0.1": "billing"}
    proven = Reader(log, clients=clients, client={"field": "subject", "identified": True}).poll(9)
    assert {(r.client, r.identified) for r in proven} == {
        ("CN=a", True),
        ("billing", True),
        ("cluster", True),
        ("unmapped", False),
    }
    claims = Path(f"{log}2")
    append(
        claims,
        line(1, agent="x\x00y", remote_addr="8.8.8.8"),
        line(1, agent="liar", remote_addr="10.0.0.1"),
        line(1, agent="liar", remote_addr="8.8.8.8", matched="", status=401),
    )
    claimed = Reader(claims, clients=clients, client={"field": "agent"}).poll(9)
    assert {(r.client, r.identified, r.attributable) for r in claimed} == {
        ("x�y", False, True),
        ("billing", True, True),
        ("unmapped", False, False),
    }


def test_made_up_key_ids_do_not_multiply(log: Path) -> None:
    """Whoever sprays key ids that exist nowhere makes a bounded number of reports, and every refusal still counts."""
    append(log, *(line(1, kid=f"spray{i}", matched="", status=401) for i in range(500)))
    reader = Reader(log)
    assert len(reader.poll(5)) <= 65
    assert reader.uses == 500


def test_malformed_lines_are_skipped(log: Path) -> None:
    """A line that makes no sense does not stop the rest."""
    broken = ["{}\n", "null\n", "[1]\n", '{"epoch": 1e400, "status": 200}\n', line(1)[:30] + line(1), "\n", "ÿ\n"]
    append(log, line(1), *broken, line(2))
    reader = Reader(log)
    reader.poll(5)
    assert reader.uses == 2
    assert json.loads(reader.cursor or "")["files"][str(log)]["malformed"] == len(broken)


def test_no_byte_that_a_client_sends_hides_its_use(log: Path) -> None:
    """Bytes that are no UTF-8, which nginx logs as they came, do not make a line unreadable."""
    with log.open("ab") as file:
        file.write(line(1, kid="", matched="", status=401, agent="@").encode().replace(b"@", b"\xff\xfe\xed\xa0\x80"))
    reader = Reader(log, client={"field": "agent"})
    reader.poll(5)
    assert reader.uses == 1


def test_iso_times_are_understood(log: Path) -> None:
    """The time may be an ISO 8601 text with its offset."""
    append(log, line(1, time="2026-11-21T13:00:07.250+01:00"))
    (report,) = Reader(log, fields={"time": "time"}, resolution="1s").poll(20)
    assert report.start == at(7)


# keyturn's own presentations


def test_our_own_probes_are_left_out(log: Path) -> None:
    """A presentation with a mark of ours is no use, of whatever outcome."""
    append(log, line(1, probe=make_mark(SECRET, "kid1", now=at(0.9))))
    append(log, line(2, probe=make_mark(SECRET, "kid1", now=at(1.9)), status=401, matched=""))
    reader = Reader(log)
    reader.poll(5)
    assert reader.uses == 0


@pytest.mark.parametrize(
    "probe",
    [
        "1",
        "keyturn",
        make_mark(SecretValue("what an attacker guesses"), "kid1", now=at(1)),
        make_mark(SECRET, "other", now=at(1)),
        make_mark(SECRET, "kid1", now=at(-90)),
    ],
)
def test_forged_and_stolen_marks_hide_nothing(log: Path, probe: str) -> None:
    """A made-up mark, one of another key and an old one leave the use counted."""
    append(log, line(1, probe=probe))
    reader = Reader(log)
    reader.poll(5)
    assert reader.uses == 1


def test_a_replayed_mark_hides_nothing(log: Path, tmp_path: Path) -> None:
    """Of all presentations under one mark only one is left out: on any node, also after a restart."""
    mark = make_mark(SECRET, "kid1", now=at(1))
    other = tmp_path / "other.log"
    append(log, line(1, probe=mark))
    append(other, line(1, probe=mark))
    reader = Reader(log, other)
    reader.poll(2)
    assert reader.uses == 1
    append(log, line(3, probe=mark))
    reader.poll(4)
    assert reader.uses == 2


def probed(path: Path, *, until: int, probes: int = 1) -> None:
    """What a node logs of a disabled key that is presented every five seconds by keyturn alone."""
    disabled: dict[str, object] = {"status": 401, "matched": "kid1:disabled"}
    times = range(0, until, 5)
    append(
        path,
        *(line(t + 0.1, probe=make_mark(SECRET, "kid1", now=at(t)), **disabled) for t in times for _ in range(probes)),
    )


def test_probes_are_left_out_of_a_log_that_is_added_later(log: Path, tmp_path: Path) -> None:
    """It is read from its beginning, when the others are long past it; a mark replayed in it hides nothing."""
    other = tmp_path / "other.log"
    probed(log, until=600)
    probed(other, until=600)
    last = json.loads(log.read_text().splitlines()[-1])["probe"]
    reader = Reader(log)
    reader.poll(300)
    reader.poll(601)
    reader.files = (log, other)
    reader.poll(602)
    assert reader.uses == 0
    append(other, line(600, probe=last))
    append(log, line(600, probe=last))
    reader.poll(605)
    assert reader.uses == 2


def test_probes_are_left_out_of_a_busy_log_far_behind_another(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading both from their beginning, the quiet one is read to its end while the busy one has hours to go."""
    quiet = tmp_path / "quiet.log"
    probed(quiet, until=7200, probes=4)
    for t in range(0, 7200, 5):
        append(log, line(t + 0.1, probe=make_mark(SECRET, "kid1", now=at(t)), status=401, matched="kid1:disabled"))
        append(log, *(line(t + 1, kid="kid2", matched="kid2:active") for _ in range(20)))
    monkeypatch.setattr("keyturn.plugins.logs.tail._BUDGET", 1)
    reader = Reader(log, quiet)
    while reader.poll(7200):
        pass
    assert reader.by_key == {"kid2": 28800}


def test_without_a_secret_every_mark_is_a_use(log: Path) -> None:
    """Without the shared secret nothing can be told apart, so everything counts; `check` says so."""
    append(log, line(1, probe=make_mark(SECRET, "kid1", now=at(1))))
    reader = Reader(log, probe_secret=None)
    reader.poll(5)
    assert reader.uses == 1
    assert any("probe_secret" in found for found in source(log, probe_secret=None).check())


# Following


def test_lines_are_counted_once_over_restarts_at_any_byte(tmp_path: Path) -> None:
    """Wherever a poll falls in the writing of the log, each line counts once, and a half line not before its end."""
    whole = "".join(line(i, kid=f"k{i}", matched="") for i in range(3)).encode()
    for cut in range(len(whole) + 1):
        log = tmp_path / f"{cut}.log"
        log.write_bytes(whole[:cut])
        reader = Reader(log)
        reader.poll(5)
        assert reader.uses == whole[:cut].count(b"\n")
        with log.open("ab") as file:
            file.write(whole[cut:])
        reader.poll(6)
        reader.poll(7)
        assert reader.by_key == {"k0": 1, "k1": 1, "k2": 1}


def test_the_same_cursor_gives_the_same_again(log: Path) -> None:
    """A batch whose commit was lost comes again, with what was added since."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(2)
    append(log, line(3))
    first = source(log).poll(reader.cursor, now=at(4))
    append(log, line(4))
    again = source(log).poll(reader.cursor, now=at(5))
    assert sum(report.successes for report in first.reports) == 1
    assert sum(report.successes for report in again.reports) == 2


class World:
    """A log that is written, rotated and polled in any order."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "access.log"
        self.log.touch()
        self.folder = folder
        self.written = 0
        self.late: list[Path] = []

    def siblings(self) -> list[Path]:
        numbered = [(int(p.name.rpartition(".")[2]), p) for p in self.folder.glob("access.log.*")]
        return [path for _, path in sorted(numbered)]

    def shift(self) -> Path:
        for path in reversed(self.siblings()):
            number = int(path.name.rpartition(".")[2])
            path.rename(path.with_name(f"access.log.{number + 1}"))
        return self.folder / "access.log.1"

    def write(self, path: Path | None = None) -> None:
        self.written += 1
        append(path or self.log, line(self.written / 100, kid=f"k{self.written}", matched=""))

    def step(self, name: str) -> None:
        if name == "write":
            self.write()
        elif name == "write late" and self.siblings():
            self.write(self.siblings()[0])  # a worker that has not reopened its log yet
        elif name == "rename":
            self.log.rename(self.shift())
            self.log.touch()
        elif name == "copytruncate":
            shutil.copyfile(self.log, self.shift())
            os.truncate(self.log, 0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.sampled_from(["write", "write", "write", "write late", "rename", "copytruncate", "poll", "poll"]),
        max_size=25,
    )
)
def test_rotation_neither_loses_nor_repeats(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Through any course of writes, renames, copies with truncation and restarts, each line counts exactly once."""
    world = World(tmp_path_factory.mktemp("rotated"))
    reader = Reader(world.log)
    copied = False
    for number, step in enumerate(steps):
        if step == "poll":
            reader.poll(100 + number)
        elif step == "write late" and copied:
            world.write()  # after a copy nobody writes to the sibling
        else:
            world.step(step)
            copied = step == "copytruncate" or (copied and step != "rename")
    reader.poll(200)
    reader.poll(201)
    assert reader.by_key == {f"k{number}": 1 for number in range(1, world.written + 1)}
    assert reader.watermark == at(200)


def test_a_truncation_under_the_reader_is_noticed(log: Path) -> None:
    """A log that was cut and written again past the old offset is not read from the middle of a line."""
    append(log, line(1), line(2))
    reader = Reader(log)
    reader.poll(3)
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)
    append(log, *(line(4, kid=f"n{i}", matched="") for i in range(5)))
    reader.poll(6)
    assert reader.uses == 7


def test_an_old_sibling_that_comes_back_is_not_counted_again(log: Path) -> None:
    """A rotated file that was read, moved away and put back adds nothing."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(2)
    rotated = log.rename(f"{log}.1")
    append(log, line(3))
    reader.poll(4)
    kept = rotated.read_bytes()
    rotated.unlink()
    reader.poll(5)
    rotated.write_bytes(kept)
    reader.poll(6)
    assert reader.uses == 2


# The watermark


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


# Options


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": "soon"},
        {"resolution": 0},
        {"clients": {"not an address": "x"}},
        {"field": {}},
        {"lag": -1},
        {"accept_gaps_before": "2026-11-21T12:00:00"},
    ],
)
def test_wrong_options_are_named(log: Path, options: dict[str, object]) -> None:
    """A wrong option is refused at the start, by its name."""
    with pytest.raises(ConfigError, match=rf"nodes\.{next(iter(options))}"):
        source(log, **options)


def test_a_foreign_cursor_is_an_error(log: Path) -> None:
    """A cursor that cannot be read back is not taken for none: lines would be counted twice."""
    for cursor in ("", "{}", '{"version": 99}', "[]"):
        with pytest.raises(Transient):
            source(log).poll(cursor, now=START)
