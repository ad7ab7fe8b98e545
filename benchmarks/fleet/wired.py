"""Credentials wired together for a benchmark, in numbers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from keyturn.app.clock import SystemClock
from keyturn.domain.model import Version, VersionState
from keyturn.domain.observations import SourceKind
from keyturn.domain.policy import Policy
from keyturn.ports.backend import Target
from keyturn.ports.executor import Executor
from keyturn.ports.store import Store
from keyturn.runtime.registry import Registry, WiredCredential, WiredSource
from keyturn.runtime.tick import Runtime
from keyturn.stores.sql import SqlStore, credentials
from keyturn.testing.fakes import FakeAuthority

SOURCE = "gateway"
VERIFIER = "one"
ZERO = timedelta(0)
AT_ONCE = Policy(
    propagation=ZERO,
    client_refresh=ZERO,
    pool_lifetime=ZERO,
    minimum_overlap=ZERO,
    bake=ZERO,
    soak=ZERO,
    drain=ZERO,
    silence_floor=ZERO,
    silence_few=ZERO,
    silence_unseen=ZERO,
    unseen_share=1.0,
)
"""Nothing is waited for: what is left are the calls."""


class Fleet:
    """Credentials with one target and an authority in memory each, or one authority for all, and one source that pushes."""

    def __init__(self, names: Sequence[str], target: Callable[[str], Target], *, shared: bool = False) -> None:
        if shared:
            self.authorities = dict.fromkeys(names, FakeAuthority(VERIFIER, lease=None))
        else:
            self.authorities = {name: FakeAuthority(VERIFIER, lease=None) for name in names}
        self.registry = Registry(
            credentials={
                name: WiredCredential(
                    name=name,
                    issuer=authority.credential({}),
                    targets={"main": target(name)},
                    policy=AT_ONCE,
                    schedule=None,
                    sources=(SOURCE,),
                )
                for name, authority in self.authorities.items()
            },
            sources={
                SOURCE: WiredSource(
                    name=SOURCE,
                    kind=SourceKind.AUTHENTICATION,
                    sees_failures=True,
                    resolution=timedelta(seconds=1),
                    poll=None,
                )
            },
        )

    def runtime(self, store: Store, executor: Executor) -> Runtime:
        """A process's runtime over them."""
        return Runtime(
            store=store,
            registry=self.registry,
            clock=SystemClock(),
            executor=executor,
            fingerprint_key=b"fingerprint key of a benchmark!!",
            owner="benchmark",
        )

    def first_value(self, name: str) -> str:
        """A key that the credential's authority accepts already."""
        authority = self.authorities[name]
        minted = authority.new_key("first")
        authority.credential({}).install(minted.key_id, minted.value, (VERIFIER,))
        return minted.value.reveal()


def names(count: int) -> list[str]:
    """So many credentials' names."""
    return [f"credential-{number:06}" for number in range(count)]


def make_due(runtime: Runtime, store: SqlStore, wanted: Sequence[str]) -> None:
    """Have every credential's rotation due now, as a fleet's are that were set up together: adopted in one tick, and their
    schedules looked at in the next."""
    runtime.tick()
    runtime.tick()
    now = datetime.now(UTC)
    with store._database.write() as connection:
        for name in wanted:
            credentials.set_due(connection, name, now)


def register(store: SqlStore, wanted: Sequence[str]) -> None:
    """Every credential as if it had been adopted; it rotates on command alone, and is checked tomorrow. In one transaction,
    below the store's methods: a flush for each would take most of an hour."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with store._database.write() as connection:
        for name in wanted:
            version = Version(
                serial=1,
                state=VersionState.CURRENT,
                key_id=f"k{secrets.token_hex(8)}",
                fingerprint=secrets.token_hex(32),
            )
            credentials.register(connection, name, version, None, (), ())
            credentials.set_check(connection, name, tomorrow)
