"""Requests whose answers are lost, workers that meet, and what is left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from keyturn.domain.errors import Absent, Conflict, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import Target

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from tests.integration.aws.conftest import NewBackend, Wire

OLD, NEW = SecretValue("old-value"), SecretValue("new-value")


def labels_of(vendor: SecretsManagerClient, secret: str) -> dict[str, set[str]]:
    """The labels of each version that has some."""
    stages = vendor.describe_secret(SecretId=secret).get("VersionIdsToStages", {})
    return {version: set(labels) for version, labels in stages.items() if labels}


def our_labels(vendor: SecretsManagerClient, secret: str) -> set[str]:
    """Every label of ours on any version."""
    return {label for labels in labels_of(vendor, secret).values() for label in labels if label.startswith("keyturn")}


def readers_get(vendor: SecretsManagerClient, secret: str) -> str | None:
    """What readers of the SecretString get."""
    return vendor.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT").get("SecretString")


@pytest.fixture
def target(wire: Wire, secret: str, new_backend: NewBackend) -> Target:
    """The plugin behind the wire."""
    return new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": secret})


def losing_each(wire: Wire, call: Callable[[], object]) -> int:
    """Make a call again and again, each time with the response to one request more lost, until it gets through."""
    for lost in range(1, 20):
        sent = len(wire.operations)
        wire.lose = lambda number, doomed=sent + lost: number == doomed  # type: ignore[misc]
        try:
            call()
        except Transient:
            continue
        finally:
            wire.lose = lambda _: False
        return lost - 1
    raise AssertionError("the call never got through")


def test_rotation_with_every_response_lost_once(
    wire: Wire, target: Target, secret: str, vendor: SecretsManagerClient
) -> None:
    """A whole rotation and its rollback, where each call loses one answer after another, ends in the same world."""
    losses = losing_each(wire, lambda: target.stage("old", OLD))
    losses += losing_each(wire, lambda: target.promote("old", expected=None, token="first"))
    first = target.view().serving
    assert first is not None
    losses += losing_each(wire, lambda: target.keep("kept", serving=first))
    losses += losing_each(wire, lambda: target.stage("new", NEW))
    losses += losing_each(wire, lambda: target.promote("new", expected=first, token="second"))
    assert readers_get(vendor, secret) == "new-value"
    second = target.view().serving
    losses += losing_each(wire, lambda: target.promote("kept", expected=second, token="third"))
    assert readers_get(vendor, secret) == "old-value"
    third = target.view().serving
    assert len({first, second, third}) == 3
    for copy in ("old", "new", "kept"):
        losses += losing_each(wire, lambda copy=copy: target.remove(copy))  # type: ignore[misc]
    losses += losing_each(wire, lambda: target.mark("leaked"))
    assert target.view().marked == {"leaked"}
    assert our_labels(vendor, secret) == set()
    assert target.view().serving == third
    assert losses > 20, "few responses were lost: the test has lost its bite"


def test_promote_that_stopped_before_the_move_is_finished_by_its_rerun(
    wire: Wire, target: Target, secret: str, vendor: SecretsManagerClient
) -> None:
    """A crash between the put and the move leaves a labelled version, and the same promote again installs that one."""
    served = vendor.put_secret_value(SecretId=secret, SecretString="old-value")["VersionId"]
    target.stage("new", NEW)
    wire.refuse("UpdateSecretVersionStage", "ServiceUnavailable", status=503)
    with pytest.raises(Transient):
        target.promote("new", expected=served, token="t")
    assert readers_get(vendor, secret) == "old-value"
    (waiting,) = (v for v, labels in labels_of(vendor, secret).items() if "keyturn-promoted:new:t" in labels)
    wire.answers.clear()
    assert target.promote("new", expected=served, token="t") == waiting
    assert labels_of(vendor, secret)[waiting] == {"AWSCURRENT"}


def test_promote_over_plain_text_is_finished_whatever_came_between(
    wire: Wire, secret: str, vendor: SecretsManagerClient, new_backend: NewBackend
) -> None:
    """A promote that took the other fields from what readers got before, and stopped, is finished as it was put, though
    others have changed what readers got before meanwhile."""

    def put(text: str) -> str:
        return vendor.put_secret_value(SecretId=secret, SecretString=text)["VersionId"]

    served = put('{"user": "app", "key": "old"}')
    target = new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": secret, "field": "key"})
    target.stage("new", NEW)
    pasted = put("pasted in haste")
    wire.refuse("UpdateSecretVersionStage", "ServiceUnavailable", status=503)
    with pytest.raises(Transient):
        target.promote("new", expected=pasted, token="t")
    wire.answers.clear()
    another = put('{"user": "another", "key": "theirs"}')
    vendor.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=pasted, RemoveFromVersionId=another
    )
    assert served not in labels_of(vendor, secret)
    target.promote("new", expected=pasted, token="t")
    assert readers_get(vendor, secret) == '{"user": "app", "key": "new-value"}'


def test_late_put_is_seen_and_removed(wire: Wire, target: Target, secret: str, vendor: SecretsManagerClient) -> None:
    """What a worker leaves that froze inside a promote shows as a copy, and removing the copy takes it away."""
    served = vendor.put_secret_value(SecretId=secret, SecretString="old-value")["VersionId"]
    target.stage("new", NEW)
    wire.refuse("UpdateSecretVersionStage", "ServiceUnavailable", status=503)
    with pytest.raises(Transient):
        target.promote("new", expected=served, token="t")
    wire.answers.clear()
    copy = next(v for v, labels in labels_of(vendor, secret).items() if "keyturn-new" in labels)
    vendor.update_secret_version_stage(SecretId=secret, VersionStage="keyturn-new", RemoveFromVersionId=copy)
    assert target.view().copies == {"new"}
    assert target.fetch("new") == NEW
    target.remove("new")
    assert target.view().copies == frozenset()
    assert our_labels(vendor, secret) == set()


def test_promote_is_spent_even_when_a_hand_restores_what_it_expected(
    target: Target, secret: str, vendor: SecretsManagerClient
) -> None:
    """Once a promote has succeeded, its late repetition is refused also where a hand moved AWSCURRENT back."""
    served = vendor.put_secret_value(SecretId=secret, SecretString="old-value")["VersionId"]
    target.stage("new", NEW)
    promoted = target.promote("new", expected=served, token="t")
    vendor.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=served, RemoveFromVersionId=promoted
    )
    with pytest.raises(Conflict):
        target.promote("new", expected=served, token="t")
    assert readers_get(vendor, secret) == "old-value"
    assert target.promote("new", expected=served, token="another") != promoted


def test_a_used_version_id_with_another_value_is_a_conflict(
    wire: Wire, target: Target, secret: str, vendor: SecretsManagerClient
) -> None:
    """The service's own refusal of a used token is a conflict, as is what our look before the put finds."""
    vendor.put_secret_value(SecretId=secret, SecretString="old-value")
    wire.refuse("PutSecretValue", "ResourceExistsException")
    with pytest.raises(Conflict):
        target.stage("t", NEW)
    wire.answers.clear()
    target.stage("t", NEW)
    target.remove("t")
    with pytest.raises(Conflict):
        target.stage("t", OLD)


