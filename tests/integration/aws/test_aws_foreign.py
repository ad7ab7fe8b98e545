"""What another's hand did to a secret, and what `check` says of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keyturn.domain.errors import Absent, ConfigError, Denied, Invalid, Throttled, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.testing.secrecy import find_leaks, logs_recorded

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from tests.integration.aws.conftest import NewBackend, Wire

    from keyturn.demo.moto import MotoServer

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app-AbCdEf"
VERSION = "11111111-2222-3333-4444-555555555555"


def tags_of(vendor: SecretsManagerClient, secret: str) -> dict[str, str]:
    """The secret's tags."""
    return {tag["Key"]: tag["Value"] for tag in vendor.describe_secret(SecretId=secret).get("Tags", [])}


def described(**more: Any) -> Mapping[str, Any]:
    """What DescribeSecret says of a secret with one version."""
    return {"ARN": ARN, "Name": "app", "VersionIdsToStages": {VERSION: ["AWSCURRENT"]}, **more}


def test_foreign_pending_is_reported_with_id_and_age_and_left_alone(
    secret: str, vendor: SecretsManagerClient, new_backend: NewBackend
) -> None:
    """Another's AWSPENDING is seen, and a whole rotation of ours leaves it where it is."""
    served = vendor.put_secret_value(SecretId=secret, SecretString="old")["VersionId"]
    pending = vendor.put_secret_value(SecretId=secret, SecretString="theirs", VersionStages=["AWSPENDING"])["VersionId"]
    target = new_backend().target({"secret_id": secret})
    (foreign,) = target.view().foreign
    assert foreign.id == pending
    assert foreign.since is not None
    assert abs(datetime.now(UTC) - foreign.since) < timedelta(minutes=1)
    target.stage("new", SecretValue("new"))
    target.promote("new", expected=served, token="t")
    target.remove("new")
    (foreign,) = target.view().foreign
    assert foreign.id == pending
    assert vendor.get_secret_value(SecretId=secret, VersionStage="AWSPENDING")["SecretString"] == "theirs"


def test_pending_left_on_the_current_version_is_reported(
    secret: str, vendor: SecretsManagerClient, new_backend: NewBackend
) -> None:
    """A finished native rotation may leave AWSPENDING on AWSCURRENT; moving on would strand it, so it is reported."""
    vendor.put_secret_value(SecretId=secret, SecretString="old", VersionStages=["AWSCURRENT", "AWSPENDING"])
    (foreign,) = new_backend().target({"secret_id": secret}).view().foreign
    assert "left on the current version" in foreign.what


def test_native_rotation_is_reported(wire: Wire, new_backend: NewBackend) -> None:
    """AWS's own rotation, switched on, stands in the way, and is named by what rotates."""
    function = "arn:aws:lambda:eu-central-1:123456789012:function:rotate"
    wire.answer("DescribeSecret", described(RotationEnabled=True, RotationLambdaARN=function))
    (foreign,) = new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": "app"}).view().foreign
    assert (foreign.id, foreign.since) == (function, None)
    wire.answer("DescribeSecret", described(RotationEnabled=False, RotationLambdaARN=function))
    assert new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": "app"}).view().foreign == ()


def test_mark_is_a_tag_beside_those_of_others(
    secret: str, vendor: SecretsManagerClient, new_backend: NewBackend
) -> None:
    """A mark is one tag with the time in UTC; others' tags stay, and a mark that is there keeps its time."""
    vendor.put_secret_value(SecretId=secret, SecretString="old")
    vendor.tag_resource(SecretId=secret, Tags=[{"Key": "team", "Value": "payments"}])
    target = new_backend().target({"secret_id": secret})
    target.mark("k1")
    tags = tags_of(vendor, secret)
    assert tags["team"] == "payments"
    marked = datetime.fromisoformat(tags["keyturn:compromised:k1"])
    assert abs(datetime.now(UTC) - marked) < timedelta(minutes=1)
    vendor.tag_resource(SecretId=secret, Tags=[{"Key": "keyturn:compromised:k1", "Value": "since ever"}])
    target.mark("k1")
    assert tags_of(vendor, secret) == {"team": "payments", "keyturn:compromised:k1": "since ever"}
    assert target.view().marked == {"k1"}


