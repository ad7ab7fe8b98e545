"""Every way a call can go wrong, told apart by what it asks of the caller.

Plugins map what their vendors raise to these; the machine reads only `Failure.kind`. No message ever carries a secret
value: a plugin names the place and the vendor's code, never the payload.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class FailureKind(StrEnum):
    """What a failed call asks of the caller."""

    TRANSIENT = "transient"
    """Nothing is known of the outcome, or nothing happened; the same call may succeed later."""
    DENIED = "denied"
    """The other side knows us and refuses: a permission is missing. Only a person can mend it."""
    ABSENT = "absent"
    """What the call names is not there."""
    CONFLICT = "conflict"
    """The world is not what the caller believed (a compare-and-swap failed); read again before deciding."""
    INVALID = "invalid"
    """The call itself is wrong for this place; repeating it cannot help."""


PERMANENT = frozenset({FailureKind.DENIED, FailureKind.INVALID})
"""What no repetition mends: a person must."""


class KeyturnError(Exception):
    """Any error keyturn raises on purpose: one clear message that names the thing and the mend."""


class Failure(KeyturnError):
    """A call to something outside failed.

    `kind` says what that asks of the caller.
    """

    kind: FailureKind

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Transient(Failure):
    """Unreachable, timed out, or a server error: the outcome may be unknown."""

    kind = FailureKind.TRANSIENT


class Throttled(Transient):
    """The vendor asks us to slow down; `retry_after` is its own word, when it gives one."""

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Denied(Failure):
    """Authentication or authorisation was refused."""

    kind = FailureKind.DENIED


class Absent(Failure):
    """The secret, version, key or table that the call names does not exist."""

    kind = FailureKind.ABSENT


class Conflict(Failure):
    """A compare-and-swap found another value, or a token was used before with another value."""

    kind = FailureKind.CONFLICT


class Invalid(Failure):
    """The vendor rejects the request for good."""

    kind = FailureKind.INVALID


class ConfigError(KeyturnError):
    """The configuration is wrong; the message names file, line or key, and the mend."""


class Refused(KeyturnError):
    """An operator's command is not allowed in this state; the message says why and what would be."""


class StaleRevision(KeyturnError):
    """A commit lost its compare-and-swap: the rotation has moved since it was read, or another replica has claimed it."""
