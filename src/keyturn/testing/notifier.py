"""The conformance suite of `keyturn.ports.notifier.Notifier`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial

import pytest

from keyturn.domain.errors import Denied, Failure, Invalid, Throttled, Transient
from keyturn.ports.notifier import Notifier
from keyturn.testing.secrecy import attempt, find_leaks, logs_recorded

OCCURRED = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
PAYLOAD: Mapping[str, object] = {
    "type": "rotation.phase",
    "credential": "demo ünïcödé ☃",
    "serials": [6, 7],
    "nested": {"reason": 'a "quoted" one', "none": None, "yes": True},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message as its receiver got it, authenticity checked."""

    message_id: str
    payload: Mapping[str, object]


class Reply(StrEnum):
    """What the other side does with the next deliveries."""

    ACCEPT = "accept"
    THROTTLE = "throttle"
    FAIL = "fail"
    HANG = "hang"
    DENY = "deny"
    REJECT = "reject"
    VANISH = "vanish"

    @property
    def failure(self) -> type[Failure] | None:
        """What the notifier raises for it, exactly."""
        return {
            Reply.ACCEPT: None,
            Reply.THROTTLE: Throttled,
            Reply.FAIL: Transient,
            Reply.HANG: Transient,
            Reply.DENY: Denied,
            Reply.REJECT: Invalid,
            Reply.VANISH: Transient,
        }[self]


class NotifierHarness(ABC):
    """A receiver, and a notifier that delivers to it."""

    @abstractmethod
    def notifier(self) -> Notifier:
        """A new instance of the plugin for the same receiver, with a timeout of a second or less."""

    @abstractmethod
    def received(self) -> Sequence[Received]:
        """What has arrived so far and was accepted, oldest first."""

    def reply(self, reply: Reply) -> None:
        """Let the receiver answer so from now on."""
        pytest.skip(f"this harness cannot make its receiver: {reply}")

    def secret_values(self) -> Sequence[str]:
        """What the notifier authenticates with, which must show nowhere."""
        return ()


class NotifierConformance:
    """What every notifier promises. Override `harness`."""

    @pytest.fixture
    def harness(self) -> NotifierHarness:
        """The plugin and a receiver that is well."""
        raise NotImplementedError("override the fixture `harness`")

    def test_message_arrives_as_it_was_sent(self, harness: NotifierHarness) -> None:
        """Id and payload reach the receiver, every type and character of them."""
        harness.notifier().deliver("message-1", OCCURRED, PAYLOAD)
        assert harness.received() == [Received(message_id="message-1", payload=PAYLOAD)]

    def test_repeats_carry_the_same_id(self, harness: NotifierHarness) -> None:
        """Delivery is at least once: a repeat, also after a restart, is told by its id."""
        for _ in range(2):
            harness.notifier().deliver("message-1", OCCURRED, PAYLOAD)
        harness.notifier().deliver("message-2", OCCURRED, PAYLOAD)
        assert [message.message_id for message in harness.received()] == ["message-1", "message-1", "message-2"]

    @pytest.mark.parametrize("reply", [reply for reply in Reply if reply is not Reply.ACCEPT])
    def test_each_failure_says_whether_to_try_again(self, harness: NotifierHarness, reply: Reply) -> None:
        """What is worth another try is told from what is not; and the next message goes through once all is well."""
        notifier = harness.notifier()
        harness.reply(reply)
        with pytest.raises(Failure) as caught:
            notifier.deliver("message-1", OCCURRED, PAYLOAD)
        assert type(caught.value) is reply.failure
        harness.reply(Reply.ACCEPT)
        notifier.deliver("message-2", OCCURRED, PAYLOAD)
        assert [message.message_id for message in harness.received()][-1] == "message-2"

    def test_secrets_of_the_notifier_show_nowhere(self, harness: NotifierHarness) -> None:
        """What it signs or logs in with is in no message, repr, error or log record at DEBUG."""
        secrets = harness.secret_values()
        if not secrets:
            pytest.skip("this notifier has no secrets")
        with logs_recorded() as logs:
            notifier = harness.notifier()
            deliver = partial(notifier.deliver, "message-1", OCCURRED, PAYLOAD)
            texts = [repr(notifier), *attempt(deliver)]
            harness.reply(Reply.FAIL)
            texts += attempt(deliver)
        texts += [repr(message) for message in harness.received()]
        assert find_leaks(secrets, texts + logs) == []

    def test_closed_notifier_holds_nothing(self, harness: NotifierHarness) -> None:
        """Closing, also twice, is no error."""
        notifier = harness.notifier()
        notifier.deliver("message-1", OCCURRED, PAYLOAD)
        notifier.close()
        notifier.close()
