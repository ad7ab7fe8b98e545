"""What the clients have recorded so far, read as it grows."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyturn.demo.client_process import Request

REFUSALS = frozenset({401, 403})


def refused(request: Request) -> bool:
    """The gateway said no to the key."""
    return request.status in REFUSALS


def failed(request: Request) -> bool:
    """Neither served nor refused: another status, a timeout, a broken connection."""
    return not refused(request) and not 200 <= request.status < 300


class Traffic:
    """Reads the records of several clients, each line once."""

    def __init__(self, records: Iterable[Path]) -> None:
        self._offsets = dict.fromkeys(records, 0)
        self._requests: list[Request] = []

    def read(self) -> Sequence[Request]:
        """Every request recorded so far."""
        for record, offset in self._offsets.items():
            try:
                with record.open("rb") as file:
                    file.seek(offset)
                    fresh = file.read()
            except FileNotFoundError:
                continue
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._offsets[record] = offset + len(whole)
            self._requests += [Request(**json.loads(line)) for line in whole.splitlines() if line]
        return self._requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Requests, counted."""

    requests: int
    refused: int
    errors: int
    refused_old: int
    refused_new: int
    refused_clients: frozenset[str]

    @property
    def refused_by_version(self) -> dict[str, int]:
        return {"old": self.refused_old, "new": self.refused_new}


def tally(requests: Iterable[Request], *, old_kid: str) -> Tally:
    """Each attempt counts once; what is not the old key is the new one."""
    seen = list(requests)
    no = [request for request in seen if refused(request)]
    old = sum(request.kid == old_kid for request in no)
    return Tally(
        requests=len(seen),
        refused=len(no),
        errors=sum(failed(request) for request in seen),
        refused_old=old,
        refused_new=len(no) - old,
        refused_clients=frozenset(request.client for request in no),
    )


def latest_by_client(requests: Iterable[Request]) -> dict[str, Request]:
    """What each client sent last."""
    return {request.client: request for request in requests}


def refused_in_logs(logs: Iterable[Path], clients: Iterable[str]) -> Counter[str]:
    """The gateways' own word: refusals by the clients' addresses."""
    wanted = set(clients)
    found: Counter[str] = Counter()
    for log in logs:
        for line in log.read_bytes().splitlines():
            entry = json.loads(line.decode("utf-8", "replace"))
            if entry["remote_addr"] in wanted and entry["status"] in REFUSALS:
                found[entry["remote_addr"]] += 1
    return found
