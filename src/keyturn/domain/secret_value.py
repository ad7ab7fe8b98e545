"""A secret value that cannot be printed by accident."""

from __future__ import annotations

import hashlib
import hmac


class SecretValue:
    """Holds one secret; only `reveal()` gives it out, and nothing else shows it.

    `repr`, `str`, `format` and pickling are closed on purpose, so a value in a traceback, a log call or a queue shows as
    a placeholder or fails (promise P6).
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value:
            raise ValueError("a secret value cannot be empty")
        self._value = value

    def reveal(self) -> str:
        """The secret itself, for the one call that needs it."""
        return self._value

    def fingerprint(self, store_key: bytes) -> str:
        """HMAC-SHA-256 (RFC 2104) under the store's key of the value's SHA-256: tells versions apart, reveals nothing."""
        digest = hashlib.sha256(self._value.encode()).digest()
        return hmac.digest(store_key, digest, "sha256").hex()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        raise TypeError("a secret value is not hashable: its hash would outlive it")

    def __repr__(self) -> str:
        return "SecretValue(…)"

    def __str__(self) -> str:
        return "SecretValue(…)"

    def __format__(self, spec: str) -> str:
        return "SecretValue(…)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret value does not leave the process")
