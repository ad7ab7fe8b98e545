"""Secrets and errors as values: what shows, what does not, and what is told apart."""

from __future__ import annotations

import pickle
from datetime import timedelta

import pytest

from keyturn.domain.errors import Absent, Failure, FailureKind, Throttled, Transient
from keyturn.domain.schedule import Schedule
from keyturn.domain.secret_value import SecretValue

SECRET = SecretValue("kt_live_abc_0123456789")


def test_secret_shows_in_nothing_but_reveal() -> None:
    """Printing, formatting and inspecting a secret show a placeholder (promise P6)."""
    for shown in (repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET:>40}"):
        assert "0123" not in shown
    assert SECRET.reveal().endswith("0123456789")


def test_secret_is_neither_pickled_nor_hashed_nor_empty() -> None:
    """A secret does not leave the process, and nothing derived from it outlives it by accident."""
    with pytest.raises(TypeError, match="leave the process"):
        pickle.dumps(SECRET)
    with pytest.raises(TypeError, match="not hashable"):
        hash(SECRET)
    with pytest.raises(ValueError, match="empty"):
        SecretValue("")


def test_secrets_compare_by_value_and_only_to_secrets() -> None:
    """Equality is for secrets among themselves."""
    assert SecretValue("a") == SecretValue("a")
    assert SecretValue("a") != SecretValue("b")
    assert SecretValue("a") != "a"


def test_fingerprint_depends_on_the_store() -> None:
    """One value has another fingerprint under another store's key."""
    assert SECRET.fingerprint(b"one") != SECRET.fingerprint(b"two")
    assert SECRET.fingerprint(b"one") == SecretValue(SECRET.reveal()).fingerprint(b"one")


def test_failures_say_what_they_ask_of_the_caller() -> None:
    """A failure carries its kind and message; a vendor that asks us to slow down may say for how long."""
    slow = Throttled("slow down", retry_after=timedelta(seconds=3))
    assert slow.kind is FailureKind.TRANSIENT
    assert slow.retry_after == timedelta(seconds=3)
    assert isinstance(slow, Transient)
    gone: Failure = Absent("no such secret")
    assert (gone.kind, gone.message) == (FailureKind.ABSENT, "no such secret")


def test_schedule_is_in_utc_by_default() -> None:
    """Nobody's local time is assumed."""
    assert Schedule(every=timedelta(days=90)).timezone == "UTC"
