"""The fakes as plugins that a configuration can name, found by entry points like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from keyturn.domain.errors import ConfigError, Denied
from keyturn.domain.observations import SourceKind
from keyturn.plugins.options import Options, read_options
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageBatch
from keyturn.testing.fakes import FakeAuthority, FakeBackend

BACKENDS: dict[str, FakeBackend] = {}
"""The instances behind the names of a configuration, for the tests' back door."""
AUTHORITIES: dict[str, FakeAuthority] = {}


class FakeOptions(Options):
    """What the fakes take."""

    problem: str | None = None
    """What `check` says."""


def backend(name: str, options: Mapping[str, object], surroundings: Surroundings) -> FakeBackend:
    read = read_options(FakeOptions, options, where=f"backends.{name}")
    made = BACKENDS.setdefault(name, FakeBackend())
    made.problems = [read.problem] if read.problem else []
    return made


def authority(name: str, options: Mapping[str, object], surroundings: Surroundings) -> FakeAuthority:
    read = read_options(FakeOptions, options, where=f"issuers.{name}")
    made = AUTHORITIES.setdefault(name, FakeAuthority())
    made.problems = [read.problem] if read.problem else []
    return made


class FakeSource:
    """A polled source that never has anything."""

    kind = SourceKind.STORE_READ
    sees_failures = False
    resolution = timedelta(seconds=1)
    lag = timedelta(0)

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        return UsageBatch(reports=[], watermark=now, cursor="")

    def check(self) -> Sequence[str]:
        raise Denied("fake source: may not read; grant it the right to")

    def close(self) -> None:
        """Nothing is held."""


def source(name: str, options: Mapping[str, object], surroundings: Surroundings) -> FakeSource:
    return FakeSource()


def broken(name: str, options: Mapping[str, object], surroundings: Surroundings) -> FakeBackend:
    raise RuntimeError("hunter2")


def refusing(name: str, options: Mapping[str, object], surroundings: Surroundings) -> FakeBackend:
    raise ConfigError(f"backends.{name}.first: is wrong; backends.{name}.second: is wrong too")
