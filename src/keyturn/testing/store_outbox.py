"""Clauses: messages once only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from keyturn.ports.records import Commit, OutboxItem
from keyturn.ports.store import Store
from keyturn.testing.store_samples import NOW, SECOND, Clauses, begun, message

DAY = timedelta(days=1)
FAR = NOW + timedelta(days=36500)
"""Later than any clock that a store may have of its own."""


class OutboxClauses(Clauses):
    # Outbox

    def test_message_goes_to_each_notifier(self, store: Store) -> None:
        """A decision's messages are queued once for each notifier, in order, as they were written."""
        rotation = begun(store)
        store.commit(Commit(rotation=rotation, messages=[message("m1"), message("m2")], notifiers=["hook", "mail"]))
        items = store.outbox(NOW)
        assert addresses(items) == [("m1", "hook"), ("m1", "mail"), ("m2", "hook"), ("m2", "mail")]
        assert items[0].message == message("m1")
        assert {item.attempts for item in items} == {0}
        assert len({item.id for item in items}) == 4

    def test_known_message_is_left_as_it_is(self, store: Store) -> None:
        """A message whose id is known is not queued again, delivered or not, by a decision or beside one."""
        store.enqueue([message("m1")], ["hook"], now=NOW)
        rotation = store.commit(Commit(rotation=begun(store), messages=[message("m1")], notifiers=["hook"]))
        assert addresses(store.outbox(NOW)) == [("m1", "hook")]
        store.delivered(store.outbox(NOW)[0].id, at=NOW)
        store.commit(Commit(rotation=rotation, messages=[message("m1")], notifiers=["hook"]))
        store.enqueue([replace(message("m1"), text="changed")], ["hook"], now=NOW)
        assert list(store.outbox(FAR)) == []

    def test_known_message_goes_to_a_notifier_that_is_named_later(self, store: Store) -> None:
        """What is said again goes to those that it was never queued for, as it was said first, and to each once: by a
        decision or beside one, and whatever became of it at the others."""
        store.enqueue([message("m1"), message("m2")], ["gone", "hook"], now=NOW)
        for item in store.outbox(NOW)[:2]:
            store.undelivered(item.id, retry_at=None, error="no notifier is called so any more")
        changed = replace(message("m1"), text="changed")
        store.enqueue([changed], ["hook", "pager"], now=NOW)
        store.enqueue([changed], ["pager", "gone"], now=NOW)
        rotation = store.commit(Commit(rotation=begun(store), messages=[message("m2")], notifiers=["mail", "hook"]))
        store.commit(Commit(rotation=rotation, messages=[message("m2")], notifiers=["mail"]))
        waiting = store.outbox(NOW)
        assert addresses(waiting) == [("m2", "gone"), ("m2", "hook"), ("m1", "pager"), ("m2", "mail")]
        assert waiting[2].message == message("m1")
        for item in waiting:
            store.delivered(item.id, at=NOW)
        store.enqueue([message("m1"), message("m2")], ["gone", "hook", "pager", "mail"], now=NOW)
        assert addresses(store.outbox(FAR)) == [("m1", "mail"), ("m2", "pager")]

    def test_message_that_is_said_to_another_is_known_until_that_is_settled(self, store: Store) -> None:
        """It is forgotten once nobody waits for it, and then whoever says it tells news to everybody."""
        store.enqueue([message("m1")], ["hook"], now=NOW)
        store.delivered(store.outbox(NOW)[0].id, at=NOW)
        store.enqueue([message("m1")], ["hook", "pager"], now=NOW + 2 * DAY)
        store.forget_messages(FAR)
        store.enqueue([message("m1")], ["hook"], now=NOW + 3 * DAY)
        (late,) = store.outbox(FAR)
        assert late.notifier == "pager"
        store.delivered(late.id, at=NOW + 3 * DAY)
        store.forget_messages(FAR)
        store.enqueue([message("m1")], ["hook", "pager"], now=NOW + 4 * DAY)
        assert addresses(store.outbox(FAR)) == [("m1", "hook"), ("m1", "pager")]

    def test_message_for_nobody_waits_for_somebody(self, store: Store) -> None:
        """Without notifiers nothing is queued; the first that is named while it is said is told."""
        store.enqueue([message("m1")], [], now=NOW)
        assert list(store.outbox(FAR)) == []
        store.enqueue([message("m1")], ["hook"], now=NOW)
        store.enqueue([message("m1")], ["hook"], now=NOW)
        assert addresses(store.outbox(NOW)) == [("m1", "hook")]

    def test_queued_message_is_dated(self, store: Store) -> None:
        """An item says when it was queued, to the microsecond."""
        store.enqueue([message("m1")], ["hook"], now=NOW)
        assert store.outbox(NOW)[0].created_at == NOW

    def test_undelivered_message_waits(self, store: Store) -> None:
        """A failed delivery is tried again from its time on, with one more attempt; others do not wait for it."""
        store.enqueue([message("m1"), message("m2")], ["hook"], now=NOW)
        store.undelivered(store.outbox(NOW)[0].id, retry_at=NOW + SECOND, error="503")
        assert addresses(store.outbox(NOW)) == [("m2", "hook")]
        again = store.outbox(NOW + SECOND)
        assert [(item.message.id, item.attempts) for item in again] == [("m2", 0), ("m1", 1)]

    def test_message_can_be_given_up(self, store: Store) -> None:
        """A delivery without another try never comes back, and nothing revives it."""
        store.enqueue([message("m1")], ["hook"], now=NOW)
        item = store.outbox(NOW)[0]
        store.undelivered(item.id, retry_at=None, error="gone")
        store.undelivered(item.id, retry_at=NOW, error="late")
        assert list(store.outbox(FAR)) == []

    def test_old_messages_are_forgotten(self, store: Store) -> None:
        """Once a message is settled at each of its notifiers for long enough, whoever says it tells news."""
        store.enqueue([message("m1")], ["hook", "mail"], now=NOW)
        store.enqueue([message("nobody's")], [], now=NOW)
        hook, mail = store.outbox(NOW)
        store.delivered(hook.id, at=NOW)
        store.undelivered(mail.id, retry_at=None, error="gone")
        assert not store.forget_messages(NOW)
        store.enqueue([message("m1")], ["hook"], now=NOW)
        assert list(store.outbox(FAR)) == []
        assert not store.forget_messages(FAR)
        store.enqueue([message("m1"), message("nobody's")], ["hook"], now=NOW)
        assert addresses(store.outbox(NOW)) == [("m1", "hook"), ("nobody's", "hook")]

    def test_message_that_waits_is_not_forgotten(self, store: Store) -> None:
        """However old it is: it is still to be delivered, also where it has arrived at another notifier."""
        store.enqueue([message("m1")], ["hook", "mail"], now=NOW)
        store.delivered(store.outbox(NOW)[0].id, at=NOW)
        store.undelivered(store.outbox(NOW)[0].id, retry_at=NOW + 9 * DAY, error="503")
        store.enqueue([message("m1")], ["hook", "mail"], now=NOW + 5 * DAY)
        store.forget_messages(FAR)
        (waiting,) = store.outbox(FAR)
        assert (waiting.message, waiting.notifier, waiting.created_at) == (message("m1"), "mail", NOW)
        store.delivered(waiting.id, at=NOW + 9 * DAY)
        store.forget_messages(NOW + 9 * DAY)
        store.enqueue([message("m1")], ["hook"], now=NOW + 9 * DAY)
        assert list(store.outbox(FAR)) == []

    def test_message_that_is_said_again_stays_known(self, store: Store) -> None:
        """What is said for as long as something lasts is sent once, for however long that is."""
        store.enqueue([message("m1"), message("m2")], ["hook"], now=NOW)
        for item in store.outbox(NOW):
            store.delivered(item.id, at=NOW)
        for day in range(0, 100, 5):
            store.enqueue([message("m1")], ["hook"], now=NOW + day * DAY)
            store.forget_messages(NOW + (day - 10) * DAY)
        assert list(store.outbox(FAR)) == []
        store.enqueue([message("m1"), message("m2")], ["hook"], now=NOW + 100 * DAY)
        assert addresses(store.outbox(FAR)) == [("m2", "hook")]

    def test_many_messages_are_forgotten_one_lot_after_another(self, store: Store) -> None:
        """A backlog of years is worked off without holding up what waits behind it."""
        store.enqueue([message(f"m{number}") for number in range(1_200)], [], now=NOW)
        for _ in range(3):
            store.forget_messages(FAR)
        assert not store.forget_messages(FAR)
        store.enqueue([message(f"m{number}") for number in range(1_200)], ["hook"], now=NOW)
        assert len(store.outbox(FAR, limit=2_000)) == 1_200

    def test_what_failed_waits_behind_what_is_new(self, store: Store) -> None:
        """What was never tried comes first, as it was queued; then what has waited longest, whatever its number."""
        store.enqueue([message("m1"), message("m2"), message("m3")], ["dead"], now=NOW)
        for item, after in zip(store.outbox(NOW), (3, 1, 2), strict=True):
            store.undelivered(item.id, retry_at=NOW + after * SECOND, error="503")
        store.enqueue([message("m4"), message("m5")], ["hook"], now=NOW)
        due = store.outbox(NOW + 4 * SECOND)
        assert [item.message.id for item in due] == ["m4", "m5", "m2", "m3", "m1"]
        assert [item.message.id for item in store.outbox(NOW + 4 * SECOND, limit=3)] == ["m4", "m5", "m2"]

    def test_notifiers_can_be_left_out(self, store: Store) -> None:
        """Whoever cannot be reached now takes no place from others, however much waits for it."""
        store.enqueue([message(f"m{number:02}") for number in range(12)], ["dead"], now=NOW)
        store.enqueue([message("m12")], ["dead", "hook"], now=NOW)
        left = store.outbox(NOW, limit=3, without=frozenset({"dead", "nobody"}))
        assert addresses(left) == [("m12", "hook")]
        assert list(store.outbox(NOW, without=frozenset({"dead", "hook"}))) == []

    def test_outbox_is_bounded(self, store: Store) -> None:
        """At most so many items come at once, the oldest first."""
        store.enqueue([message(f"m{number:02}") for number in range(12)], ["hook"], now=NOW)
        assert [item.message.id for item in store.outbox(NOW, limit=3)] == ["m00", "m01", "m02"]


def addresses(items: Iterable[OutboxItem]) -> list[tuple[str, str]]:
    """Which message goes to whom."""
    return [(item.message.id, item.notifier) for item in items]