def test_full_tags_are_said_and_left_alone(wire: Wire, new_backend: NewBackend) -> None:
    """With all 50 tags taken the mark is refused with the mend and nothing is sent; AWS's own tags do not count, and a
    mark that is there is no error. `check` says so before it is needed."""

    def tagged(*keys: str) -> Mapping[str, Any]:
        return described(Tags=[{"Key": key, "Value": "x"} for key in keys])

    wire.answer("GetSecretValue", {"ARN": ARN, "VersionId": VERSION, "SecretString": "old"})
    wire.answer("TagResource", {})
    backend = new_backend(endpoint_url=wire.endpoint_url)
    target = backend.target({"secret_id": "app"})
    others = [f"tag-{number}" for number in range(49)]
    wire.answer("DescribeSecret", tagged(*others, "aws:cloudformation:stack-name"))
    assert backend.check() == []
    target.mark("k1")
    assert wire.operations[-1] == "TagResource"
    wire.answer("DescribeSecret", tagged(*others, "keyturn:compromised:k1"))
    target.mark("k1")
    with pytest.raises(Invalid, match=r"k2 .*50 tags.*remove some"):
        target.mark("k2")
    assert wire.operations.count("TagResource") == 1
    (line,) = backend.check()
    assert "50 tags" in line


def test_denied_mark_names_the_permission(
    secret: str, vendor: SecretsManagerClient, wire: Wire, new_backend: NewBackend
) -> None:
    """A policy that forgot the tag is told which action to allow."""
    vendor.put_secret_value(SecretId=secret, SecretString="old")
    wire.refuse("TagResource", "AccessDeniedException")
    with pytest.raises(Denied, match="allow secretsmanager:TagResource"):
        new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": secret}).mark("k1")


def test_missing_secret_is_absent(new_backend: NewBackend) -> None:
    """Every call on a secret that does not exist is absent, and check says so in one line."""
    backend = new_backend()
    target = backend.target({"secret_id": "keyturn/never-made"})
    calls = (target.view, target.read, lambda: target.fetch("t"), lambda: target.remove("t"), lambda: target.mark("k"))
    for call in calls:
        with pytest.raises(Absent, match="keyturn/never-made"):
            call()
    (line,) = backend.check()
    assert "keyturn/never-made" in line


def test_secret_scheduled_for_deletion_is_absent_with_the_mend(
    secret: str, vendor: SecretsManagerClient, new_backend: NewBackend
) -> None:
    """A secret that waits for its deletion gives readers nothing; the error says how to take it back."""
    vendor.put_secret_value(SecretId=secret, SecretString="old")
    vendor.delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    backend = new_backend()
    target = backend.target({"secret_id": secret})
    for call in (target.view, target.read, lambda: target.stage("t", SecretValue("new"))):
        with pytest.raises(Absent, match="restore-secret"):
            call()
    (line,) = backend.check()
    assert "restore-secret" in line


def test_check_is_silent_when_all_is_well(secret: str, vendor: SecretsManagerClient, new_backend: NewBackend) -> None:
    """Nothing to mend, nothing said; a secret without a value yet is no trouble either."""
    backend = new_backend()
    backend.target({"secret_id": secret})
    assert backend.check() == []
    vendor.put_secret_value(SecretId=secret, SecretString="old")
    assert backend.check() == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"RotationEnabled": True}, "cancel-rotate-secret"),
        ({"PrimaryRegion": "us-east-1"}, "region: us-east-1"),
        ({"OwningService": "rds"}, "belongs to rds"),
        ({"ReplicationStatus": [{"Region": "eu-west-1", "Status": "Failed"}]}, "replica in eu-west-1"),
        ({"VersionIdsToStages": {VERSION: ["AWSCURRENT", "AWSPENDING"]}}, "AWSPENDING"),
    ],
)
def test_check_names_what_stands_in_the_way(
    wire: Wire, new_backend: NewBackend, more: dict[str, Any], said: str
) -> None:
    """Each thing that would stop a rotation is one line with its mend."""
    wire.answer("DescribeSecret", described(**more))
    wire.answer("GetSecretValue", {"ARN": ARN, "VersionId": VERSION, "SecretString": "old"})
    wire.answer("ListSecretVersionIds", {"ARN": ARN, "Versions": []})
    backend = new_backend(endpoint_url=wire.endpoint_url)
    backend.target({"secret_id": "app"})
    (line,) = backend.check()
    assert said in line


