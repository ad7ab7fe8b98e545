"""A backend in memory, strict where the real ones are, with faults on demand."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from keyturn.domain.errors import Absent, ConfigError, Invalid
from keyturn.domain.secret_value import SecretValue
from keyturn.ports.backend import TargetView
from keyturn.testing.fakes.faults import Faults
from keyturn.testing.fakes.places import NO_TEXT, KvPlace, LabelledPlace, Place

T = TypeVar("T")

TOKEN = re.compile(r"[A-Za-z0-9._-]{1,100}")
TIMEOUT = timedelta(seconds=10)


class Rules(StrEnum):
    """Whose rules a fake backend follows."""

    KV = "kv"
    LABELS = "labels"


class FakeTarget:
    """A target over a `Place`, whose calls meet the faults that the test has planned."""

    def __init__(self, place: Place, faults: Faults, lock: threading.RLock, *, location: str = "fake") -> None:
        self.location = location
        self.timeout = TIMEOUT
        self._place = place
        self._faults = faults
        self._lock = lock

    def view(self) -> TargetView:
        with self._lock:
            return self._faults.run("view", lambda: seen(self._place), stale=lambda: seen(self._before))

    def read(self) -> tuple[str, SecretValue]:
        with self._lock:
            return self._faults.run("read", lambda: served(self._place), stale=lambda: served(self._before))

    def keep(self, token: str, *, serving: str) -> None:
        self._write("keep", lambda: self._place.keep(checked(token), serving))

    def stage(self, token: str, value: SecretValue) -> None:
        self._write("stage", lambda: self._place.stage(checked(token), value))

    def fetch(self, token: str) -> SecretValue:
        with self._lock:
            return self._faults.run(
                "fetch", lambda: copied(self._place, token), stale=lambda: copied(self._before, token)
            )

    def promote(self, copy: str, *, expected: str | None, token: str) -> str:
        return self._write(
            "promote",
            lambda: self._place.promote(copied(self._place, copy), expected=expected, token=checked(token)),
        )

    def remove(self, token: str, *, served: Collection[str] = ()) -> None:
        self._write("remove", lambda: self._place.remove(checked(token), served))

    def mark(self, key_id: str) -> None:
        self._write("mark", lambda: self._place.mark(checked(key_id)))

    @property
    def _before(self) -> Place:
        return self._place.before or self._place

    def _write(self, method: str, call: Callable[[], T]) -> T:
        def remembering() -> T:
            self._place.remember()
            return call()

        with self._lock:
            return self._faults.run(method, remembering)


class FakeBackend:
    """Targets by path; `target({"path": "a"})` twice is the same place, and what is stored outlives the instances.

    `faults` is what the test plans; `place(path)` is its back door.
    """

    def __init__(self, *, rules: Rules = Rules.KV, max_versions: int = 10) -> None:
        self.faults = Faults()
        self.problems: list[str] = []
        """What `check` says."""
        self._rules = rules
        self._max_versions = max_versions
        self._places: dict[str, Place] = {}
        self._lock = threading.RLock()

    def place(self, path: str) -> Place:
        """The storage behind one target, without the faults."""
        with self._lock:
            if path not in self._places:
                kv = self._rules is Rules.KV
                self._places[path] = KvPlace(max_versions=self._max_versions) if kv else LabelledPlace()
            return self._places[path]

    def target(self, options: object) -> FakeTarget:
        path = options.get("path") if isinstance(options, dict) else None
        if not isinstance(path, str) or set(options) != {"path"}:  # type: ignore[call-overload]
            raise ConfigError('fake target: give {"path": NAME} and nothing else')
        return FakeTarget(self.place(path), self.faults, self._lock, location=path)

    def check(self) -> Sequence[str]:
        return tuple(self.problems)

    def close(self) -> None:
        """Nothing is held."""


def checked(token: str) -> str:
    if not TOKEN.fullmatch(token):
        raise Invalid("a token or key id is [A-Za-z0-9._-]{1,100}")
    return token


def seen(place: Place) -> TargetView:
    serving = place.serving()
    return TargetView(
        serving=serving and serving[0],
        copies=frozenset(place.copies()),
        foreign=place.foreign,
        marked=place.marked,
    )


def served(place: Place) -> tuple[str, SecretValue]:
    serving = place.serving()
    if serving is None:
        raise Absent("fake: readers get nothing")
    return serving[0], text(serving[1])


def copied(place: Place, token: str) -> SecretValue:
    try:
        return text(place.copies()[checked(token)])
    except KeyError:
        raise Absent(f"fake: no copy {token}") from None


def text(value: SecretValue) -> SecretValue:
    """The value. Raises `Invalid` for what is no text."""
    if value == NO_TEXT:
        raise Invalid("fake: it is no text; store the credential as a string")
    return value
