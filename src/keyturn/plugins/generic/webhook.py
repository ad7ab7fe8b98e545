"""The notifier `webhook`: one POST a message, signed by the Standard Webhooks specification."""

from __future__ import annotations

import binascii
import email.utils
import json
import string
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, urlsplit

import requests
from pydantic import AfterValidator, Field
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from keyturn.domain.errors import ConfigError, Denied, Invalid, Throttled, Transient
from keyturn.plugins.options import Duration, Options, read_options
from keyturn.ports.plugin import Surroundings

PLAIN = string.ascii_letters + string.digits + "!#$&'()*+,-./:;<=>?@[]^_`{|}~"
"""What a message id keeps as it is in a header; client names in it may hold anything."""
LONGEST_WAIT = 100
"""Characters of a `Retry-After` that is read: seconds or a date have fewer, and Python reads no number of thousands."""


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('write the address as "https://host/path"')
    if parts.username or parts.password:
        raise ValueError("leave user and password out of the address: the signature tells who sends")
    return url


def _bounded(timeout: timedelta) -> timedelta:
    # No longer than the claim of what is to be delivered lasts for (`runtime/outbox.py`).
    if not timedelta(milliseconds=100) <= timeout <= timedelta(seconds=30):
        raise ValueError("should be between 100ms and 30s")
    return timeout


class WebhookOptions(Options):
    """What the configuration says of one receiver."""

    url: Annotated[str, AfterValidator(_address)]
    secret: str = Field(pattern=r"^(env|file):.+$")
    """A reference to the signing secret, `whsec_` and base64."""
    timeout: Annotated[Duration, AfterValidator(_bounded)] = timedelta(seconds=10)


class WebhookNotifier:
    """Sends to one receiver. Each delivery stands alone: nothing is kept between two but the connection."""

    def __init__(self, name: str, options: WebhookOptions, surroundings: Surroundings) -> None:
        self._name = name
        self._options = options
        self._surroundings = surroundings
        self._session = requests.Session()
        # A .netrc or a proxy of the environment must not decide where messages go.
        self._session.trust_env = False

    def __repr__(self) -> str:
        return f"WebhookNotifier({self._name!r})"

    def deliver(self, message_id: str, occurred_at: datetime, payload: Mapping[str, object]) -> None:
        body = json.dumps(
            {
                "type": str(payload.get("topic", "keyturn.message")),
                "timestamp": occurred_at.astimezone(UTC).isoformat(),
                "data": dict(payload),
            },
            ensure_ascii=False,
        )
        message_id = quote(message_id, safe=PLAIN)
        # The time of this attempt: receivers refuse old ones, and a repeat may come days later.
        now = self._surroundings.clock.now()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "keyturn",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer().sign(message_id, now, body),
        }
        self._judge(self._post(body.encode(), headers), now)

    def close(self) -> None:
        self._session.close()

    def _signer(self) -> Webhook:
        """Made anew for each message, so that the secret can be rotated. A secret that is not there is nothing the
        receiver can mend: `Denied`."""
        try:
            return Webhook(self._surroundings.resolve(self._options.secret).reveal())
        except ConfigError as error:
            raise Denied(f"notifier {self._name}: {error}") from None
        except (binascii.Error, ValueError, EmptyWebhookSecretError):
            raise Denied(
                f"notifier {self._name}: {self._options.secret} holds no webhook secret: whsec_ and base64 are expected"
            ) from None

    def _post(self, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        seconds = self._options.timeout.total_seconds()
        try:
            return self._session.post(
                self._options.url,
                data=body,
                headers=dict(headers),
                timeout=(seconds / 4, seconds * 3 / 4),  # connecting takes one round trip, answering takes work
                allow_redirects=False,
                stream=True,  # what the receiver says is of no interest, however long it is
            )
        except requests.RequestException as error:
            raise Transient(f"notifier {self._name}: no answer from its receiver ({type(error).__name__})") from None

    def _judge(self, answer: requests.Response, now: datetime) -> None:
        with answer:
            status, retry_after = answer.status_code, answer.headers.get("Retry-After")
            said = f"notifier {self._name}: its receiver answered {status}"
        if 200 <= status < 300:
            return
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) and (
            status == HTTPStatus.TOO_MANY_REQUESTS or retry_after is not None
        ):
            raise Throttled(said, retry_after=_span(retry_after, now))
        if status >= 500 or status == HTTPStatus.REQUEST_TIMEOUT:
            raise Transient(said)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Denied(f"{said}: does it know the secret behind {self._options.secret}?")
        if 300 <= status < 400:
            raise Invalid(f"{said}, elsewhere: name the address that it redirects to")
        raise Invalid(said)


def _span(retry_after: str | None, now: datetime) -> timedelta | None:
    """`Retry-After`, in seconds or as a date; None when it says nothing of use."""
    if retry_after is None or len(retry_after) > LONGEST_WAIT:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return timedelta(seconds=min(int(retry_after), 86400))
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta(0)), timedelta(days=1))


def webhook(name: str, options: Mapping[str, object], surroundings: Surroundings) -> WebhookNotifier:
    """The factory behind the entry point. Raises `ConfigError` naming the wrong key."""
    return WebhookNotifier(name, read_options(WebhookOptions, options, where=f"notifiers.{name}"), surroundings)