def test_check_names_unusable_values_and_permissions(
    secret: str, vendor: SecretsManagerClient, wire: Wire, new_backend: NewBackend
) -> None:
    """A document without the field, one that is no JSON, and a denied read are found without rotating."""
    vendor.put_secret_value(SecretId=secret, SecretString=json.dumps({"a": "x", "n": 1}))
    backend = new_backend(endpoint_url=wire.endpoint_url)
    backend.target({"secret_id": secret, "field": "b"})
    backend.target({"secret_id": secret, "field": "n"})
    missing, number = backend.check()
    assert "no field 'b'" in missing
    assert "not a string" in number
    wire.refuse("GetSecretValue", "AccessDeniedException")
    (line,) = backend.check()
    assert "allow secretsmanager:GetSecretValue" in line
    assert "KMS" in line


def test_check_names_an_unreachable_endpoint_once(new_backend: NewBackend) -> None:
    """However many targets are behind it, an endpoint that does not answer is one line."""
    backend = new_backend(endpoint_url="http://127.0.0.1:9", timeout=2)
    for name in ("a", "b", "c"):
        backend.target({"secret_id": name})
    (line,) = backend.check()
    assert "endpoint_url" in line


def test_binary_secret_is_invalid(secret: str, vendor: SecretsManagerClient, new_backend: NewBackend) -> None:
    """A value that is binary cannot be rotated here, and is not shown."""
    vendor.put_secret_value(SecretId=secret, SecretBinary=b"\x00\x01")
    with pytest.raises(Invalid, match="binary"):
        new_backend().target({"secret_id": secret}).read()


def test_throttling_carries_the_service_s_word(wire: Wire, new_backend: NewBackend) -> None:
    """A Retry-After header is handed on, and one request is all that is sent: retrying is the caller's."""
    wire.refuse("*", "ThrottlingException", Retry_After="7")
    with pytest.raises(Throttled) as caught:
        new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": "app"}).view()
    assert caught.value.retry_after == timedelta(seconds=7)
    assert wire.operations == ["DescribeSecret"]


def test_field_keeps_every_other_byte(secret: str, vendor: SecretsManagerClient, new_backend: NewBackend) -> None:
    """A promote of one field leaves the document's other fields, numbers and layout exactly as they are."""
    document = '{\n  "user": "\\u00fc",\n  "key" :  "old",\n  "port": 1.10, "deep": {"key": "not this"}\n}\n'
    served = vendor.put_secret_value(SecretId=secret, SecretString=document)["VersionId"]
    target = new_backend().target({"secret_id": secret, "field": "key"})
    assert target.read() == (served, SecretValue("old"))
    target.stage("t", SecretValue('n"ew'))
    target.promote("t", expected=served, token="p")
    now = vendor.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"]
    assert now == document.replace('"old"', '"n\\"ew"')


