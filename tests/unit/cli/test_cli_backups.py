"""Backup, restore and adopt on the command line: what is said, its exit codes, and what the daemon then does."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.unit.api.house import House
from tests.unit.cli.terminal import Terminal, overlapping

from keyturn.app.daemon import Daemon
from keyturn.cli.application import run


def line(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What an offline command prints."""
    capsys.readouterr()
    assert run(list(words)) == code, capsys.readouterr()
    out, err = capsys.readouterr()
    return out if code == 0 else err


def backed_up(house: House, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    return line(capsys, "backup", str(house.folder / "b.db"), "--config", str(house.file), *more)


def test_backup_beside_the_daemon_says_what_is_not_in_it(
    house: House, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon runs on; the fingerprint key is named as missing, or copied apart where that is asked for."""
    del daemon
    said = backed_up(house, capsys)
    assert "1 credentials, 0 of them rotating" in said
    assert f"{house.state / 'fingerprint.key'} is not in it" in said
    said = line(
        capsys,
        *("backup", str(house.folder / "c.db"), "--key", str(house.folder / "c.key"), "--config", str(house.file)),
        "--json",
    )
    told = json.loads(said)
    assert (told["credentials"], told["key"]) == (1, str(house.folder / "c.key"))
    assert (house.folder / "c.key").read_text() == (house.state / "fingerprint.key").read_text()
    assert "choose another name" in line(
        capsys, "backup", str(house.folder / "c.db"), "--config", str(house.file), code=2
    )


def test_restored_daemon_does_nothing_until_it_is_adopted(
    house: House, terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """Backed up in a rotation, lost with its key, restored: status, the refusals and `adopt` say what to do; the code that
    was shown takes the rotation up again."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        overlapping(terminal, daemon)
        backed_up(house, capsys, "--key", str(house.folder / "b.key"))
    shutil.rmtree(house.state)

    where = ("--config", str(house.file))
    assert "is lost" in line(capsys, "restore", str(house.folder / "b.db"), *where, code=2)
    words = ("restore", str(house.folder / "b.db"), "--key", str(house.folder / "b.key"), *where)
    assert "would be made" in line(capsys, *words, "--dry-run")
    assert not (house.state / "keyturn.db").exists()
    assert json.loads(line(capsys, *words, "--json"))["rotating"] == 1

    with house.daemon() as daemon:
        for _ in range(3):
            daemon.tick()
        assert terminal("status", "payments") == 0
        assert "restored from a backup" in terminal.out.splitlines()[0]
        assert "keyturn adopt payments" in terminal.refused("rollback", "payments", "--reason", "test")
        assert "keyturn adopt payments" in terminal.refused("emergency", "payments", "--reason", "test")
        assert terminal("adopt", "payments") == 0
        shown = terminal.out.splitlines()[-1]
        code = shown.rsplit(" ", 1)[1].rstrip("`")
        assert terminal("adopt", "payments", "--confirm", code, "--dry-run") == 0
        assert list(daemon.store.unconfirmed()) == ["payments"]
        assert "look at" in terminal.refused("adopt", "payments", "--confirm", "0123456789")
        assert terminal("adopt", "payments", "--confirm", code, "--reason", "INC-9", "--json") == 0
        assert json.loads(terminal.out)["found"] == []
        assert list(daemon.store.unconfirmed()) == []
        daemon.tick()
        assert terminal("status", "payments") == 0
        assert "v1 → v2 in " in terminal.out.splitlines()[0]
        assert "in care" in terminal.refused("adopt", "payments")


def test_restore_says_where_the_former_store_went(
    house: House, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that is there is kept, and moved only when the daemon is down and that is asked for; a dry run says the same
    to all of it."""
    backed_up(house, capsys)
    words = ("restore", str(house.folder / "b.db"), "--config", str(house.file))
    for refused, why in ((words, "--replace"), ((*words, "--replace"), "in use by another keyturn")):
        said = line(capsys, *refused, code=2)
        assert why in said
        assert line(capsys, *refused, "--dry-run", code=2) == said
    daemon.stop()
    assert "would be made" in line(capsys, *words, "--replace", "--dry-run")
    said = line(capsys, *words, "--replace")
    (aside,) = house.state.glob("keyturn.db.until-*")
    assert str(aside) in said


def test_lost_store_is_adopted_from_what_is_there(
    house: House, terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the store gone in the middle of a rotation the daemon says so, `adopt` lists every version that is there, and
    takes them up under the serials that they had."""
    house.furnish()
    with house.daemon() as daemon:
        daemon.tick()
        overlapping(terminal, daemon)
    shutil.rmtree(house.state)
    with house.daemon() as daemon:
        daemon.tick()
        assert terminal("status", "payments") == 0
        assert "keyturn adopt payments" in terminal.out
        assert terminal("adopt", "payments", "--json") == 0
        told = json.loads(terminal.out)
        assert [found.split(" ")[0] for found in told["found"]] == ["v1", "v2"]
        assert terminal("adopt", "payments", "--confirm", told["code"], "--reason", "INC-9: disk is gone") == 0
        credential = daemon.store.credential("payments")
        assert credential is not None
        assert sorted(credential.versions) == [1, 2]
        assert credential.next_serial == 3
