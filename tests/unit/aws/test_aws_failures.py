"""Every way AWS says no becomes the failure that asks the right thing of the caller."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.stub import Stubber

from keyturn.domain.errors import Absent, Conflict, Denied, Failure, Invalid, Throttled, Transient
from keyturn.plugins.aws.failures import failure_of

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

PLACE = "aws: secret app"
QUOTED = "the request held hunter2-hunter2"


@pytest.fixture(scope="module")
def client() -> SecretsManagerClient:
    """A client that is never sent anywhere."""
    return boto3.client(
        "secretsmanager", region_name="eu-central-1", aws_access_key_id="AKIA", aws_secret_access_key="unchecked"
    )


def answered(
    client: SecretsManagerClient,
    code: str,
    *,
    status: int = 400,
    message: str = QUOTED,
    headers: dict[str, str] | None = None,
) -> Failure:
    """What an error response becomes, parsed by the vendor's own client."""
    with Stubber(client) as stubber:
        stubber.add_client_error(
            "get_secret_value", code, message, status, response_meta={"HTTPHeaders": headers or {}}
        )
        with pytest.raises(ClientError) as caught:
            client.get_secret_value(SecretId="app", VersionStage="AWSCURRENT")
    return failure_of(caught.value, operation="GetSecretValue", place=PLACE)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ThrottlingException", 400, Throttled),
        ("TooManyRequestsException", 429, Throttled),
        ("RequestLimitExceeded", 503, Throttled),
        ("SomethingNew", 429, Throttled),
        ("AccessDeniedException", 400, Denied),
        ("UnrecognizedClientException", 400, Denied),
        ("ExpiredToken", 400, Transient),
        ("ExpiredTokenException", 400, Transient),
        ("InvalidSignatureException", 403, Denied),
        ("SomethingNew", 403, Denied),
        ("ResourceNotFoundException", 400, Absent),
        ("ResourceExistsException", 400, Conflict),
        ("InvalidParameterException", 400, Invalid),
        ("InvalidRequestException", 400, Invalid),
        ("LimitExceededException", 400, Invalid),
        ("EncryptionFailure", 400, Invalid),
        ("DecryptionFailure", 400, Invalid),
        ("InternalServiceError", 500, Transient),
        ("ServiceUnavailable", 503, Transient),
        ("IDPCommunicationError", 400, Transient),
        ("", 502, Transient),
    ],
)
def test_each_code_asks_the_right_thing(
    client: SecretsManagerClient, code: str, status: int, expected: type[Failure]
) -> None:
    """A code of the service becomes exactly one kind of failure, which names the place and not the vendor's text."""
    failure = answered(client, code, status=status)
    assert type(failure) is expected
    assert PLACE in failure.message
    assert "hunter2" not in failure.message


def test_deletion_is_told_from_other_invalid_requests(client: SecretsManagerClient) -> None:
    """A secret that waits for its deletion is absent, with the mend; the code alone would not tell."""
    failure = answered(client, "InvalidRequestException", message="You can't: the secret was marked for deletion.")
    assert type(failure) is Absent
    assert "restore-secret" in failure.message


def test_retry_after_is_the_service_s_word(client: SecretsManagerClient) -> None:
    """A Retry-After in seconds is handed on; what is no number of seconds is left out."""
    for given, expected in (
        ("3", timedelta(seconds=3)),
        ("9" * 20, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("", None),
    ):
        failure = answered(client, "ThrottlingException", headers={"retry-after": given})
        assert isinstance(failure, Throttled)
        assert failure.retry_after == expected


def test_denied_role_names_its_own_permission() -> None:
    """When a role may not be assumed on the way, the message names that permission and not the call's."""
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": QUOTED}}, "AssumeRole")
    failure = failure_of(refused, operation="DescribeSecret", place=PLACE)
    assert type(failure) is Denied
    assert "sts:AssumeRole" in failure.message


def test_what_a_proxy_answers_is_not_repeated() -> None:
    """A code that does not look like one may be anything, so it is left out."""
    odd = ClientError({"Error": {"Code": f"<html>{QUOTED}"}}, "PutSecretValue")
    failure = failure_of(odd, operation="PutSecretValue", place=PLACE)
    assert "an unknown code" in failure.message
    assert "hunter2" not in failure.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EndpointConnectionError(endpoint_url="https://x"), Transient),
        (ConnectTimeoutError(endpoint_url="https://x"), Transient),
        (ReadTimeoutError(endpoint_url="https://x"), Transient),
        (NoCredentialsError(), Transient),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), Denied),
        (ParamValidationError(report=QUOTED), Invalid),
        (BotoCoreError(), Transient),
    ],
)
def test_failures_without_an_answer(error: BotoCoreError, expected: type[Failure]) -> None:
    """What goes wrong before the service answers is told apart as well, without botocore's text."""
    failure = failure_of(error, operation="PutSecretValue", place=PLACE)
    assert type(failure) is expected
    assert "hunter2" not in failure.message
