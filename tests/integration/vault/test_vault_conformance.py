"""The kit against the plugin on a real OpenBao."""

import pytest
from tests.integration.vault.mount import MakeHarness, Mount

from keyturn.testing.backend import BackendConformance, TargetHarness


class TestWithToken(BackendConformance):
    """Logged in with a token that somebody made."""

    erases_history = True

    @pytest.fixture
    def harness(self, make_harness: MakeHarness) -> TargetHarness:
        return make_harness({"token": "env:TOKEN"})


class TestWithAppRole(BackendConformance):
    """Logged in with a role id and a secret id."""

    erases_history = True

    @pytest.fixture
    def harness(self, make_harness: MakeHarness, mount: Mount) -> TargetHarness:
        return make_harness(mount.approle)
