"""The acceptance barrier on real nginx: what a probe reports holds on every connection, whatever happened before."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.gateway.bench import Bench, Client, until, until_said

from keyturn.demo.gateway import GatewayNode, TableKey
from keyturn.domain.observations import Acceptance, Entry
from keyturn.plugins.gateway import nginx_processes
from keyturn.plugins.gateway.issuer import ApiKeyIssuer
from keyturn.plugins.gateway.key_format import mint_key, parse_kid
from keyturn.plugins.gateway.nginx_node import NginxNode
from keyturn.plugins.gateway.presenter import Answer, Place, Presenter
from keyturn.ports.issuer import Minted


def polled(bench: Bench, minted: Minted) -> bool:
    """What a poll without a barrier sees: a new connection to each node, and nothing else."""
    places = [Place(address=node.url, path="/", header="X-Api-Key", timeout=5) for node in bench.nodes.values()]
    return all(Presenter(place).present_new(minted.value) is Answer.ACCEPTED for place in places)


def wrong_answers_after(
    bench: Bench, change: Callable[[], None], settled: Callable[[], bool], value: str, right: int
) -> int:
    """Make a change, wait until it is said to be settled, then use the value on connections held since before."""
    clients = [Client(node) for node in bench.nodes.values() for _ in range(4)]
    try:
        for client in clients:
            client.status("nobody's key")
        change()
        until(settled, what="the change is settled")
        return sum(client.status(value) != right for client in clients)
    finally:
        for client in clients:
            client.close()


@pytest.mark.slow
def test_nobody_is_refused_after_the_barrier(bench: Bench) -> None:
    """Slow keep-alive clients that use a new key the moment it is reported accepted are never refused, nor is an old
    key served the moment it is reported disabled; a plain poll instead of the barrier fails both."""
    issuer = bench.issuer()
    refused = served = refused_after_poll = 0
    for _ in range(3):
        minted = issuer.mint("barrier")

        def says(said: Acceptance, minted: Minted = minted) -> bool:
            return all(issuer.probe(one, minted.key_id, minted.value) is said for one in issuer.verifiers())

        def install(minted: Minted = minted) -> None:
            issuer.install(minted.key_id, minted.value, issuer.verifiers())

        def disable(minted: Minted = minted) -> None:
            issuer.disable(minted.key_id, issuer.verifiers())

        value = minted.value.reveal()
        refused += wrong_answers_after(bench, install, lambda: says(Acceptance.ACCEPTED), value, 200)
        served += wrong_answers_after(bench, disable, lambda: says(Acceptance.DISABLED), value, 401)
        unlucky = issuer.mint("poll")
        refused_after_poll += wrong_answers_after(
            bench,
            lambda unlucky=unlucky: issuer.install(unlucky.key_id, unlucky.value, issuer.verifiers()),  # type: ignore[misc]
            lambda unlucky=unlucky: polled(bench, unlucky),  # type: ignore[misc]
            unlucky.value.reveal(),
            200,
        )
    assert (refused, served) == (0, 0)
    assert refused_after_poll > 0, "the poll alone is supposed to be wrong, or this test proves nothing"


def test_an_idle_connection_is_held_across_install_and_disable(own_bench: Bench) -> None:
    """A connection that sits idle through a change obeys the new table as soon as the probe says so, or is closed."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    minted = issuer.mint("idle")
    across_install, across_disable = Client(node), Client(node)
    assert across_install.status("nobody's key") == 401
    issuer.install(minted.key_id, minted.value, issuer.verifiers())
    until_said(issuer, minted, Acceptance.ACCEPTED)
    assert across_install.accepts(minted.value.reveal())
    assert across_disable.accepts(minted.value.reveal())
    issuer.disable(minted.key_id, issuer.verifiers())
    until_said(issuer, minted, Acceptance.DISABLED)
    assert not across_disable.accepts(minted.value.reveal())
    across_install.close()
    across_disable.close()


@contextmanager
def reloads_all_the_time(node: GatewayNode) -> Iterator[None]:
    """Someone else reloads nginx again and again."""
    stop = threading.Event()

    def reload() -> None:
        # A reload keeps the master busy for a tenth of a second: now back to back, now with room between.
        while not stop.wait(random.uniform(0.05, 0.5)):
            node.part.send(signal.SIGHUP)

    thread = threading.Thread(target=reload)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_reloads_by_others_do_not_fool_the_barrier(own_bench: Bench) -> None:
    """Workers that someone else's reload forked around our write are not taken for workers that have read it."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    for _ in range(4):
        minted = issuer.mint("storm")
        with reloads_all_the_time(node):
            clients = [Client(node) for _ in range(3)]
            for client in clients:
                client.status("nobody's key")
            issuer.install(minted.key_id, minted.value, issuer.verifiers())
        until_said(issuer, minted, Acceptance.ACCEPTED)
        assert all(client.accepts(minted.value.reveal()) for client in clients)
        for client in clients:
            client.close()


# Crashes: the second process remembers nothing


def crash_in(issuer: ApiKeyIssuer, minted: Minted, point: str) -> None:
    """Install in a process that is killed at this point."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def install() -> None:
        if point == "before the test":
            NginxNode.test_config = die  # type: ignore[method-assign]
        elif point == "before the reload":
            nginx_processes.hang_up = die
        elif point == "after the reload":
            really = nginx_processes.hang_up

            def hang_up_and_die(*arguments: object) -> None:
                really(*arguments)  # type: ignore[arg-type]
                die()

            nginx_processes.hang_up = hang_up_and_die  # type: ignore[assignment]
        issuer.install(minted.key_id, minted.value, issuer.verifiers())

    process = multiprocessing.get_context("fork").Process(target=install)
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("point", ["before the test", "before the reload", "after the reload"])
def test_a_crash_between_write_and_reload_is_found(own_bench: Bench, point: str) -> None:
    """A table that was written and not known to be loaded is not reported as settled; the probes of whoever comes after
    have it loaded, without anybody's memory, whether the call is made again or not."""
    issuer = own_bench.issuer()
    minted = issuer.mint("crash")
    crash_in(issuer, minted, point)
    late = own_bench.issuer()
    (node,) = late.verifiers()
    assert late.entries(node)[minted.key_id] is Entry.ACTIVE
    assert late.probe(node, minted.key_id, minted.value) is Acceptance.UNSETTLED
    until_said(late, minted, Acceptance.ACCEPTED)
    late.install(minted.key_id, minted.value, late.verifiers())
    assert late.probe(node, minted.key_id, minted.value) is Acceptance.ACCEPTED