@pytest.mark.parametrize(
    ("code", "status", "failure"),
    [
        ("DecryptionFailure", 400, Invalid),
        ("InvalidRequestException", 400, Invalid),
        ("SomethingNew", 418, Invalid),
        ("ResourceNotFoundException", 400, Transient),
    ],
)
def test_what_cannot_be_read_is_no_document_without_fields(
    secret: str,
    vendor: SecretsManagerClient,
    wire: Wire,
    new_backend: NewBackend,
    code: str,
    status: int,
    failure: type[Exception],
) -> None:
    """Where the document that a promote leaves as it is cannot be read, nothing is put: readers keep all its fields."""
    document = json.dumps({"username": "app", "key": "old"})
    served = vendor.put_secret_value(SecretId=secret, SecretString=document)["VersionId"]
    target = new_backend(endpoint_url=wire.endpoint_url).target({"secret_id": secret, "field": "key"})
    target.stage("t", SecretValue("new"))
    wire.operations.clear()
    wire.refuse(served, code, status=status)
    with pytest.raises(failure):
        target.promote("t", expected=served, token="p")
    assert "PutSecretValue" not in wire.operations
    wire.answers.clear()
    target.promote("t", expected=served, token="p")
    now = vendor.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"]
    assert json.loads(now) == {"username": "app", "key": "new"}


def test_role_is_assumed_through_sts(
    secret: str,
    vendor: SecretsManagerClient,
    moto_server: MotoServer,
    new_backend: NewBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With `role_arn` the calls are made with the role's own credentials, taken from STS; none of them is logged."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_server.endpoint_url)
    vendor.put_secret_value(SecretId=secret, SecretString="the-old-value")
    with logs_recorded() as logs:
        backend = new_backend(role_arn="arn:aws:iam::123456789012:role/keyturn")
        target = backend.target({"secret_id": secret})
        assert target.read()[1].reveal() == "the-old-value"
    assert not [text for text in logs if "SecretAccessKey" in text or "SessionToken" in text]


def test_unreachable_sts_is_transient(secret: str, new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """While STS does not answer there are no credentials, and the call may succeed later."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    target = new_backend(role_arn="arn:aws:iam::123456789012:role/keyturn").target({"secret_id": secret})
    with pytest.raises(Transient):
        target.view()


def test_profile_is_used_and_an_unknown_one_refused(
    secret: str,
    vendor: SecretsManagerClient,
    new_backend: NewBackend,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A profile gives the credentials; one that is not in the files is an error of the configuration."""
    credentials = tmp_path / "credentials"
    credentials.write_text("[rotation]\naws_access_key_id = AKIAPROFILE000000000\naws_secret_access_key = unchecked\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    vendor.put_secret_value(SecretId=secret, SecretString="old")
    assert new_backend(profile="rotation").target({"secret_id": secret}).view().serving is not None
    with pytest.raises(ConfigError, match=r"backends\.aws\.profile"):
        new_backend(profile="nobody")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"region": ""}, "region"),
        ({"endpoint_url": "moto"}, "endpoint_url"),
        ({"role_arn": "keyturn"}, "role_arn"),
        ({"timeout": 0}, "timeout"),
        ({"secret_key": "x"}, "secret_key"),
    ],
)
def test_wrong_options_name_the_key(new_backend: NewBackend, options: dict[str, object], key: str) -> None:
    """A wrong option is one line that names it, and no value of it."""
    with pytest.raises(ConfigError, match=rf"backends\.aws\.{key}"):
        new_backend(**options)


def test_wrong_target_options_name_the_key(new_backend: NewBackend) -> None:
    """So is a wrong entry under `targets:`."""
    for options in ({}, {"secret_id": ""}, {"secret_id": "a", "field": ""}, {"secret_id": "a", "stage": "x"}):
        with pytest.raises(ConfigError, match="target of aws"):
            new_backend().target(options)


def test_wire_logs_stay_shut(
    secret: str, vendor: SecretsManagerClient, new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every logger of botocore's set to DEBUG by the host, no record has a value or a credential in it."""
    vendor.put_secret_value(SecretId=secret, SecretString="value-that-is-served")
    target = new_backend().target({"secret_id": secret})
    with logs_recorded() as logs:
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("botocore")]:
            logger = logging.getLogger(name)
            monkeypatch.setattr(logger, "level", logging.DEBUG)
            logger.manager._clear_cache()  # type: ignore[attr-defined]
        target.stage("t", SecretValue("value-that-is-staged"))
        target.read()
    assert logs
    assert find_leaks(["value-that-is-served", "value-that-is-staged"], logs) == []
