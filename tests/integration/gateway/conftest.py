"""Gateways to test on: one that tests share, and one of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest
from tests.integration.gateway.bench import Bench

from keyturn.demo.gateway import Gateway, TableKey


class StartGateway(Protocol):
    def __call__(self, *, nodes: int = 2, keys: tuple[TableKey, ...] = ()) -> Gateway: ...


@pytest.fixture(scope="session")
def shared_gateway(gateway: StartGateway) -> Iterator[Gateway]:
    """Two nodes that tests share: they use keys of their own and leave nginx running."""
    started = gateway(nodes=2)
    yield started
    started.stop()


@pytest.fixture
def bench(shared_gateway: Gateway) -> Iterator[Bench]:
    made = Bench(shared_gateway)
    yield made
    made.close()


@pytest.fixture
def own_bench(gateway: StartGateway) -> Iterator[Bench]:
    """One node that a test has for itself."""
    started = gateway(nodes=1)
    made = Bench(started)
    yield made
    made.close()
    started.stop()
