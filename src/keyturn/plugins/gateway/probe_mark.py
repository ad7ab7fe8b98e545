"""Marks keyturn's own presentations, so that a usage source can leave them out, and nobody else can hide behind it.

The header `X-Keyturn-Probe: <issued>-<random>.<hmac>` is public once sent: applications and logs behind the gateway see
it. So a mark proves little by itself: it counts for one presentation only, of the key id that it was made for, near the
time when it was made. Who replays a mark hides nothing, since of the presentations under one mark all but one are counted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from keyturn.domain.errors import ConfigError
from keyturn.domain.secret_value import SecretValue

PROBE_HEADER = "X-Keyturn-Probe"
MIN_SECRET = 16

_MARK = re.compile(r"(?P<issued>[0-9a-f]{1,12})-(?P<random>[0-9a-f]{24})\.(?P<mac>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeMark:
    """A mark whose HMAC is right."""

    issued: int
    """Milliseconds since the epoch."""
    random: str


def make_mark(secret: SecretValue, key_id: str, *, now: datetime) -> str:
    """The header's value for one presentation of `key_id`."""
    issued = f"{int(now.timestamp() * 1000):x}"
    random = secrets.token_hex(12)
    return f"{issued}-{random}.{_mac(secret, key_id, issued, random)}"


def read_mark(secret: SecretValue, key_id: str, text: str) -> ProbeMark | None:
    """The mark, if it was made with this secret for this key id."""
    found = _MARK.fullmatch(text)
    if found is None or not hmac.compare_digest(_mac(secret, key_id, found["issued"], found["random"]), found["mac"]):
        return None
    return ProbeMark(issued=int(found["issued"], 16), random=found["random"])


def usable_secret(secret: SecretValue, *, where: str) -> SecretValue:
    """The secret, if it is long enough that nobody can guess it offline from the marks in a log."""
    if len(secret.reveal()) < MIN_SECRET:
        raise ConfigError(f"{where}: the probe secret is shorter than {MIN_SECRET} characters; make a random one")
    return secret


def _mac(secret: SecretValue, key_id: str, issued: str, random: str) -> str:
    message = f"keyturn-probe/1\n{issued}\n{random}\n{key_id}".encode()
    return hmac.new(secret.reveal().encode(), message, hashlib.sha256).hexdigest()
