"""Everything that can be wrong with a configuration file: one line each, with line, key and mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.house import House

from keyturn.config import ConfigProblems, load_config


def messages(file: Path) -> list[str]:
    """What is wrong, one line each, without the file's folder."""
    with pytest.raises(ConfigProblems) as caught:
        load_config(file)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems), "a problem takes one line"
    return [line.removeprefix(f"{file.parent}/") for line in lines]


def change_payments(change: dict[str, Any]) -> Any:
    """A change of the one credential."""
    return lambda config: config["credentials"]["payments"].update(change)


def test_sound_configuration_is_accepted(house: House) -> None:
    """The configuration that every case below spoils has nothing wrong with it."""
    config = load_config(house.file)
    assert list(config.credentials) == ["payments"]
    assert config.store_url == f"sqlite:///{house.folder}/state/keyturn.db"
    assert config.state_dir == house.state


@pytest.mark.parametrize(
    ("spoil", "path", "message"),
    [
        (lambda c: c.update(colour="red"), "colour", "unknown key; known are: backends, credentials"),
        (lambda c: c["http"].update(listn="x"), "http.listn", "unknown key; did you mean 'listen'?"),
        (change_payments({"polcy": "quick"}), "credentials.payments.polcy", "unknown key; did you mean 'policy'?"),
        (lambda c: c.pop("store"), "store", "is missing: add it"),
        (lambda c: c.update(tick="soon"), "tick", "write a length of time as a number of seconds"),
        (lambda c: c.update(tick=0.001), "tick", "should be at least 50ms"),
        (lambda c: c.update(tick=True), "tick", "write a length of time"),
        (lambda c: c.update(retention={"messages": "29d"}), "retention.messages", "should be at least 30d"),
        (lambda c: c["http"].update(listen="nowhere"), "http.listen", "should be HOST:PORT, as 127.0.0.1:8290"),
        (lambda c: c["http"].update(listen="127.0.0.1:99999"), "http.listen", "should be HOST:PORT"),
        (lambda c: c.update(backends=[]), "backends", "should be a mapping, not a list"),
        (change_payments({"clients": "checkout"}), "credentials.payments.clients", "should be a list, not text"),
        (change_payments({"targets": []}), "credentials.payments.targets", "should have at least 1 entry"),
        (change_payments({"issuer": 7}), "credentials.payments.issuer", "should be a mapping, not a number"),
        (
            lambda c: c["policies"]["quick"].update(wave_size="two"),
            "policies.quick.wave_size",
            "should be a whole number, not text",
        ),
        (
            lambda c: c["credentials"].update(Payments_2=c["credentials"]["payments"]),
            "credentials.Payments_2",
            "names are lower-case letters, digits and dashes",
        ),
        (
            change_payments({"targets": [{"backend": "boa", "path": "x"}]}),
            "credentials.payments.targets.0.backend",
            "there is no backend 'boa' under backends; did you mean 'bao'?",
        ),
        (
            change_payments({"issuer": {"use": "door"}}),
            "credentials.payments.issuer",
            "there is no issuer 'door' under issuers; known are: gateway",
        ),
        (
            change_payments({"sources": ["pushed", "nobody"]}),
            "credentials.payments.sources.1",
            "there is no usage source 'nobody' under sources; known are: other, pushed",
        ),
        (
            change_payments({"notify": ["ops"]}),
            "credentials.payments.notify.0",
            "there is no notifier 'ops' under notifiers; known are: none",
        ),
        (
            change_payments({"policy": "quik"}),
            "credentials.payments.policy",
            "there is no policy 'quik' under policies; did you mean 'quick'?",
        ),
        (
            lambda c: c["backends"]["bao"].update(type="vualt-kv2"),
            "backends.bao.type",
            "there is no plugin 'vualt-kv2'; did you mean 'vault-kv2'?",
        ),
        (
            lambda c: c["sources"]["pushed"].update(resolution=0),
            "sources.pushed.resolution",
            "should be longer than nothing",
        ),
        (
            lambda c: c["sources"]["pushed"].update(sees_failures="maybe"),
            "sources.pushed.sees_failures",
            "should be true or false, not text",
        ),
        (
            lambda c: c["policies"]["quick"].update(minimum_overlap="1s"),
            "policies.quick.minimum_overlap",
            "is shorter than propagation + client_refresh + pool_lifetime",
        ),
        (
            change_payments({"policy": {"wave_size": 0}}),
            "credentials.payments.policy.wave_size",
            "a wave promotes at least one target",
        ),
        (
            lambda c: c["policies"]["quick"].update(page_every=0),
            "policies.quick.page_every",
            "it is the time between two pages, longer than zero",
        ),
        (
            lambda c: c["policies"]["quick"].update(deadlines={"monitor": {"policy": "force"}}),
            "policies.quick.deadlines.monitor",
            "force needs an owner",
        ),
        (
            lambda c: c["policies"]["quick"].update(deadlines={"completed": {"after": "1h"}}),
            "policies.quick.deadlines",
            "completed is an end",
        ),
        (
            change_payments({"schedule": {"every": "1s"}}),
            "credentials.payments.schedule.every",
            "is shorter than one rotation takes",
        ),
        (
            change_payments({"schedule": {"every": "90d", "timezone": "Mars/Base"}}),
            "credentials.payments.schedule.timezone",
            "'Mars/Base' is no IANA time zone",
        ),
        (
            change_payments({"schedule": {"cron": "every tuesday"}}),
            "credentials.payments.schedule.cron",
            "five fields are needed",
        ),
        (
            change_payments({"schedule": {"cron": "0 0 30 2 *"}}),
            "credentials.payments.schedule.cron",
            "never fires: none of its months has such a day",
        ),
        (
            change_payments({"schedule": {"every": "9999999d"}}),
            "credentials.payments.schedule.every",
            "should be at most 36500d",
        ),
        (
            change_payments(
                {"schedule": {"every": "90d", "starting": "0001-01-01T00:00:00", "timezone": "Europe/Berlin"}}
            ),
            "credentials.payments.schedule.starting",
            "no time in UTC",
        ),
        (
            change_payments({"schedule": {"every": "90d", "cron": "0 10 * * tue"}}),
            "credentials.payments.schedule",
            "needs either `every` or `cron`",
        ),
        (change_payments({"schedule": {}}), "credentials.payments.schedule", "needs either `every` or `cron`"),
        (
            change_payments({"schedule": {"cron": "0 10 * * tue", "starting": "2026-01-01T00:00:00Z"}}),
            "credentials.payments.schedule.starting",
            "goes with `every` only",
        ),
        (
            change_payments({"schedule": {"every": "90d", "starting": "soon"}}),
            "credentials.payments.schedule.starting",
            "should be a date and time",
        ),
        (
            change_payments({"targets": [{"backend": "bao", "path": "a"}, {"backend": "bao", "path": "b"}]}),
            "credentials.payments.targets",
            "2 targets are called 'bao': give each a `name:`",
        ),
        (
            change_payments(
                {"targets": [{"backend": "bao", "path": "a"}, {"name": "b", "backend": "bao", "path": "a"}]}
            ),
            "credentials.payments.targets.1",
            "is the same place as credentials.payments.targets.0",
        ),
        (
            change_payments({"clients": ["checkout", "checkout"]}),
            "credentials.payments.clients",
            "'checkout' is there 2 times",
        ),
        (lambda c: c["store"].update(url="sqlite://"), "store.url", "should begin with sqlite:///"),
        (lambda c: c["store"].update(url="sqlite:///:memory:"), "store.url", "names no file"),
        (lambda c: c["store"].update(url="sqlite:///a.db?mode=rwc"), "store.url", "leave out `?`"),
        (lambda c: c["store"].update(url="postgresql+asyncpg://u@h/db"), "store.url", "should begin with"),
        (lambda c: c["store"].update(url="POSTGRESQL://u@h/db"), "store.url", "should begin with"),
        (lambda c: c["store"].update(url="postgresql+psycopg://u@[::1:5432/db"), "store.url", "is no URL"),
        (lambda c: c["store"].update(url="postgresql+psycopg://u@h:door/db"), "store.url", "is no URL"),
        (lambda c: c["store"].update(url="postgresql://u@h/db?service=x"), "store.url", "sets 'service': leave it out"),
        (
            lambda c: c["store"].update(url="postgresql+psycopg://keyturn@db/keyturn"),
            "state_dir",
            "a PostgreSQL store has no folder",
        ),
    ],
)
def test_each_problem_is_one_line_with_key_and_mend(house: House, spoil: Any, path: str, message: str) -> None:
    """One thing spoiled gives one line: the file, a line number, the key and what to do."""
    house.configure(spoil)
    (line,) = messages(house.file)
    place, said = line.split(": ", 1)
    assert place.startswith("keyturn.yaml:")
    assert place.removeprefix("keyturn.yaml:").isdigit()
    assert said.startswith(f"{path}: ")
    assert message in said


