"""The key table's file beside a real nginx: many writers, bad neighbours, and no key where it does not belong."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from tests.integration.gateway.bench import Bench, until_said

from keyturn.demo.gateway import NGINX
from keyturn.domain.errors import Absent, Conflict, Invalid, Transient
from keyturn.domain.observations import Acceptance, Entry
from keyturn.plugins.gateway.nginx_table_file import TableFile
from keyturn.ports.issuer import Minted
from keyturn.testing.secrecy import disguises, texts_of_error


def test_writers_at_once_lose_nothing(own_bench: Bench) -> None:
    """Threads and processes that change one table at the same time, leases or not, all find their change in it."""
    first = own_bench.issuer()
    minted = [first.mint("many") for _ in range(12)]

    def install(some: list[Minted]) -> None:
        issuer = own_bench.issuer()
        for one in some:
            issuer.install(one.key_id, one.value, issuer.verifiers())

    fork = multiprocessing.get_context("fork")
    writers: list[multiprocessing.process.BaseProcess | threading.Thread] = [
        fork.Process(target=install, args=(minted[0:3],)),
        fork.Process(target=install, args=(minted[3:6],)),
    ]
    for writer in writers:
        writer.start()
    threads = [threading.Thread(target=install, args=(part,)) for part in (minted[6:9], minted[9:12])]
    for thread in threads:
        thread.start()
    for writer in [*writers, *threads]:
        writer.join(60)
    (node,) = first.verifiers()
    assert first.entries(node) == {one.key_id: Entry.ACTIVE for one in minted}
    until_said(first, minted[0], Acceptance.ACCEPTED)
    until_said(first, minted[-1], Acceptance.ACCEPTED)


def test_a_locked_table_is_waited_for_and_then_given_up(own_bench: Bench) -> None:
    """A writer that never lets go costs a timeout and a transient error, not a hang."""
    (node,) = own_bench.nodes.values()
    table = TableFile(node.key_table)
    with table.locked(within=1), pytest.raises(Transient, match="locked"), table.locked(within=0.1):
        pass


def test_what_nginx_refuses_is_taken_back(own_bench: Bench) -> None:
    """When `nginx -t` fails the old table is back, as the very file it was, and the error shows no key."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    known, fresh = issuer.mint("known"), issuer.mint("fresh")
    issuer.install(known.key_id, known.value, issuer.verifiers())
    until_said(issuer, known, Acceptance.ACCEPTED)
    broken = node.config_file.read_text()
    # nginx's complaint about this quotes the key itself.
    twice = f'include keys.map;\n    "{fresh.value.reveal()}" "{fresh.key_id}:active";'
    node.config_file.write_text(broken.replace("include keys.map;", twice))
    before = node.key_table.stat()
    with pytest.raises(Invalid) as caught:
        issuer.install(fresh.key_id, fresh.value, issuer.verifiers())
    assert "conflicting parameter" in str(caught.value)
    for text in [*texts_of_error(caught.value), node.error_log.read_text()]:
        assert not any(shape.lower() in text.lower() for shape in disguises(fresh.value.reveal()).values())
    after = node.key_table.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert issuer.entries(node.name) == {known.key_id: Entry.ACTIVE}
    assert issuer.probe(node.name, known.key_id, known.value) is Acceptance.ACCEPTED
    node.config_file.write_text(broken)
    issuer.install(fresh.key_id, fresh.value, issuer.verifiers())
    until_said(issuer, fresh, Acceptance.ACCEPTED)


def test_what_nginx_refuses_without_our_line_too_may_pass(own_bench: Bench) -> None:
    """A name that does not resolve just now, say: no line of ours is wrong, so a later call may go through. Nor is it while
    a reload is owed."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    fresh, later = issuer.mint("fresh"), issuer.mint("later")
    whole, before = node.config_file.read_text(), node.key_table.stat()
    unresolved = "http {\n    upstream away { server no-such-name.invalid:8080; }"
    node.config_file.write_text(whole.replace("http {", unresolved, 1))
    with pytest.raises(Transient, match="host not found in upstream"):
        issuer.install(fresh.key_id, fresh.value, issuer.verifiers())
    after = node.key_table.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    node.config_file.write_text(whole)
    issuer.install(fresh.key_id, fresh.value, issuer.verifiers())
    until_said(issuer, fresh, Acceptance.ACCEPTED)

    # A hand's copy of the table is another file of the same content: its reload is owed, without an edit.
    copy = node.key_table.with_name("copy")
    shutil.copy(node.key_table, copy)
    copy.replace(node.key_table)
    node.config_file.write_text(whole.replace("http {", unresolved, 1))
    with pytest.raises(Transient, match="host not found in upstream"):
        issuer.install(fresh.key_id, fresh.value, issuer.verifiers())
    node.config_file.write_text(whole)
    issuer.install(later.key_id, later.value, issuer.verifiers())
    until_said(issuer, later, Acceptance.ACCEPTED)


def test_a_table_that_makes_no_sense_is_left_alone(own_bench: Bench) -> None:
    """A broken table is an error that names file and line; it is neither mended nor overwritten."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    minted = issuer.mint("broken")
    text = '# fine\n"half a line\n'
    node.key_table.write_text(text)
    for call in (
        lambda: issuer.install(minted.key_id, minted.value, issuer.verifiers()),
        lambda: issuer.revoke(minted.key_id, issuer.verifiers()),
        lambda: issuer.entries(node.name),
    ):
        with pytest.raises(Invalid, match=r"keys\.map:2"):
            call()
    assert node.key_table.read_text() == text
    node.key_table.unlink()
    with pytest.raises(Absent):
        issuer.install(minted.key_id, minted.value, issuer.verifiers())


