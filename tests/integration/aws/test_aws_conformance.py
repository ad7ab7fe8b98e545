"""The AWS backend keeps every promise of the port: as a whole secret, and in a field of a document, where the label rules
of AWS are enforced before moto."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from tests.integration.aws.conftest import backend_at, wire_before

from keyturn.ports.backend import Target
from keyturn.testing.backend import BackendConformance
from keyturn.testing.target_harness import TargetHarness
from keyturn.testing.trouble import Trouble

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from keyturn.demo.moto import MotoServer
    from keyturn.plugins.aws.backend import SecretsManager

CLOSED = "http://127.0.0.1:9"
OTHER_FIELDS = {"username": "app", "ratio": 0.5}


@dataclass(frozen=True, slots=True)
class Ways:
    """Backends that tests share: each remembers nothing but its sockets, and to load the vendor's API model takes long."""

    strict: SecretsManager
    troubled: Mapping[Trouble, SecretsManager]


class SecretHarness(TargetHarness):
    """One secret, through a strict endpoint; the back door is the vendor's client."""

    def __init__(self, secret: str, field: str | None, vendor: SecretsManagerClient, ways: Ways) -> None:
        self.options = {"secret_id": secret} | ({"field": field} if field else {})
        self.secret = secret
        self.field = field
        self.vendor = vendor
        self.ways = ways

    def target(self) -> Target:
        return self.ways.strict.target(self.options)

    def readers_get(self) -> str | None:
        try:
            answer = self.vendor.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")
        except self.vendor.exceptions.ResourceNotFoundException:
            return None
        document = answer.get("SecretString")
        if document is None or self.field is None:
            return document
        value = json.loads(document)[self.field]
        assert self.beside() in ({}, OTHER_FIELDS)
        return str(value)

    def overwrite(self, value: str) -> None:
        self._put(SecretString=json.dumps({**OTHER_FIELDS, self.field: value}, indent=1) if self.field else value)

    def overwrite_with_no_text(self) -> None:
        self._put(SecretBinary=b"\x00\x01")

    def overwrite_with_no_fields(self) -> None:
        self._put(SecretString="pasted in haste")

    def beside(self) -> object:
        if self.field is None:
            return super().beside()
        answer = self.vendor.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")
        return {name: value for name, value in json.loads(answer["SecretString"]).items() if name != self.field}

    def _put(self, **document: Any) -> None:
        stages = self.vendor.describe_secret(SecretId=self.secret).get("VersionIdsToStages", {})
        current = next((version for version, labels in stages.items() if "AWSCURRENT" in labels), None)
        # In two steps: a put with AWSCURRENT makes moto forget every other label of the version that had it.
        written = self.vendor.put_secret_value(SecretId=self.secret, VersionStages=["by-hand"], **document)
        if current is not None:
            self.vendor.update_secret_version_stage(
                SecretId=self.secret,
                VersionStage="AWSCURRENT",
                MoveToVersionId=written["VersionId"],
                RemoveFromVersionId=current,
            )

    def in_trouble(self, trouble: Trouble) -> Target:
        return self.ways.troubled[trouble].target(self.options)


@pytest.fixture(scope="module")
def ways(moto_server: MotoServer) -> Iterator[Ways]:
    with ExitStack() as held:

        def backend(endpoint: str) -> SecretsManager:
            return held.enter_context(closing(backend_at(moto_server, endpoint_url=endpoint)))

        def refusing(code: str) -> SecretsManager:
            wire = held.enter_context(wire_before(moto_server.endpoint_url))
            wire.refuse("*", code)
            return backend(wire.endpoint_url)

        yield Ways(
            backend(held.enter_context(wire_before(moto_server.endpoint_url)).endpoint_url),
            {
                Trouble.THROTTLED: refusing("ThrottlingException"),
                Trouble.DENIED: refusing("AccessDeniedException"),
                Trouble.UNREACHABLE: backend(CLOSED),
            },
        )


class SecretConformance(BackendConformance):
    """The kit's clauses."""

    erases_copies = False
    erases_history = False
    field: ClassVar[str | None] = None

    @pytest.fixture
    def harness(self, secret: str, vendor: SecretsManagerClient, ways: Ways) -> TargetHarness:
        return SecretHarness(secret, self.field, vendor, ways)


class TestWholeSecret(SecretConformance):
    """The whole SecretString is the credential."""


class TestFieldOfDocument(SecretConformance):
    """One field of a JSON document is the credential."""

    field = "api key"
