"""The calls of a KV version 2 mount that keyturn makes, as a client that is logged in."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyturn.domain.errors import Denied, Invalid, Transient
from keyturn.plugins.vault.connection import Answer, Connection, Deadline, failure_of
from keyturn.plugins.vault.login import make_login
from keyturn.plugins.vault.options import VaultOptions
from keyturn.ports.plugin import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One look at a secret. `number` is what a check-and-set must name, 0 where there was never a version; `document`
    is None where there is nothing to read: never written, deleted, destroyed or evicted."""

    number: int
    document: Mapping[str, Any] | None = field(repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict)
    """The secret's custom metadata, which every reader of a version sees; none are told while there is no version."""


class Kv:
    """One mount, within one deadline a call."""

    def __init__(self, options: VaultOptions, surroundings: Surroundings) -> None:
        self.mount = options.mount
        self.timeout = options.timeout
        self._connection = Connection(options)
        self._login = make_login(options, self._connection, surroundings)
        self._known_version_2 = False
        self._lock = threading.Lock()

    def deadline(self) -> Deadline:
        """From now on, for one call of the port."""
        return Deadline(self.timeout)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, int] | None = None,
        deadline: Deadline,
    ) -> Answer:
        """A request that succeeds or is a 404 of something that is not there; anything else raises its failure."""
        token = self._login.token(deadline)
        answer = self._connection.send(method, path, body, query=query, token=token, deadline=deadline)
        if answer.status == 403:
            # A dead token and a denied permission look alike; a refused request has done nothing, so it may go again.
            another = self._login.replace(token, deadline)
            if another is not None:
                answer = self._connection.send(method, path, body, query=query, token=another, deadline=deadline)
        if 200 <= answer.status < 300 or answer.absent:
            return answer
        raise failure_of(answer, where=f"vault {self._connection.address}: {method} {path}")

    def health(self, deadline: Deadline) -> int:
        """The status of `sys/health`: 200 active, 429 and 47x standby, 501 not initialised, 503 sealed."""
        return self._connection.send("get", "sys/health", token=None, deadline=deadline).status

    def read(self, path: str, deadline: Deadline, *, number: int | None = None) -> Version:
        """The current version of a secret, or one by its number."""
        query = None if number is None else {"version": number}
        answer = self.request("get", f"{self.mount}/data/{path}", query=query, deadline=deadline)
        metadata = answer.data.get("metadata")
        found = metadata.get("version") if isinstance(metadata, Mapping) else None
        if answer.status == 200 and not isinstance(found, int):
            raise self._not_version_2(path)
        document = answer.data.get("data")
        return Version(
            number=found if isinstance(found, int) else 0,
            document=document if answer.status == 200 and isinstance(document, Mapping) else None,
            annotations=_annotations(metadata),
        )

    def write(self, path: str, document: Mapping[str, Any], *, cas: int, deadline: Deadline) -> int:
        """Write the version after `cas` and return its number. Raises `Conflict` when there is another by now."""
        self._require_version_2(deadline)
        body = {"data": document, "options": {"cas": cas}}
        answer = self.request("post", f"{self.mount}/data/{path}", body, deadline=deadline)
        number = answer.data.get("version")
        if not isinstance(number, int):
            raise self._not_version_2(path)
        return number

    def children(self, path: str, deadline: Deadline) -> Sequence[str]:
        """The secrets right below a path."""
        answer = self.request("list", f"{self.mount}/metadata/{path}", deadline=deadline)
        keys = answer.data.get("keys")
        return [key for key in keys if not str(key).endswith("/")] if isinstance(keys, list) else []

    def metadata(self, path: str, deadline: Deadline) -> Mapping[str, Any]:
        """Everything but the values of a secret; empty where there is none."""
        return self.request("get", f"{self.mount}/metadata/{path}", deadline=deadline).data

    def annotations(self, path: str, deadline: Deadline) -> Mapping[str, str]:
        """The secret's custom metadata, whether it has a version or not."""
        return _annotations(self.metadata(path, deadline))

    def annotate(self, path: str, key: str, text: str, deadline: Deadline) -> None:
        """Set one key of a secret's custom metadata, and leave the others alone whoever writes them meanwhile."""
        self._require_version_2(deadline)
        # Without a secret there is nothing that could be patched, nor anyone's keys that a whole write could replace. It is
        # asked for first, because a 404 to a patch is empty, and so could be a proxy's.
        method = "patch" if self.metadata(path, deadline) else "post"
        body = {"custom_metadata": {key: text}}
        self.request(method, f"{self.mount}/metadata/{path}", body, deadline=deadline)

    def destroy(self, path: str, numbers: Collection[int], deadline: Deadline) -> None:
        """Destroy the data of these versions, for good; what is not there is destroyed already."""
        self.request("post", f"{self.mount}/destroy/{path}", {"versions": sorted(numbers)}, deadline=deadline)

    def erase(self, path: str, deadline: Deadline) -> None:
        """Delete a secret with all its versions and metadata; one that is not there is success."""
        self.request("delete", f"{self.mount}/metadata/{path}", deadline=deadline)

    def close(self) -> None:
        """Give the token back where it is ours, and close the connections."""
        try:
            self._login.close(self.deadline())
        except (Transient, Denied):
            # It ends by itself; nobody waits for this.
            return
        finally:
            self._connection.close()

    def mount_version(self, deadline: Deadline) -> str | None:
        """The version of the KV engine that is mounted; None where the mount is another engine."""
        answer = self.request("get", f"sys/internal/ui/mounts/{self.mount}", deadline=deadline)
        if answer.data.get("type") != "kv":
            return None
        options = answer.data.get("options")
        return str(options.get("version", "1")) if isinstance(options, Mapping) else "1"

    def _require_version_2(self, deadline: Deadline) -> None:
        # Version 1 takes a write to `data/…` for an ordinary secret, and shows it to whoever may read there.
        with self._lock:
            if not self._known_version_2:
                if self.mount_version(deadline) != "2":
                    raise self._not_version_2("")
                self._known_version_2 = True

    def _not_version_2(self, path: str) -> Invalid:
        return Invalid(f"vault: {self.mount}/{path}: the mount is not KV version 2")


def _annotations(metadata: object) -> Mapping[str, str]:
    custom = metadata.get("custom_metadata") if isinstance(metadata, Mapping) else None
    return custom if isinstance(custom, Mapping) else {}
