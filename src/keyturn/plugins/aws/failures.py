"""What botocore raises, told apart by what it asks of the caller.

The vendor's own message is left out: it may quote the request. The code, the operation and the place are enough to mend
what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from keyturn.domain.errors import Absent, Conflict, Denied, Failure, Invalid, Throttled, Transient

PERMISSIONS = "docs/aws-permissions.md"

_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})
_NOT_RECOGNISED = frozenset(
    {
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NOT_ALLOWED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "KMSAccessDeniedException",
        "NotAuthorized",
        "OptInRequired",
        "UnauthorizedOperation",
    }
)
_TRANSIENT = frozenset(
    {
        "IDPCommunicationError",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "InternalServiceErrorException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
_KMS = frozenset({"DecryptionFailure", "DecryptionFailureException", "EncryptionFailure", "EncryptionFailureException"})
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)


def failure_of(error: ClientError | BotoCoreError, *, operation: str, place: str) -> Failure:
    """The failure that a botocore error is, to be raised outside the handler, so that nothing chains to the error."""
    if isinstance(error, ClientError):
        return _answered(error, operation=operation, place=place)
    kind = type(error).__name__
    if isinstance(error, NoCredentialsError):
        # A file or an endpoint that is not there yet: the next call looks again.
        return Transient(f"{place}: no AWS credentials for {operation}; give the daemon some by boto3's own chain")
    if isinstance(error, _NO_CREDENTIALS):
        return Denied(
            f"{place}: no AWS credentials for {operation} ({kind}); give the daemon some by boto3's own chain"
        )
    if isinstance(error, ParamValidationError):
        return Invalid(f"{place}: {operation} was not sent: a parameter is outside what AWS Secrets Manager takes")
    if isinstance(error, SSLError):
        return Transient(f"{place}: no TLS connection for {operation} ({kind}); check `endpoint_url` and certificates")
    if isinstance(error, (ConnectionError, HTTPClientError)):
        return Transient(f"{place}: no answer to {operation} ({kind}); check the network, `region` and `endpoint_url`")
    return Transient(f"{place}: {operation} failed before an answer came ({kind})")


def is_of_the_credentials(error: ClientError | BotoCoreError) -> bool:
    """Whether other credentials may mend it."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code") in _EXPIRED | _NOT_RECOGNISED
    return isinstance(error, _NO_CREDENTIALS)


def _answered(error: ClientError, *, operation: str, place: str) -> Failure:
    response: Mapping[str, Any] = error.response
    code = str(response.get("Error", {}).get("Code", ""))
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    # Another operation than ours failed when a role is taken on the way.
    operation = error.operation_name or operation
    what = f"{place}: {operation} failed with {_printable(code)}"
    if code in _THROTTLED or status == 429:
        return Throttled(f"{what}; AWS asks to slow down", _retry_after(metadata))
    if code in _EXPIRED:
        # Whoever gave the session renews it in time or a moment late: the next call looks for the credentials anew.
        return Transient(
            f"{what}: the daemon's session has expired; where nothing renews it, give the daemon a new one"
        )
    if code in _NOT_RECOGNISED:
        return Denied(f"{what}: AWS does not take the daemon's credentials; renew them, and check the clock")
    if code in _NOT_ALLOWED:
        permission = f"sts:{operation}" if operation == "AssumeRole" else f"secretsmanager:{operation}"
        return Denied(f"{what}; allow {permission}, and the secret's KMS key if it is not AWS's own ({PERMISSIONS})")
    if code == "ResourceNotFoundException":
        return Absent(f"{what}: the secret or the version does not exist")
    if code == "ResourceExistsException":
        return Conflict(f"{what}: this version id holds another value already")
    if code == "InvalidRequestException" and "delet" in str(response.get("Error", {}).get("Message", "")).lower():
        return deleted(place)
    if code in _KMS:
        return Invalid(
            f"{what}: the secret's KMS key cannot be used; enable it and allow it to the daemon ({PERMISSIONS})"
        )
    if code == "LimitExceededException":
        return Invalid(f"{what}: too many versions or labels; take stale labels off, unlabelled versions go in a day")
    if code in _TRANSIENT or status >= 500:
        return Transient(f"{what} (HTTP {status})")
    if status in {401, 403}:
        return Denied(f"{what} (HTTP {status}); see {PERMISSIONS}")
    return Invalid(f"{what} (HTTP {status})")


def deleted(place: str) -> Absent:
    """The failure of a secret that is scheduled for deletion: readers get nothing from it."""
    return Absent(f"{place} is scheduled for deletion; take it back with `aws secretsmanager restore-secret`")


def _retry_after(metadata: Mapping[str, Any]) -> timedelta | None:
    given = str(metadata.get("HTTPHeaders", {}).get("retry-after", ""))
    return timedelta(seconds=int(given)) if given.isascii() and given.isdigit() and len(given) < 8 else None


def _printable(code: str) -> str:
    # A proxy in between may answer with a page: only what looks like a code is repeated.
    return code if code.isascii() and code.replace(".", "").isalnum() and len(code) <= 64 else "an unknown code"
