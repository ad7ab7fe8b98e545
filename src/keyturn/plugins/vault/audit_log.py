"""The usage source `vault-audit-log`: which client read which version of a secret.

A KV version 2 secret's version stands in clear in the response, `response.data.metadata.version`; the version that was
asked for is hashed. A read shows that a client has a version, not that it presents it, and nothing of how that went.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from keyturn.domain.errors import Transient
from keyturn.domain.observations import UNMAPPED, SourceKind
from keyturn.plugins.logs import LogTail, Networks, TailCursor, milliseconds, moment
from keyturn.plugins.options import read_options
from keyturn.plugins.vault.audit_options import AuditLogOptions, ClientBy
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import StoreRead, UsageBatch, UsageReport

DATA = "data/"
"""Where a KV version 2 mount has what it keeps, below the mount."""
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line that makes sense; `read` is None when it tells of no read of ours to know."""

    at: int
    client: str = UNMAPPED
    read: StoreRead | None = None
    namespace: str | None = None
    """Where a version of a KV version 2 secret was given out, to whomever; None when none was."""
    by_keyturn: bool = False


class AuditLog:
    """Reads the audit logs of a cluster, one file a node."""

    kind = SourceKind.STORE_READ
    sees_failures = False

    def __init__(self, name: str, options: Mapping[str, object], surroundings: Surroundings) -> None:
        del surroundings
        self.name = name
        self._options = read_options(AuditLogOptions, options, where=name)
        self.resolution = self._options.resolution
        self.lag = self._options.lag
        self._ours = frozenset(self._options.ours)
        self._namespace = self._options.namespace.strip("/")
        self._networks = Networks(self._options.networks)
        self._tail = LogTail(
            self._options.files,
            read_line=self._read,
            lag=self._options.lag,
            accept_gaps_before=self._options.accept_gaps_before,
        )

    def __repr__(self) -> str:
        return f"AuditLog({self.name!r})"

    def poll(self, cursor: str | None, *, now: datetime) -> UsageBatch:
        former = TailCursor.from_text(cursor)
        bucket = self.resolution // _MILLISECOND
        counts: Counter[tuple[int, str, StoreRead]] = Counter()

        def take(line: _Line, _: str) -> None:
            if line.read is not None:
                counts[line.at // bucket * bucket, line.client, line.read] += 1

        tailed = self._tail.read(former.files, take=take, now=milliseconds(now))
        if not tailed.there and not counts:
            raise Transient(f"{self.name}: none of its logs can be opened: {', '.join(tailed.files)}")
        after = former.after(tailed)
        return UsageBatch(
            reports=[
                UsageReport(
                    key_id=None,
                    read=read,
                    client=client,
                    start=moment(start),
                    successes=count,
                    failures=0,
                    matched=False,
                    identified=client != UNMAPPED,
                )
                for (start, client, read), count in counts.items()
            ],
            watermark=None if after.watermark is None else moment(after.watermark),
            cursor=after.to_text(),
            complete_from=None if tailed.complete_from is None else moment(tailed.complete_from),
        )

    def check(self) -> Sequence[str]:
        """Whether each log is there, readable, and an audit log, in which the namespace is one that secrets are read in."""
        return [*self._tail.problems(), *self._misplaced()]

    def _misplaced(self) -> Sequence[str]:
        lines = [line for line in self._tail.recent() if line.namespace is not None]
        # keyturn's own looks are where its backend is, and never rare there: beside them a quiet namespace is no mistake.
        own = {line.namespace or "" for line in lines if line.by_keyturn}
        found = own or {line.namespace or "" for line in lines}
        if not found or self._namespace in found:
            return []
        whose = "of keyturn's own" if own else "of anybody's"
        there = ", ".join(_named(namespace) for namespace in sorted(found))
        said = f"no recent read {whose} is in {_named(self._namespace)}, and there are some in {there}"
        return [f"{self.name}: {said}; set `namespace` to the backend's own: what is read elsewhere is not told"]

    def close(self) -> None:
        """Nothing is held between polls."""

    def _read(self, line: bytes) -> _Line | None:
        try:
            entry = json.loads(line)
            at = datetime.fromisoformat(entry["time"])
            told = _Line(at=milliseconds(at.astimezone(UTC)))
            if entry["type"] != "response" or entry.get("error") or entry["request"]["operation"] != "read":
                return told
            read = _store_read(entry)
            if read is None:
                return told
            auth = entry.get("auth") or {}
            by_keyturn = bool(self._ours & _identities(auth))
            told = replace(told, namespace=_namespace(entry["request"]).strip("/"), by_keyturn=by_keyturn)
            if by_keyturn or told.namespace != self._namespace:
                return told
            return replace(told, client=self._client(auth, entry["request"]), read=read)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None

    def _client(self, auth: Mapping[str, Any], request: Mapping[str, Any]) -> str:
        by = self._options.client
        if by is ClientBy.REMOTE_ADDRESS:
            address = str(request.get("remote_address") or "")
            return self._networks.name(address) or UNMAPPED if self._options.networks else address or UNMAPPED
        found = (auth.get("metadata") or {}).get(by) if by is ClientBy.ROLE_NAME else auth.get(by)
        if not isinstance(found, str) or not found:
            return UNMAPPED
        if self._options.names:
            return self._options.names.get(found, UNMAPPED)
        return "".join(letter if letter.isprintable() else "�" for letter in found[:_LONGEST_NAME])


def _store_read(entry: Mapping[str, Any]) -> StoreRead | None:
    """The version of a KV version 2 secret that was given out."""
    request, data = entry["request"], (entry.get("response") or {}).get("data") or {}
    metadata = data.get("metadata")
    version = metadata.get("version") if isinstance(metadata, Mapping) else None
    # The namespace stands before the mount, and not before the path.
    mount = str(request.get("mount_point", "")).removeprefix(_namespace(request))
    path = str(request["path"])
    below = path.removeprefix(mount)
    # A version that is deleted or destroyed is answered without its data, as an error.
    if not isinstance(version, int) or not below.startswith(DATA) or data.get("data") is None:
        return None
    return StoreRead(f"{mount.rstrip('/')}/{below.removeprefix(DATA)}", str(version))


def _namespace(request: Mapping[str, Any]) -> str:
    """As it is logged: with a slash at its end, empty for the root."""
    return str((request.get("namespace") or {}).get("path") or "")


def _named(namespace: str) -> str:
    return f"the namespace {namespace!r}" if namespace else "the root namespace"


def _identities(auth: Mapping[str, Any]) -> frozenset[str]:
    metadata = auth.get("metadata") or {}
    found = (auth.get("entity_id"), auth.get("display_name"), metadata.get("role_name"))
    return frozenset(one for one in found if isinstance(one, str))
