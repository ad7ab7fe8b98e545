"""A KV mount of the session's OpenBao for each module."""

from collections.abc import Iterator, Mapping

import pytest
from tests.integration.vault.mount import MakeHarness, Mount, VaultHarness

from keyturn.demo.openbao import OpenBao


@pytest.fixture(scope="module")
def mount(openbao: OpenBao) -> Mount:
    return Mount(openbao)


@pytest.fixture
def make_harness(mount: Mount) -> Iterator[MakeHarness]:
    made: list[VaultHarness] = []

    def make(auth: Mapping[str, object]) -> VaultHarness:
        made.append(VaultHarness(mount, auth))
        return made[-1]

    yield make
    for harness in made:
        harness.close()
