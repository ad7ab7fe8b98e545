"""Clauses: tokens by digest, and what all processes must agree on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

from keyturn.ports.records import AccessToken
from keyturn.ports.store import Store
from keyturn.testing.store_samples import Clauses


class AccessClauses(Clauses):
    def test_tokens_are_kept_by_name(self, store: Store) -> None:
        """Tokens come back as they were added, by name; one of the same name is replaced."""
        operator = AccessToken(name="operator", role="operator", source=None, digest="a" * 64)
        source = AccessToken(name="log", role="source", source="log", digest="b" * 64)
        assert list(store.tokens()) == []
        store.add_token(operator)
        store.add_token(source)
        assert list(store.tokens()) == [source, operator]
        store.add_token(replace(operator, digest="c" * 64))
        assert [token.digest for token in store.tokens()] == ["b" * 64, "c" * 64]

    def test_first_pin_stays(self, store: Store, other: Store) -> None:
        """What was pinned first is what everybody gets from then on."""
        assert store.pin("key", "a" * 64) == "a" * 64
        assert other.pin("key", "b" * 64) == "a" * 64
        assert store.pin("key", "a" * 64) == "a" * 64
        assert other.pin("another", "b" * 64) == "b" * 64

    def test_one_of_many_pins(self, store: Store, other: Store) -> None:
        """Processes that pin at the same moment get the same, which is one of theirs."""
        together = Barrier(6)

        def pin(number: int) -> str:
            together.wait()
            return (store, other)[number % 2].pin("key", str(number))

        with ThreadPoolExecutor(6) as threads:
            (pinned,) = set(threads.map(pin, range(6)))
        assert pinned in {str(number) for number in range(6)}
