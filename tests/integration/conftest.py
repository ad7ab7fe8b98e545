"""Real parts for integration tests: started at first use, one of each per pytest worker."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.integration.postgres_server import PostgresServer, remove, start_postgres

from keyturn.demo.gateway import Gateway, TableKey, start_gateway
from keyturn.demo.moto import MotoServer, start_moto
from keyturn.demo.openbao import OpenBao, start_openbao
from keyturn.demo.processes import Family
from keyturn.stores.sql import SqlStore


class StartGateway(Protocol):
    """What the `gateway` fixture is: call it for nodes of your own, as often as you like."""

    def __call__(self, *, nodes: int = 2, keys: Iterable[TableKey] = ()) -> Gateway: ...


@pytest.fixture(scope="session")
def parts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


@pytest.fixture(scope="session")
def family() -> Iterator[Family]:
    """Everything started through it is gone at the end of the session, however that comes."""
    with Family() as parts:
        yield parts


@pytest.fixture(scope="session")
def openbao(family: Family, parts_folder: Path) -> OpenBao:
    """A bare server; make a mount of your own with `openbao.create_kv_mount("name")`."""
    return start_openbao(family, parts_folder / "openbao")


@pytest.fixture(scope="session")
def moto_server(family: Family, parts_folder: Path) -> MotoServer:
    """AWS over HTTP at `moto_server.endpoint_url`; name your secrets apart, it is shared."""
    return start_moto(family, parts_folder / "moto")


@pytest.fixture(scope="session")
def gateway(family: Family, parts_folder: Path) -> StartGateway:
    numbers = itertools.count(1)

    def start(*, nodes: int = 2, keys: Iterable[TableKey] = ()) -> Gateway:
        name = f"gateway{next(numbers)}"
        return start_gateway(family, parts_folder / name, nodes=nodes, keys=keys, name=name)

    return start


@pytest.fixture(scope="session")
def postgres(family: Family) -> Iterator[PostgresServer]:
    """A server of our own; make a database with `postgres.create_database()`, or ask for `postgres_url`."""
    server = start_postgres(family)
    yield server
    remove(server)


@pytest.fixture(scope="session")
def postgres_store(postgres: PostgresServer) -> str:
    """A database with the tables of a store."""
    name = postgres.create_database()
    SqlStore.open(postgres.url(name)).close()
    return name


@pytest.fixture
def postgres_url(postgres: PostgresServer, postgres_store: str) -> Iterator[str]:
    """An empty store, this test's alone: emptied after it, which is faster than a database for each."""
    yield postgres.url(postgres_store)
    postgres.empty(postgres_store)
