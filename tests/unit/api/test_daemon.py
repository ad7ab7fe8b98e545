"""The daemon's clock, and how plugins are found."""

from __future__ import annotations

import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import pytest
from tests.unit.api.house import PAYMENTS, House

from keyturn.app.clock import THREADS, ThreadExecutor, jittered
from keyturn.app.daemon import open_daemon
from keyturn.app.serving import listen
from keyturn.config import load_config
from keyturn.domain.errors import ConfigError, Transient
from keyturn.domain.observations import Entry
from keyturn.testing.fakes import FakeClock
from keyturn.testing.fakes.backend import FakeTarget

WITHIN = 20.0


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, f"within {WITHIN:.0f} s: {what}"
        time.sleep(0.01)


def counted(house: House, series: str) -> float:
    """A metric's value now."""
    for line in house.ask("GET", "/metrics").text.splitlines():
        if line.startswith(f"{series} "):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no series {series}")


def test_clock_ticks_by_itself_and_at_once_after_a_command(house: House) -> None:
    """The first tick comes at the start; the next hour's does not keep an operator waiting."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.start()
        until(lambda: daemon.store.credential("payments") is not None, "the first tick")
        assert house.ask("POST", "/v1/credentials/payments/rotate").status_code == 200
        until(lambda: daemon.store.live()[0].revision > 0, "the tick after the command")


@pytest.mark.parametrize(("error", "kind"), [(Transient("hunter2"), "failure"), (LookupError("hunter2"), "defect")])
def test_tick_that_raises_is_counted_and_the_next_one_comes(
    house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception, kind: str
) -> None:
    """Neither an error of ours nor a defect stops the clock; a defect is logged by type and place, not by its words."""
    house.configure(lambda config: config.update(tick="50ms"))

    def broken() -> None:
        raise error

    with house.daemon() as daemon:
        monkeypatch.setattr(daemon.runtime, "tick", broken)
        daemon.start()
        until(lambda: counted(house, f'keyturn_failed_ticks_total{{kind="{kind}"}}') >= 2, "two ticks that failed")
        monkeypatch.undo()
        until(lambda: counted(house, "keyturn_ticks_total") > 0, "a tick that ended well")
    captured = capfd.readouterr()
    logged = captured.out + captured.err
    assert ("hunter2" in logged) == (kind == "failure")
    assert kind == "failure" or "in broken" in logged


def test_stop_lets_the_tick_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tick has begun is recorded before the store closes."""
    began, ended = threading.Event(), threading.Event()
    with house.daemon() as daemon:

        def slow() -> None:
            began.set()
            time.sleep(0.3)
            daemon.store.sources()
            ended.set()

        monkeypatch.setattr(daemon.runtime, "tick", slow)
        daemon.start()
        assert began.wait(WITHIN)
    assert ended.is_set()


def test_second_daemon_on_one_store_is_refused(house: House) -> None:
    """One writer a store; the message names the other."""
    with house.daemon(), pytest.raises(ConfigError, match="in use by another keyturn"):
        open_daemon(load_config(house.file))


def test_address_that_is_taken_is_a_configuration_error(house: House) -> None:
    """One line with the place in the file and the mend."""
    with house.daemon():
        port = house.url.rsplit(":", 1)[1]
        house.configure(lambda config: config["http"].update(listen=f"127.0.0.1:{port}"))
        with pytest.raises(ConfigError, match=r"keyturn.yaml:\d+: http.listen: .*choose another address"):
            listen(load_config(house.file))


@pytest.mark.parametrize(
    ("type", "said"),
    [
        ("missing", "the plugin 'missing' .* cannot be loaded: ModuleNotFoundError"),
        ("broken", "the plugin 'broken' .* broke while it was made: RuntimeError"),
        ("refusing", "backends.bao.first: is wrong\n.*: backends.bao.second: is wrong too"),
    ],
)
def test_plugin_that_cannot_be_used_stops_the_start(house: House, type: str, said: str) -> None:
    """A broken plugin is named with its place in the file; what it says of its options may be secret."""
    house.configure(lambda config: config["backends"]["bao"].update(type=type))
    with pytest.raises(ConfigError, match=said) as caught:
        open_daemon(load_config(house.file))
    assert "hunter2" not in str(caught.value)
    assert all(line.startswith(f"{house.file}:") for line in str(caught.value).splitlines())


