"""`python -m benchmarks.ingest`: prints reports a second, taken and only parsed, and what share the one is of the other."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.ingest.server import CREDENTIALS, SOURCE, credential

LINES = 1000
"""Reports in a batch: each client's use of each credential in a bucket."""
NODES = 8
"""Gateways that see the same clients: each sends a batch of its own a second."""


def batches(seconds: float) -> Iterator[tuple[str, bytes]]:
    """Ids and bodies of batches as the nodes send them, with the time of their sending."""
    deadline, number = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        bucket = int(time.time()) // 10 * 10
        start = datetime.fromtimestamp(bucket, UTC).isoformat()
        body = BODIES.setdefault(start, body_of(start))
        number += 1
        yield f"{os.getpid()}-{threading.get_ident()}-{number}", body


BODIES: dict[str, bytes] = {}


def body_of(start: str) -> bytes:
    lines = [
        json.dumps(
            {
                "key_id": f"{credential(number % CREDENTIALS)}k1",
                "client": f"client-{number // CREDENTIALS}",
                "start": start,
                "successes": 17,
                "failures": 0,
                "matched": True,
                "identified": True,
            }
        )
        for number in range(LINES)
    ]
    return "\n".join(lines).encode()


def load(url: str, token: str, seconds: float, taken: list[int]) -> None:
    """One node's connection."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=60)
    for number, body in batches(seconds):
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": number}
        connection.request("POST", "/v1/usage", body=body, headers=headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status} {said.decode()}")
        taken.append(json.loads(said)["accepted"])
    connection.close()


def measure(mode: str, seconds: float) -> float:
    """Reports a second that a server takes in this mode."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.ingest.server", mode, name]
        log = (folder / "server.log").open("w")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server:
            url = next(line.strip() for line in server.stdout or () if line.startswith("http"))
            token = (folder / "tokens" / f"source-{SOURCE}").read_text().strip()
            taken: list[int] = []
            began, cpu = time.monotonic(), cpu_of(server.pid)
            threads = [threading.Thread(target=load, args=(url, token, seconds, taken)) for _ in range(NODES)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            elapsed, used = time.monotonic() - began, cpu_of(server.pid) - cpu
            server.terminate()
        size = sum(path.stat().st_size for path in folder.glob("keyturn.db*")) / 2**20
        rate = sum(taken) / used
        print(
            f"{mode:6} {sum(taken):>9,} reports in {elapsed:5.1f} s, {used:5.1f} s of one core: "
            f"{rate:>9,.0f} a core-second; store {size:.1f} MiB"
        )
        return rate


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Both modes in turn, as often as told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    parsed, taken = [], []
    for _ in range(given.rounds):
        parsed.append(measure("parse", given.seconds))
        taken.append(measure("take", given.seconds))
    share = sorted(one / other for one, other in zip(taken, parsed, strict=True))[given.rounds // 2]
    print(f"taken: {sorted(taken)[given.rounds // 2]:,.0f} reports a core-second, {share:.0%} of only parsing them")


if __name__ == "__main__":
    main()
