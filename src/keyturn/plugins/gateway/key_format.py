"""The form of keyturn's own API keys: `kt_<env>_<kid>_<random>_<checksum>`.

The checksum is CRC32 in base62, six digits with leading zeros, over all that stands before it: the scheme that GitHub
describes in "Behind GitHub's new authentication token formats" (2021). It protects nothing; it catches typos, and lets a
scanner tell a real key from a look-alike without asking anyone.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib

from keyturn.domain.errors import Invalid
from keyturn.domain.secret_value import SecretValue

ENV = r"[a-z0-9]+"
KID = r"[A-Za-z0-9]+"
KEY = re.compile(rf"(?P<body>kt_(?P<env>{ENV})_(?P<kid>{KID})_[A-Za-z0-9]{{32,}})_(?P<checksum>[0-9A-Za-z]{{6}})")

MAX_LENGTH = 230
"""Longer ones need more than the 256 bytes a bucket that gateways are advised to give their key map."""

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
# nginx looks keys up without regard to case, so ids differ by more than case. About 62 bits: ids never collide.
_KID_LETTERS = string.ascii_lowercase + string.digits
_KID_LENGTH = 12
# Without regard to case still more than 200 bits.
_RANDOM_LENGTH = 40


def mint_key(env: str) -> SecretValue:
    """A new key from the operating system's secure source."""
    kid = "".join(secrets.choice(_KID_LETTERS) for _ in range(_KID_LENGTH))
    random = "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_LENGTH))
    return format_key(env=env, kid=kid, random=random)


def format_key(*, env: str, kid: str, random: str) -> SecretValue:
    """The key made of these parts, with its checksum. Raises `Invalid` for parts that a key cannot have."""
    body = f"kt_{env}_{kid}_{random}"
    key = SecretValue(f"{body}_{checksum(body)}")
    parse_kid(key)
    return key


def parse_kid(value: SecretValue) -> str:
    """The public id in a key. Raises `Invalid` when the value is no key of ours, or mistyped."""
    text = value.reveal()
    found = KEY.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if found is None:
        raise Invalid("the value is not an API key of the form kt_<env>_<kid>_<random>_<checksum>")
    if checksum(found["body"]) != found["checksum"]:
        raise Invalid("the value has the form of an API key, but its checksum is wrong: it was mistyped or cut")
    return found["kid"]


def checksum(body: str) -> str:
    """CRC32 in base62, six digits."""
    rest = zlib.crc32(body.encode())
    digits = ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = _BASE62[digit] + digits
    return digits
