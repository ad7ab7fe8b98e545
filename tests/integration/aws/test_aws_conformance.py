"""The AWS backend keeps every promise of the port: on moto, behind AWS's strict rules, and in a field of a document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

import pytest

from keyturn.ports.backend import Target
from keyturn.testing.backend import BackendConformance
from keyturn.testing.target_harness import TargetHarness
from keyturn.testing.trouble import Trouble

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from tests.integration.aws.conftest import NewBackend, NewWire

    from keyturn.demo.moto import MotoServer

CLOSED = "http://127.0.0.1:9"
OTHER_FIELDS = {"username": "app", "ratio": 0.5}


class SecretHarness(TargetHarness):
    """One secret, through an endpoint of the test's choice; the back door is the vendor's client."""

    def __init__(
        self, secret: str, field: str | None, endpoint: str, vendor: SecretsManagerClient, new_backend: NewBackend
    ) -> None:
        self.options = {"secret_id": secret} | ({"field": field} if field else {})
        self.secret = secret
        self.field = field
        self.vendor = vendor
        self.new_backend = new_backend
        # One connection for all: it remembers nothing but its sockets, and to load the vendor's API model takes long.
        self.backend = new_backend(endpoint_url=endpoint)
        self.troubled: dict[Trouble, str] = {}

    def target(self) -> Target:
        return self.backend.target(self.options)

    def readers_get(self) -> str | None:
        try:
            answer = self.vendor.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")
        except self.vendor.exceptions.ResourceNotFoundException:
            return None
        document = answer.get("SecretString")
        if document is None or self.field is None:
            return document
        fields = json.loads(document)
        value = fields.pop(self.field)
        assert fields in ({}, OTHER_FIELDS)
        return str(value)

    def overwrite(self, value: str) -> None:
        document = json.dumps({**OTHER_FIELDS, self.field: value}, indent=1) if self.field else value
        stages = self.vendor.describe_secret(SecretId=self.secret).get("VersionIdsToStages", {})
        current = next((version for version, labels in stages.items() if "AWSCURRENT" in labels), None)
        # In two steps: a put with AWSCURRENT makes moto forget every other label of the version that had it.
        written = self.vendor.put_secret_value(SecretId=self.secret, SecretString=document, VersionStages=["by-hand"])
        if current is not None:
            self.vendor.update_secret_version_stage(
                SecretId=self.secret,
                VersionStage="AWSCURRENT",
                MoveToVersionId=written["VersionId"],
                RemoveFromVersionId=current,
            )

    def in_trouble(self, trouble: Trouble) -> Target:
        return self.new_backend(endpoint_url=self.troubled[trouble]).target(self.options)


class SecretConformance(BackendConformance):
    """The kit's clauses, with the way to the secret as parameters."""

    erases_copies = False
    erases_history = False
    field: ClassVar[str | None] = None
    strict: ClassVar[bool] = False

    @pytest.fixture
    def harness(
        self,
        secret: str,
        moto_server: MotoServer,
        vendor: SecretsManagerClient,
        new_wire: NewWire,
        new_backend: NewBackend,
    ) -> TargetHarness:
        endpoint = new_wire().endpoint_url if self.strict else moto_server.endpoint_url
        harness = SecretHarness(secret, self.field, endpoint, vendor, new_backend)
        throttled, denied = new_wire(), new_wire()
        throttled.refuse("*", "ThrottlingException")
        denied.refuse("*", "AccessDeniedException")
        harness.troubled = {
            Trouble.THROTTLED: throttled.endpoint_url,
            Trouble.DENIED: denied.endpoint_url,
            Trouble.UNREACHABLE: CLOSED,
        }
        return harness


class TestWholeSecretOnMoto(SecretConformance):
    """The whole SecretString is the credential."""


class TestWholeSecretUnderStrictRules(SecretConformance):
    """The same where the label rules of AWS are enforced."""

    strict = True


class TestFieldOfDocument(SecretConformance):
    """One field of a JSON document is the credential."""

    field = "api key"
    strict = True
