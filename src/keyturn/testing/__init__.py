"""The conformance kit and the fakes, for whoever writes a plugin.

Subclass the suite of the port that the plugin implements, and give it a harness: the plugin's own objects, and a back
door to the same place that does not use the plugin.

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def harness(self) -> TargetHarness:
            return MyHarness()

The suites need pytest; the fakes do not.
"""

from contextlib import suppress

with suppress(ImportError):
    import pytest

    # Before the suites are imported, so that a failed clause shows what it compared.
    TARGET = ("target_copies", "target_failures", "target_marks", "target_promotion")
    SUITES = ("issuer", "issuer_harness", "notifier", "usage", *TARGET)
    pytest.register_assert_rewrite(*(f"keyturn.testing.{suite}" for suite in SUITES))