def test_owner_and_mode_stay(own_bench: Bench) -> None:
    """A replaced table belongs to whom it belonged to, and nothing that is left beside it is open to others."""
    (node,) = own_bench.nodes.values()
    node.key_table.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(node.key_table, 0, 65534)
    before = node.key_table.stat()
    issuer = own_bench.issuer()
    minted = issuer.mint("mode")
    issuer.install(minted.key_id, minted.value, issuer.verifiers())
    after = node.key_table.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    beside = [path for path in node.folder.iterdir() if path.name.startswith(".keys.map.")]
    assert {path.name for path in beside} == {".keys.map.lock", f".keys.map.{node.name}.reload"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in beside)


def test_a_wrong_pid_file_signals_nobody(own_bench: Bench, tmp_path: Path) -> None:
    """A pid file that names some other process is an error, and that process lives on."""
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        pid_file = tmp_path / "other.pid"
        pid_file.write_text(str(bystander.pid))
        issuer = own_bench.issuer(pid_file=str(pid_file))
        minted = issuer.mint("bystander")
        with pytest.raises(Invalid, match="not an nginx master"):
            issuer.install(minted.key_id, minted.value, issuer.verifiers())
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_tombstone_cannot_be_presented(own_bench: Bench) -> None:
    """No request, however odd its bytes, matches the tombstone of a key whose value was never in the table."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    minted = issuer.mint("tombstone")
    issuer.revoke(minted.key_id, issuer.verifiers())
    until_said(issuer, minted, Acceptance.REFUSED)
    tombstone = f"revoked {minted.key_id}".encode()
    for head in (b"", b"\n", b"\\n", b"n", b" \n", b"\r\n ", b"\r", b"%0a", b"\x00\n"):
        with socket.create_connection((node.host, node.port), timeout=5) as raw:
            raw.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: " + head + tombstone + b"\r\n\r\n"
            )
            assert raw.recv(64).split()[1] in (b"401", b"400")
    log = node.access_log.read_text()
    assert ":revoked" not in log
    with pytest.raises(Conflict):
        issuer.install(minted.key_id, minted.value, issuer.verifiers())


def test_keys_are_in_no_log_and_no_argument(own_bench: Bench, tmp_path: Path) -> None:
    """Through a whole life, with a wrapper that records how nginx is called, a key shows nowhere but in the table."""
    (node,) = own_bench.nodes.values()
    record = tmp_path / "calls"
    wrapper = tmp_path / "nginx"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {record}\nenv >> {record}\nexec {NGINX} "$@"\n')
    wrapper.chmod(0o700)
    issuer = own_bench.issuer(nginx=str(wrapper))
    minted = issuer.mint("secret")
    issuer.install(minted.key_id, minted.value, issuer.verifiers())
    until_said(issuer, minted, Acceptance.ACCEPTED)
    issuer.disable(minted.key_id, issuer.verifiers())
    until_said(issuer, minted, Acceptance.DISABLED)
    issuer.revoke(minted.key_id, issuer.verifiers())
    assert "-t" in record.read_text()
    texts = [record.read_text()]
    texts += [path.read_text() for path in node.folder.iterdir() if path.is_file() and path != node.key_table]
    assert not any(shape in text for shape in disguises(minted.value.reveal()).values() for text in texts)


def test_check_says_where_no_connection_can_be_held(own_bench: Bench) -> None:
    """An accepted key's answer that is too long to be read to its end is told of, with the mend. What is presented for it is
    a key that keyturn has made, under its mark, and never one that somebody else has written into the table."""
    (node,) = own_bench.nodes.values()
    with (node.folder / "export").open("wb") as export:
        export.truncate(2 << 20)
    location = f"location = /export {{ if ($accepted = 0) {{ return 401; }} alias {export.name}; }}\n    location / {{"
    node.config_file.write_text(node.config_file.read_text().replace("location / {", location))
    with node.key_table.open("a") as table:
        table.write('"somebody-elses" "theirs:active";\n')
    node.reload()
    assert own_bench.authority(probe_path="/export").check() == []

    issuer = own_bench.issuer()
    minted = issuer.mint("long")
    issuer.install(minted.key_id, minted.value, issuer.verifiers())
    until_said(issuer, minted, Acceptance.ACCEPTED)
    (line,) = own_bench.authority(probe_path="/export").check()
    assert line.startswith(f"{node.name}: an answer at probe_path is longer than 1 MiB")
    assert own_bench.authority().check() == []
    lines = [json.loads(text) for text in node.access_log.read_text().splitlines()]
    assert {one["matched"] for one in lines if one["matched"] and one["probe"]} == {f"{minted.key_id}:active"}
    assert not [one for one in lines if one["matched"] and not one["probe"]]


def test_check_says_what_would_stop_a_rotation(own_bench: Bench) -> None:
    """A node in order has nothing to say against it; each thing that is wrong is one line that names it."""
    (node,) = own_bench.nodes.values()
    assert own_bench.authority().check() == []
    assert any("gives no answer" in line for line in own_bench.authority(away=node.name).check())
    assert any("no such file" in line for line in own_bench.authority(table=str(node.folder / "none.map")).check())
    assert any("no such program" in line for line in own_bench.authority(nginx="/nowhere/nginx").check())
    node.key_table.chmod(0o644)
    assert any("0644" in line for line in own_bench.authority().check())