def test_line_is_where_the_key_stands(house: House) -> None:
    """The number leads to the line, also through lists and nested keys."""
    house.configure(change_payments({"targets": [{"backend": "bao", "path": "a"}, {"backend": "x", "name": "n"}]}))
    wanted = next(n for n, text in enumerate(house.file.read_text().splitlines(), start=1) if "backend: x" in text)
    assert messages(house.file)[0].startswith(f"keyturn.yaml:{wanted}: credentials.payments.targets.1.backend")


def test_several_problems_are_told_at_once(house: House) -> None:
    """A typing error in one place does not hide a missing reference in another; lines are in order."""

    def spoil(config: dict[str, Any]) -> None:
        config["http"]["listn"] = 1
        config["credentials"]["payments"]["sources"] = ["nobody"]
        config["credentials"]["payments"]["schedule"] = {"every": "1s"}

    house.configure(spoil)
    found = messages(house.file)
    assert [line.split(": ")[1] for line in found] == [
        "http.listn",
        "credentials.payments.sources.0",
        "credentials.payments.schedule.every",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("store: {url: [", "is no valid YAML"),
        ("- a\n- b\n", "should be a mapping"),
        ("store: {url: 'sqlite:///a.db'}\nstore: {url: 'sqlite:///b.db'}\n", "is there twice, first on line 1"),
        ("store: {url: 'sqlite:///a.db'}\n1: 2\n", "a key here is no text: put it in quotes"),
        ("store: &s {url: *s}\n", "contains itself"),
        ("store: !!python/object:os.system {}\n", "has the tag 'tag:yaml.org,2002:python/object:os.system'"),
        ("store: {url: !secret x}\n", "has the tag '!secret'"),
        ("a\x00b", "is no valid YAML"),
    ],
)
def test_text_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    """What YAML itself objects to, or should, is one line too."""
    file = tmp_path / "keyturn.yaml"
    file.write_text(text)
    assert message in "\n".join(messages(file))


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A wrong path is named, with the option that sets it."""
    assert messages(tmp_path / "nothing.yaml") == [
        "nothing.yaml: there is no such file; name the configuration with --config"
    ]


def test_file_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are refused before YAML sees them."""
    file = tmp_path / "keyturn.yaml"
    file.write_bytes(b"\xff\xfe")
    assert messages(file) == ["keyturn.yaml: is not UTF-8 text"]


def test_password_in_the_url_is_refused_and_not_repeated(house: House) -> None:
    """Secrets are given by reference only, and one in the wrong place is not printed."""
    house.configure(lambda c: c["store"].update(url="postgresql+psycopg://keyturn:hunter2@db/keyturn"))
    (line,) = messages(house.file)
    assert "put it into store.password as env:NAME or file:/path" in line
    assert "hunter2" not in line


def test_wrong_type_does_not_repeat_what_was_given(house: House) -> None:
    """A secret pasted in place of a mapping is not printed."""
    house.configure(lambda c: c.update(backends={"bao": "hunter2"}))
    assert "hunter2" not in messages(house.file)[0]
