"""The API calls on one secret, within one deadline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from keyturn.domain.errors import Absent, Conflict, Failure, Invalid, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.aws.connection import Connection
from keyturn.plugins.aws.failures import deleted, failure_of, is_of_the_credentials
from keyturn.plugins.aws.versions import CURRENT, SecretState, vacant_id
from keyturn.ports.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import (
        DescribeSecretResponseTypeDef,
        GetSecretValueResponseTypeDef,
        ListSecretVersionIdsResponseTypeDef,
    )

R = TypeVar("R")


class Binary(Invalid):
    """A version holds bytes and no text. All else that makes an answer `Invalid` tells nothing of what a version holds."""


class Secret:
    """One secret, for the length of one call of the port.

    No request starts that could outlast the deadline, so the whole call ends within the timeout (promise P7). Values
    come and go as `SecretValue`.
    """

    def __init__(self, secret_id: str, *, place: str, connection: Connection, clock: Clock, timeout: float) -> None:
        self.place = place
        self._id = secret_id
        self._connection = connection
        self._clock = clock
        self._deadline = clock.monotonic() + timeout

    def describe(self) -> SecretState:
        """The versions and their labels. Raises `Absent` when the secret does not exist or is going to be deleted."""
        answer = self._ask("DescribeSecret", lambda client: client.describe_secret(SecretId=self._id))
        if answer.get("DeletedDate") is not None:
            raise deleted(self.place)
        return _state(answer)

    def current(self) -> tuple[str, SecretValue]:
        """The version that readers get and its document. Raises `Absent` when they get none."""
        # Without a stage some implementations answer from what they had before the label moved.
        answer = self._ask(
            "GetSecretValue", lambda client: client.get_secret_value(SecretId=self._id, VersionStage=CURRENT)
        )
        if answer["VersionId"] == vacant_id(answer["ARN"]):
            raise Absent(f"{self.place}: readers get nothing yet")
        return answer["VersionId"], self._document(answer)

    def document(self, version_id: str) -> SecretValue | None:
        """The document of a version, labelled or not; None when there is no such version."""
        try:
            answer = self._ask(
                "GetSecretValue", lambda client: client.get_secret_value(SecretId=self._id, VersionId=version_id)
            )
        except Absent:
            return None
        return self._document(answer)

    def created(self, version_id: str) -> datetime | None:
        """When a version was made, learned without reading its value."""
        following = ""
        while True:
            answer = self._versions(following)
            for version in answer["Versions"]:
                if version.get("VersionId") == version_id and "CreatedDate" in version:
                    return version["CreatedDate"].astimezone(UTC)
            following = answer.get("NextToken", "")
            if not following:
                return None

    def put(self, version_id: str, document: SecretValue, *, label: str) -> frozenset[str]:
        """Write a version under one label of ours; returns the labels that it has then, which are not ours where the
        same was written before. Raises `Conflict` when the id holds another document."""
        answer = self._ask(
            "PutSecretValue",
            lambda client: client.put_secret_value(
                SecretId=self._id,
                ClientRequestToken=version_id,
                SecretString=document.reveal(),
                VersionStages=[label],
            ),
        )
        return frozenset(answer.get("VersionStages", []))

    def put_vacant(self, version_id: str, *, label: str) -> None:
        """Write the vacant version: binary, so that readers of a SecretString still find nothing."""
        self._ask(
            "PutSecretValue",
            lambda client: client.put_secret_value(
                SecretId=self._id,
                ClientRequestToken=version_id,
                SecretBinary=b"keyturn: no credential here yet",
                VersionStages=[label],
            ),
        )

    def move_current(self, *, to: str, away_from: str | None) -> None:
        """Move AWSCURRENT if it is on `away_from` (None: on no version). Raises `Conflict` when it is elsewhere."""
        try:
            self._move(CURRENT, to=to, away_from=away_from)
        except (Invalid, Conflict) as failure:
            refusal = failure
        else:
            return
        # The API has one code for "the label is not there" and for malformed requests: look, to tell them apart.
        holder = self.describe().holder(CURRENT)
        if holder == to:
            return
        if holder == away_from:
            raise refusal
        raise Conflict(f"{self.place}: AWSCURRENT moved to {holder} meanwhile; nothing was changed")

    def attach(self, label: str, version_id: str) -> None:
        """Put a label that is on no version on this one. Raises `Conflict` when another version has it by now."""
        try:
            self._move(label, to=version_id)
        except (Invalid, Conflict) as failure:
            refusal = failure
        else:
            return
        holder = self.describe().holder(label)
        if holder is None:
            raise refusal
        if holder != version_id:
            raise Conflict(f"{self.place}: {label} is on another version, {holder}")

    def drop(self, label: str, version_id: str) -> None:
        """Take a label off a version; one that is not there any more is success."""
        try:
            self._move(label, away_from=version_id)
        except (Invalid, Conflict) as failure:
            refusal = failure
        else:
            return
        if self.describe().holder(label) == version_id:
            raise refusal

    def tag(self, key: str, text: str) -> None:
        """Set one tag of the secret, and leave the others alone."""
        self._ask(
            "TagResource",
            lambda client: client.tag_resource(SecretId=self._id, Tags=[{"Key": key, "Value": text}]),
        )

    def _move(self, label: str, *, to: str | None = None, away_from: str | None = None) -> None:
        ends: dict[str, str] = {}
        if to is not None:
            ends["MoveToVersionId"] = to
        if away_from is not None:
            ends["RemoveFromVersionId"] = away_from
        self._ask(
            "UpdateSecretVersionStage",
            lambda client: client.update_secret_version_stage(SecretId=self._id, VersionStage=label, **ends),
        )

    def _versions(self, following: str) -> ListSecretVersionIdsResponseTypeDef:
        if following:
            return self._ask(
                "ListSecretVersionIds",
                lambda client: client.list_secret_version_ids(SecretId=self._id, NextToken=following),
            )
        return self._ask("ListSecretVersionIds", lambda client: client.list_secret_version_ids(SecretId=self._id))

    def _document(self, answer: GetSecretValueResponseTypeDef) -> SecretValue:
        text = answer.get("SecretString")
        if text:
            return SecretValue(text)
        if answer.get("SecretBinary"):
            raise Binary(f"{self.place}: version {answer['VersionId']} is binary; keyturn rotates a SecretString only")
        raise Absent(f"{self.place}: version {answer['VersionId']} has no value")

    def _ask(self, operation: str, request: Callable[[SecretsManagerClient], R]) -> R:
        if self._deadline - self._clock.monotonic() < self._connection.request_timeout:
            raise Transient(f"{self.place}: no time left for {operation} within the backend's `timeout`")
        failure: Failure
        client: SecretsManagerClient | None = None
        try:
            client = self._connection.client()
            return request(client)
        except (ClientError, BotoCoreError) as error:
            if is_of_the_credentials(error):
                self._connection.forget(client)
            failure = failure_of(error, operation=operation, place=self.place)
        # Raised here and not above, so that no traceback or report walks back to the vendor's error and its request.
        raise failure


def _state(answer: DescribeSecretResponseTypeDef) -> SecretState:
    rotation: str | None = None
    if answer.get("RotationEnabled"):
        rotation = answer.get("RotationLambdaARN") or answer.get("OwningService") or "managed rotation"
    return SecretState(
        arn=answer["ARN"],
        # Implementations may list versions whose last label is gone: they are deprecated, and none of ours.
        stages={
            version: frozenset(labels) for version, labels in answer.get("VersionIdsToStages", {}).items() if labels
        },
        native_rotation=rotation,
        owning_service=answer.get("OwningService"),
        primary_region=answer.get("PrimaryRegion"),
        replicas={
            replica["Region"]: replica.get("Status", "unknown")
            for replica in answer.get("ReplicationStatus", [])
            if "Region" in replica
        },
        kms_key_id=answer.get("KmsKeyId"),
        tags=frozenset(tag["Key"] for tag in answer.get("Tags", []) if "Key" in tag),
    )
