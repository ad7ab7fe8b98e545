"""Requests to Vault, and what its answers mean. Messages are made of method, path and status alone: bodies hold values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import requests
from hvac.adapters import RawAdapter
from urllib3 import Timeout

from keyturn.domain.errors import Conflict, Denied, Failure, Invalid, Throttled, Transient
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.vault.options import VaultOptions
from keyturn.plugins.vault.session import Session

_SUCCESS = frozenset({"data", "auth", "initialized"})
"""One of these Vault's successes hold, but for the 204, which is empty; `initialized` is what `sys/health` says."""


class Deadline:
    """By when one call of the port must be over, whatever number of requests it takes."""

    def __init__(self, timeout: timedelta) -> None:
        self._end = time.monotonic() + timeout.total_seconds()

    def remaining(self) -> float:
        """Seconds left, more than zero. Raises `Transient` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Transient("vault: no time left for another request within the timeout")
        return left


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Vault said."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    retry_after: timedelta | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """The part of the body that the secrets engine answers with."""
        data = self.body.get("data")
        return data if isinstance(data, Mapping) else {}

    @property
    def absent(self) -> bool:
        """Nothing is there, at a place that could hold something: Vault's own 404 with no error text. With one it says
        that nothing is mounted there."""
        return self.status == 404 and (self.body.get("errors") == [] or "data" in self.body)

    @property
    def believable(self) -> bool:
        """Whether Vault said this, where it would be believed: that something is done, or that nothing is there, can be
        the page of a proxy that does not find Vault, too. What else a proxy may say changes nothing."""
        if self.status == 404:
            errors = self.body.get("errors")
            return self.absent or (isinstance(errors, list) and all(isinstance(error, str) for error in errors))
        if 200 <= self.status < 300:
            return self.status == 204 or not _SUCCESS.isdisjoint(self.body)
        return True

    def complains_of(self, words: str) -> bool:
        """Whether one of Vault's own error texts holds these words."""
        errors = self.body.get("errors")
        return isinstance(errors, list) and any(words in str(error).lower() for error in errors)


class Connection:
    """HTTP to one Vault through hvac, each request within a deadline, with the token it is given."""

    def __init__(self, options: VaultOptions) -> None:
        # The adapter itself: hvac's `Client` would take a token from the environment, and its exceptions hold bodies.
        self._adapter = RawAdapter(
            base_uri=options.address,
            session=Session(options.address, str(options.ca_bundle) if options.ca_bundle else None),
            namespace=options.namespace,
        )
        self.address = options.address

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, int] | None = None,
        token: SecretValue | None,
        deadline: Deadline,
    ) -> Answer:
        """One request; any status is an answer. Raises `Transient` when there is none, or another's than Vault's."""
        try:
            response = self._adapter.request(
                method,
                f"/v1/{quote(path)}",
                headers=_headers(method, token),
                params=query,
                json=body,
                timeout=Timeout(total=deadline.remaining()),  # connecting and waiting together
                raise_exception=False,
            )
        except requests.exceptions.SSLError:
            trouble = "TLS failed; is the server's certificate from an authority in `ca_bundle`?"
        except requests.exceptions.Timeout:
            trouble = "no answer in time"
        except OSError as error:
            # Any other of requests' own, and a `ca_bundle` that cannot be read.
            trouble = f"no connection ({type(error).__name__})"
        else:
            answer = _read(response)
            if answer.believable:
                return answer
            trouble = (
                f"HTTP {answer.status} with a body that is not Vault's; does `address` lead there, past any proxy?"
            )
        # Raised out here, so that the request and its body hang on no `__context__`.
        raise Transient(f"vault {self.address}: {method} {path}: {trouble}")

    def close(self) -> None:
        """Close what is open."""
        self._adapter.close()


def _headers(method: str, token: SecretValue | None) -> dict[str, str]:
    headers = {"X-Vault-Token": token.reveal()} if token else {}
    # The one form of a patch that Vault takes.
    return {**headers, "Content-Type": "application/merge-patch+json"} if method == "patch" else headers


def failure_of(answer: Answer, *, where: str) -> Failure:
    """What an answer that is no success asks of the caller; `where` names method and path."""
    match answer.status:
        case 400 if answer.complains_of("check-and-set"):
            return Conflict(f"{where}: the version has moved on (HTTP 400, check-and-set)")
        case 400 if answer.complains_of("upgrading"):
            return Transient(f"{where}: the mount is being upgraded to version 2 (HTTP 400)")
        case 401 | 403:
            return Denied(f"{where}: not permitted (HTTP {answer.status}); the policy must allow it")
        case 404:
            return Invalid(f"{where}: nothing is mounted there (HTTP 404)")
        case 429:
            return Throttled(f"{where}: too many requests (HTTP 429)", answer.retry_after)
        case 503:
            return Transient(f"{where}: sealed or not active (HTTP 503)")
        case status if 300 <= status < 400:
            return Transient(f"{where}: redirected (HTTP {status}); give the active node's or the cluster's address")
        case 412 | 472 | 473:
            return Transient(f"{where}: not the active node, or behind it (HTTP {answer.status})")
        case status if status >= 500:
            return Transient(f"{where}: server error (HTTP {status})")
    return Invalid(f"{where}: refused (HTTP {answer.status})")


def _read(response: requests.Response) -> Answer:
    try:
        body = response.json() if response.content else {}
    except ValueError:
        body = {}
    seconds = response.headers.get("Retry-After", "")
    return Answer(
        status=response.status_code,
        body=body if isinstance(body, dict) else {},
        retry_after=timedelta(seconds=int(seconds)) if seconds.isdecimal() and len(seconds) < 8 else None,
    )