def test_plugin_that_is_not_named_is_not_loaded(house: House) -> None:
    """A broken plugin that nobody uses is nobody's trouble: the default configuration names none of them."""
    with house.daemon():
        assert house.ask("GET", "/livez", token=None).status_code == 200


def test_options_of_targets_and_issuers_are_checked_with_their_place(house: House) -> None:
    """What a plugin objects to in a credential points into the credential; all objections come at once."""

    def spoil(config: dict[str, Any]) -> None:
        payments = config["credentials"]["payments"]
        payments["targets"] = [{"backend": "bao", "pth": "x"}]
        payments["issuer"] = {"use": "gateway", "colour": "red"}
        config["backends"]["bao"]["probelm"] = 1

    house.configure(spoil)
    with pytest.raises(ConfigError) as caught:
        open_daemon(load_config(house.file))
    said = str(caught.value)
    assert "backends.bao.probelm: unknown key" in said
    assert "credentials.payments.issuer: fake issuer: takes no options" in said


def test_credential_that_rotates_must_stay_configured(house: House) -> None:
    """Removed from the configuration amid its rotation it is named, also when its rotation cannot be read; put back, the
    daemon starts, whatever the rotation says."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        assert house.ask("POST", "/v1/credentials/payments/rotate").status_code == 200
    with sqlite3.connect(house.state / "keyturn.db") as connection:
        connection.execute("UPDATE rotations SET document = substr(document, 1, 100)")
    connection.close()
    house.configure(lambda config: config.update(credentials={}))
    with pytest.raises(ConfigError, match=r"payments still rotates .* put it back"):
        open_daemon(load_config(house.file))
    house.configure(lambda _: None)
    open_daemon(load_config(house.file)).stop()


def test_thread_executor_runs_at_once_in_order_and_raises_at_the_end() -> None:
    """Results come in the order of the calls; a defect is raised once all have ended; calls within calls end too."""
    executor = ThreadExecutor(threads=2)
    barrier = threading.Barrier(2, timeout=WITHIN)
    assert executor.run([lambda: barrier.wait() * 0, lambda: barrier.wait() * 0 + 1]) == [0, 1]
    ended: list[int] = []

    def defect() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        executor.run([defect, lambda: ended.append(1)])
    assert ended == [1]
    nested = [lambda: executor.run([lambda: 1, lambda: 2]) for _ in range(4)]
    assert executor.run(nested) == [[1, 2]] * 4
    executor.close()


def test_state_folder_that_cannot_be_made(house: House, tmp_path: Path) -> None:
    """One line with the folder and the settings that move it."""
    (tmp_path / "file").write_text("")
    house.configure(lambda config: config.update(state_dir="file/state"))
    with pytest.raises(ConfigError, match=r"file/state cannot be made: .*; set store.url or state_dir elsewhere"):
        open_daemon(load_config(house.file))


def test_due_credential_starts_by_itself(house: House) -> None:
    """A schedule in the configuration becomes a rotation at its time."""
    house.furnish()
    schedule = {"every": "1d", "starting": datetime.now(UTC).isoformat()}
    house.configure(lambda config: config["credentials"]["payments"].update(schedule=schedule))
    with house.daemon() as daemon:
        daemon.tick()
        daemon.tick()
        assert [rotation.started_by for rotation in daemon.store.live()] == ["schedule"]


def test_command_during_a_tick_gets_a_tick_of_its_own(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick under way may be past the credential already: one more follows it."""
    began, go_on = threading.Semaphore(0), threading.Event()

    def slow() -> None:
        began.release()
        go_on.wait(WITHIN)

    with house.daemon() as daemon:
        monkeypatch.setattr(daemon.runtime, "tick", slow)
        daemon.start()
        assert began.acquire(timeout=WITHIN)
        daemon.wake()
        go_on.set()
        assert began.acquire(timeout=WITHIN)


