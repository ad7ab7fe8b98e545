"""The configuration file's one schema."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from keyturn.config.plugin_types import PUSH
from keyturn.config.policies import PolicyOptions, ScheduleOptions
from keyturn.domain.observations import SourceKind
from keyturn.plugins.options import Duration, Options

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A name that others give: a client's, say."""

_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):(?P<port>[0-9]{1,5})")
DEFAULT_LISTEN = "127.0.0.1:8290"


SHORTEST_TICK = timedelta(milliseconds=50)


def _longer_than_nothing(length: timedelta) -> timedelta:
    if not length:
        raise ValueError("should be longer than nothing")
    return length


def _not_too_short(tick: timedelta) -> timedelta:
    if tick < SHORTEST_TICK:
        raise ValueError("should be at least 50ms")
    return tick


def _learnt_from(length: timedelta) -> timedelta:
    if length < timedelta(days=4):
        raise ValueError("should be at least 4d: the failure detector learns from the 3 days before a rotation")
    return length


def _judged_by(length: timedelta) -> timedelta:
    if length < timedelta(days=30):
        raise ValueError("should be at least 30d: a client's silence is judged by its history")
    return length


def _told_once(length: timedelta) -> timedelta:
    if length < timedelta(days=30):
        raise ValueError("should be at least 30d: what is forgotten may be told again")
    return length


class StoreOptions(Options):
    """Where state is kept."""

    url: str = Field(min_length=1)
    """`sqlite:///PATH` (from the configuration's folder), `sqlite:////ABSOLUTE`, or `postgresql+psycopg://…`."""
    password: str | None = None
    """A reference to the database's password, which never stands in the URL."""


class HttpOptions(Options):
    """Where the HTTP API listens."""

    listen: str = DEFAULT_LISTEN

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        found = _ADDRESS.fullmatch(listen)
        if found is None or int(found["port"]) > 65535:
            raise ValueError(f"should be HOST:PORT, as {DEFAULT_LISTEN}")
        return listen


class PluginEntry(BaseModel):
    """One configured instance of a plugin; everything but `type` is the plugin's own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str


class PolledEntry(PluginEntry):
    """A usage source that is asked."""

    type: str = Field(json_schema_extra={"not": {"const": PUSH}})
    sees_all: bool = Field(default=False, strict=True)
    """Whether every use of the credentials that name it passes this one source."""


class PushEntry(Options):
    """A usage source that reports to `POST /v1/usage`."""

    type: Literal["push"]
    kind: SourceKind = SourceKind.AUTHENTICATION
    resolution: Annotated[Duration, AfterValidator(_longer_than_nothing)] = timedelta(seconds=10)
    sees_failures: bool = Field(default=True, strict=True)
    sees_all: bool = Field(default=False, strict=True)
    """Whether every use of the credentials that name it passes this one source."""
    lag: Duration = timedelta(minutes=1)
    """How far behind the present its watermark runs when all is well; later than that, and a while, it counts as blind."""
    reports_per_second: int = Field(default=20_000, ge=1)
    """What goes beyond it on average is answered 429."""


def _source_kind(given: object) -> str:
    named = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return "~pushed" if named == PUSH else "~polled"


SourceEntry = Annotated[
    Annotated[PushEntry, Tag("~pushed")] | Annotated[PolledEntry, Tag("~polled")], Discriminator(_source_kind)
]


class IssuerUse(BaseModel):
    """Which authority issues the credential; everything but `use` is the plugin's own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    use: str


class TargetEntry(BaseModel):
    """One place that readers get the credential from; everything but `name` and `backend` is the plugin's own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name | None = None
    """Default: the backend's name. It is part of what a rotation remembers: keep it."""
    backend: str


def _by_name(given: object) -> object:
    return {"use": given} if isinstance(given, str) else given


def _policy_kind(given: object) -> str:
    return "~named" if isinstance(given, str) else "~inline"


PolicyUse = Annotated[
    Annotated[str, Tag("~named")] | Annotated[PolicyOptions, Tag("~inline")], Discriminator(_policy_kind)
]

UNION_TAGS = frozenset({"~pushed", "~polled", "~named", "~inline"})
"""Parts that pydantic puts into the place of an error; no name in a file begins so."""


class CredentialEntry(Options):
    """One credential."""

    issuer: Annotated[IssuerUse, BeforeValidator(_by_name, json_schema_input_type=str | IssuerUse)]
    targets: list[TargetEntry] = Field(min_length=1)
    """In the order in which they are promoted."""
    sources: list[str] = Field(default_factory=list)
    clients: list[Word] = Field(default_factory=list)
    notify: list[str] = Field(default_factory=list)
    policy: PolicyUse = PolicyOptions()
    schedule: ScheduleOptions | None = None


class RetentionOptions(Options):
    """How long usage and messages are kept."""

    buckets: Annotated[Duration, AfterValidator(_learnt_from)] = timedelta(days=7)
    """In full detail; then, of each client, when it used a credential, to five minutes."""
    history: Annotated[Duration, AfterValidator(_judged_by)] = timedelta(days=90)
    """When each client used a credential: what silence is judged by."""
    messages: Annotated[Duration, AfterValidator(_told_once)] = timedelta(days=90)
    """What people were told, once it is delivered: what is known to be told is not told again."""


class ConfigFile(Options):
    """The whole file."""

    store: StoreOptions
    state_dir: str | None = Field(default=None, min_length=1)
    """Fingerprint key and access tokens; default: the folder of a SQLite store."""
    http: HttpOptions = HttpOptions()
    tick: Annotated[Duration, AfterValidator(_not_too_short)] = timedelta(seconds=10)
    retention: RetentionOptions = RetentionOptions()
    backends: dict[Name, PluginEntry] = Field(default_factory=dict)
    issuers: dict[Name, PluginEntry] = Field(default_factory=dict)
    sources: dict[Name, SourceEntry] = Field(default_factory=dict)
    notifiers: dict[Name, PluginEntry] = Field(default_factory=dict)
    policies: dict[Name, PolicyOptions] = Field(default_factory=dict)
    credentials: dict[Name, CredentialEntry] = Field(default_factory=dict)


class _ForEditors(GenerateJsonSchema):
    """Lengths of time as they are written in the file, not as ISO 8601."""

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        del schema
        return {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|[smhdw]))+$"},
            ],
            "description": 'A length of time: a number of seconds, or with units, as "250ms", "10s", "1h30m", "90d".',
        }

    def encode_default(self, dft: Any) -> Any:
        return f"{dft.total_seconds():g}s" if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file, for editors."""
    return ConfigFile.model_json_schema(schema_generator=_ForEditors)