def test_removed_copy_can_be_staged_again_until_it_is_pruned(target: Target) -> None:
    """A copy whose labels are gone is staged again under the same token by labelling what is still there."""
    target.stage("t", NEW)
    target.remove("t")
    with pytest.raises(Absent):
        target.fetch("t")
    target.stage("t", NEW)
    assert target.fetch("t") == NEW


def test_staging_in_an_empty_secret_leaves_only_our_copy_and_a_vacant_version(
    target: Target, secret: str, vendor: SecretsManagerClient
) -> None:
    """AWS makes a secret's first version current, so a version without a SecretString takes that place."""
    target.stage("t", NEW)
    vacant = vendor.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")
    assert "SecretString" not in vacant
    assert our_labels(vendor, secret) == {"keyturn-t"}
    with pytest.raises(Absent):
        target.read()
    with pytest.raises(Absent):
        target.keep("k", serving=vacant["VersionId"])
    assert target.view().serving is None


def test_no_request_starts_that_could_outlast_the_timeout(
    wire: Wire, secret: str, new_backend: NewBackend, vendor: SecretsManagerClient
) -> None:
    """A call of many requests to a slow service ends within its timeout, with the outcome said to be unknown."""
    vendor.put_secret_value(SecretId=secret, SecretString="old-value")
    patient = new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": secret})
    target = new_backend(endpoint_url=wire.endpoint_url, timeout=2).target({"secret_id": secret})
    patient.stage("new", NEW)
    served = patient.view().serving
    sent = len(wire.operations)
    wire.delay = 0.4
    with pytest.raises(Transient, match=r"no time left|no answer"):
        target.promote("new", expected=served, token="t")
    # No more than fit into the timeout, one after another.
    assert len(wire.operations) - sent <= 5
    wire.delay = 0
    assert patient.promote("new", expected=served, token="t") == patient.view().serving
