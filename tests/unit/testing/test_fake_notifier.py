"""The fake notifier passes the kit."""

from collections.abc import Sequence

import pytest

from keyturn.ports.notifier import Notifier
from keyturn.testing.fakes import FakeNotifier
from keyturn.testing.notifier import NotifierConformance, NotifierHarness, Received, Reply


class FakeNotifierHarness(NotifierHarness):
    """A receiver that is the notifier itself."""

    def __init__(self) -> None:
        self.fake = FakeNotifier()

    def notifier(self) -> Notifier:
        return self.fake

    def received(self) -> Sequence[Received]:
        return [Received(message_id=one.message_id, payload=one.payload) for one in self.fake.delivered]

    def reply(self, reply: Reply) -> None:
        self.fake.failure = reply.failure(f"fake: {reply}") if reply.failure else None


class TestFakeNotifier(NotifierConformance):
    """The fake as the kit sees it."""

    @pytest.fixture
    def harness(self) -> NotifierHarness:
        return FakeNotifierHarness()