def test_command_is_carried_out_beside_a_tick_that_waits_for_another(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another credential's backend does not answer: what is compromised is cut all the same, under a busy executor too."""
    key = house.furnish()
    others = [f"other{number}" for number in range(THREADS)]
    payments = {"issuer": "gateway", "sources": ["pushed"], "policy": "quick"}
    paths = {name: payments | {"targets": [{"backend": "bao", "path": name}]} for name in others}
    house.configure(lambda config: config["credentials"].update(paths))
    waiting, go_on, read = threading.Semaphore(0), threading.Event(), FakeTarget.read

    def slow(target: FakeTarget) -> Any:
        if target._place is not house.backend.place("payments"):
            waiting.release()
            go_on.wait(2 * WITHIN)
        return read(target)

    monkeypatch.setattr(FakeTarget, "read", slow)
    with house.daemon() as daemon:
        daemon.start()
        assert all(waiting.acquire(timeout=WITHIN) for _ in others)
        try:
            answer = house.ask("POST", f"{PAYMENTS}/emergency", body={"reason": "leaked", "cut_now": True})
            assert answer.status_code == 200, answer.text
            nodes = house.authority.nodes.values()
            until(lambda: all(node.entries()[key] is Entry.DISABLED for node in nodes), "cut at every verifier")
        finally:
            go_on.set()


def test_defect_met_beside_the_ticks_is_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's work meets one between two ticks: the next tick reports it, once."""

    def broken(*_: object) -> None:
        raise LookupError

    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        assert house.ask("POST", f"{PAYMENTS}/rotate").status_code == 200
        monkeypatch.setattr("keyturn.runtime.step.decide", broken)
        daemon.runtime.work_on("payments")
        monkeypatch.undo()
        for _ in range(2):
            daemon.tick()
            assert counted(house, 'keyturn_failed_ticks_total{kind="defect"}') == 1


def test_steps_of_the_wall_clock_stop_no_tick(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set back by hours, or on by decades, the wall clock changes nothing: ticks come, and `/readyz` says so."""
    shift = timedelta(0)

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + shift

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Stepped)
    monkeypatch.setattr("keyturn.app.clock.datetime", Stepped)
    monkeypatch.setattr("keyturn.app.daemon.datetime", Stepped, raising=False)
    house.configure(lambda config: config.update(tick="50ms"))

    def ticked(wanted: float) -> bool:
        return counted(house, "keyturn_ticks_total") > wanted

    with house.daemon() as daemon:
        daemon.start()
        for shift in (timedelta(hours=-2), timedelta(hours=2)):
            wanted = counted(house, "keyturn_ticks_total") + 2
            until(partial(ticked, wanted), f"ticks after a step of {shift}")
            assert daemon.unready() is None
            assert daemon.unready() is None


def test_daemon_is_unready_by_the_clock_that_does_not_step(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks that do not come are told, also while the wall clock says that they came a moment ago."""
    clock = FakeClock()
    with house.daemon() as daemon:
        monkeypatch.setattr(daemon, "clock", clock)
        daemon.tick()
        wall, monotonic = clock.now(), clock.monotonic()
        monkeypatch.setattr(clock, "now", lambda: wall - timedelta(hours=2))
        assert daemon.unready() is None
        monkeypatch.setattr(clock, "monotonic", lambda: monotonic + 4 * 3600)
        assert "no tick has ended well for 14400 s" in (daemon.unready() or "")


def test_ticks_of_replicas_do_not_stay_in_step() -> None:
    """Each interval is the configured one give or take a tenth, by chance, so that replicas started together drift
    apart."""
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    every = timedelta(seconds=10)
    gaps = [[jittered(every, random) for _ in range(200)] for random in (Random(seed), Random(seed + 1))]
    assert every * 0.9 <= min(gaps[0] + gaps[1]) < every * 0.95
    assert every * 1.05 < max(gaps[0] + gaps[1]) <= every * 1.1
    assert sum(gaps[0], timedelta(0)) != sum(gaps[1], timedelta(0))