def test_nothing_to_do_is_no_reload(own_bench: Bench) -> None:
    """Calls that change nothing leave nginx alone once their reload has gone through."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    minted = issuer.mint("again")
    issuer.install(minted.key_id, minted.value, issuer.verifiers())
    until_said(issuer, minted, Acceptance.ACCEPTED)
    workers = node.worker_pids()
    for _ in range(5):
        late = own_bench.issuer()
        late.install(minted.key_id, minted.value, late.verifiers())
        late.enable(minted.key_id, late.verifiers())
        late.disable("unknownkid", late.verifiers())
    assert node.worker_pids() == workers
    assert nginx_processes.look(node.pid_file) is not None


def test_a_hand_edit_is_seen_once_it_is_loaded(own_bench: Bench) -> None:
    """A table that a hand changed and reloaded, however quickly, is judged by what nginx then does; one that was not
    reloaded is not settled until the next call has it loaded."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    minted = issuer.mint("hand")
    other = Minted(key_id=parse_kid(value := mint_key("test")), value=value)
    for _ in range(5):
        issuer.install(minted.key_id, minted.value, issuer.verifiers())
        until_said(issuer, minted, Acceptance.ACCEPTED)
        node.write_table([TableKey(value=other.value.reveal(), kid=other.key_id)])
        node.part.send(signal.SIGHUP)
        until_said(issuer, minted, Acceptance.REFUSED)
        until_said(issuer, other, Acceptance.ACCEPTED)
    node.write_table([TableKey(value=minted.value.reveal(), kid=minted.key_id, state="disabled")])
    until(lambda: nginx_processes.tick() > nginx_processes.tick_of(node.key_table.stat().st_mtime_ns) + 5, what="later")
    assert issuer.probe(node.name, minted.key_id, minted.value) is Acceptance.UNSETTLED
    issuer.disable(minted.key_id, issuer.verifiers())
    until_said(issuer, minted, Acceptance.DISABLED)


def test_without_proc_time_decides(own_bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where /proc does not show nginx, a change is settled once connections from before cannot be there any more."""
    (node,) = own_bench.nodes.values()
    monkeypatch.setattr(nginx_processes, "_PROC", tmp_path)
    issuer = own_bench.issuer()
    minted = issuer.mint("hidden")
    held = Client(node)
    held.status("nobody's key")
    issuer.install(minted.key_id, minted.value, issuer.verifiers())
    sent = time.monotonic()
    until_said(own_bench.issuer(), minted, Acceptance.ACCEPTED)
    assert time.monotonic() - sent > 1.9
    assert held.accepts(minted.value.reveal())
    held.close()


def test_a_restarted_nginx_needs_no_reload(own_bench: Bench) -> None:
    """What nginx has read at its own start counts as loaded; while it is away it is unreachable."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    minted = issuer.mint("restart")
    issuer.install(minted.key_id, minted.value, issuer.verifiers())
    until_said(issuer, minted, Acceptance.ACCEPTED)
    node.part.stop()
    assert issuer.probe(node.name, minted.key_id, minted.value) is Acceptance.UNREACHABLE
    node.restart()
    until_said(issuer, minted, Acceptance.ACCEPTED)


def test_what_a_sleeping_master_lists_is_all_there_is(own_bench: Bench) -> None:
    """While reload follows reload and old workers linger, the short way to a sleeping master's workers leaves none out that
    a look at every process finds."""
    (node,) = own_bench.nodes.values()
    held = [Client(node) for _ in range(4)]
    master = node.master_pid
    compared, most = 0, 0
    for _ in range(20):
        for client in held:
            client.status("nobody's key")
        node.part.send(signal.SIGHUP)
        enough = compared + 10
        while compared < enough:
            asleep = nginx_processes._asleep(master)
            listed = nginx_processes._listed(master)
            assert listed is not None
            found = nginx_processes._children({master})
            if asleep is not None and nginx_processes._asleep(master) == asleep:
                assert set(found) <= set(listed)
                compared, most = compared + 1, max(most, len(found))
    assert most > 1
    for client in held:
        client.close()
