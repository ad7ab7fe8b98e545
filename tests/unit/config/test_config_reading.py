"""What a sound configuration becomes."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pytest
import yaml
from tests.unit.api.house import CONFIG, House

from keyturn.app.wiring import wire
from keyturn.config import PushConfig, json_schema, load_config
from keyturn.config.policies import PolicyOptions
from keyturn.domain.phases import Phase
from keyturn.domain.policy import DEFAULT_DEADLINES, Deadline, OnDeadline, Policy
from keyturn.domain.schedule import Schedule
from keyturn.runtime.retention import Retention

DAY = timedelta(days=1)


def test_policy_says_all_that_the_domain_s_can() -> None:
    """Every field of the domain's policy can be configured, and what is left out has its default."""
    assert set(PolicyOptions.model_fields) == {field.name for field in dataclasses.fields(Policy)}
    assert PolicyOptions().policy() == Policy()


def test_retention_is_read(house: House) -> None:
    """Each span that is configured replaces its default, and no other."""
    house.configure(lambda c: c.update(retention={"messages": "30d", "buckets": "4d"}))
    assert load_config(house.file).retention == Retention(buckets=4 * DAY, messages=30 * DAY)


def test_deadlines_are_read(house: House) -> None:
    """A deadline that is configured replaces the default of its phase, and of no other."""
    deadlines = {"monitor": {"after": "30d", "policy": "force", "owner": "Ada"}, "retire": {"policy": "extend"}}
    house.configure(lambda c: c["policies"]["quick"].update(deadlines=deadlines))
    policy = load_config(house.file).credentials["payments"].policy
    assert policy.deadlines == {
        **DEFAULT_DEADLINES,
        Phase.MONITOR: Deadline(after=30 * DAY, policy=OnDeadline.FORCE, owner="Ada"),
        Phase.RETIRE: Deadline(after=60 * DAY, policy=OnDeadline.EXTEND),
    }


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"every": "90d"}, Schedule(every=90 * DAY)),
        ({"every": 7776000}, Schedule(every=90 * DAY)),
        (
            {"every": "90d", "starting": "2026-09-01T09:00:00", "timezone": "Europe/Berlin"},
            Schedule(every=90 * DAY, starting=datetime(2026, 9, 1, 7, tzinfo=UTC), timezone="Europe/Berlin"),
        ),
        (
            {"every": "90d", "starting": "2026-09-01T09:00:00+05:00"},
            Schedule(every=90 * DAY, starting=datetime(2026, 9, 1, 4, tzinfo=UTC)),
        ),
        (
            {"cron": "0 10 * * tue", "timezone": "America/New_York"},
            Schedule(cron="0 10 * * tue", timezone="America/New_York"),
        ),
    ],
)
def test_schedules_are_read(house: House, written: dict[str, Any], meant: Schedule) -> None:
    """A start without an offset is in the schedule's zone; what is kept is UTC."""
    house.configure(lambda c: c["credentials"]["payments"].update(schedule=written))
    assert load_config(house.file).credentials["payments"].schedule == meant


def test_unquoted_times_are_times(house: House) -> None:
    """YAML reads a bare timestamp itself; both ways mean the same."""
    house.configure(lambda c: c["credentials"]["payments"].update(schedule={"every": "90d", "starting": "XX"}))
    for written in ("2026-09-01T09:00:00Z", "'2026-09-01T09:00:00Z'", "2026-09-01 09:00:00"):
        file = house.folder / "times.yaml"
        file.write_text(house.file.read_text().replace("XX", written))
        schedule = load_config(file).credentials["payments"].schedule
        assert schedule is not None
        assert schedule.starting == datetime(2026, 9, 1, 9, tzinfo=UTC)


def test_short_and_long_forms_are_the_same(house: House) -> None:
    """An issuer by name, and one with options of its own; a policy by name, and one written in place."""
    house.configure(
        lambda c: c["credentials"]["payments"].update(issuer={"use": "gateway", "env": "prod"}, policy={"bake": "5m"})
    )
    credential = load_config(house.file).credentials["payments"]
    assert (credential.issuer, credential.issuer_options) == ("gateway", {"env": "prod"})
    assert credential.policy == dataclasses.replace(Policy(), bake=timedelta(minutes=5))


def test_targets_keep_order_names_and_options(house: House) -> None:
    """Promotion follows the list; a target without a name goes by its backend's."""
    targets = [{"backend": "bao", "path": "a", "field": "key"}, {"name": "second", "backend": "bao", "path": "b"}]
    house.configure(lambda c: c["credentials"]["payments"].update(targets=targets))
    read = load_config(house.file).credentials["payments"].targets
    assert [(target.name, target.backend, dict(target.options)) for target in read] == [
        ("bao", "bao", {"path": "a", "field": "key"}),
        ("second", "bao", {"path": "b"}),
    ]


def test_pushing_sources_are_no_plugins(house: House) -> None:
    """`type: push` needs nothing installed and has defaults for what it does not say."""
    house.configure(lambda c: c["sources"].update(pushed={"type": "push", "kind": "client_report"}))
    source = load_config(house.file).sources["pushed"]
    assert isinstance(source, PushConfig)
    assert (source.kind, source.resolution, source.sees_failures) == ("client_report", timedelta(seconds=10), True)


def test_source_that_sees_all_is_said_to(house: House) -> None:
    """It is said of polled and pushing sources alike, is no option of the plugin's, and is not assumed."""
    log = {"type": "access-log", "files": ["/var/log/access.log"]}
    house.configure(
        lambda c: c["sources"].update(
            pushed={"type": "push", "sees_all": True},
            polled={**log, "sees_all": True},
            other=log,
            second={"type": "push"},
        )
    )
    sources = wire(load_config(house.file)).sources
    found = {name: sources[name].sees_all for name in ("pushed", "polled", "other", "second")}
    assert found == {"pushed": True, "polled": True, "other": False, "second": False}


def test_anchors_and_merges_work(tmp_path: Path, house: House) -> None:
    """YAML's own means against repetition are no duplicates."""
    text = house.file.read_text()
    text = text.replace("  quick:\n", "  quick: &q\n") + "\n"
    text = text.replace("credentials:\n", "  slow:\n    <<: *q\n    bake: 2h\ncredentials:\n").replace(
        "    policy: quick", "    policy: slow"
    )
    house.file.write_text(text)
    policy = load_config(house.file).credentials["payments"].policy
    assert (policy.bake, policy.soak) == (timedelta(hours=2), timedelta(seconds=2))


def test_file_behind_a_symbolic_link_has_the_link_s_folder(house: House) -> None:
    """Relative paths start where the named file is, as a mounted configuration expects."""
    folder = house.folder / "mounted"
    folder.mkdir()
    (folder / "keyturn.yaml").symlink_to(house.file)
    assert load_config(folder / "keyturn.yaml").state_dir == folder / "state"


def test_schema_for_editors_accepts_what_is_accepted() -> None:
    """The exported JSON Schema is a schema, takes the tests' configuration, and refuses what is refused."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(CONFIG)) == []
    spoiled = json.loads(json.dumps(CONFIG))
    spoiled["credentials"]["payments"]["polcy"] = "quick"
    spoiled["tick"] = "soon"
    assert len(list(validator.iter_errors(spoiled))) == 2


def test_schema_is_plain_json() -> None:
    """Defaults are written as the file writes them."""
    schema = json_schema()
    assert schema["properties"]["tick"]["default"] == "10s"
    assert yaml.safe_load(json.dumps(schema)) == schema
