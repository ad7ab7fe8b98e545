"""Starting clients as members of the family, and reading back what they recorded."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from keyturn.demo.gateway import GatewayNode
from keyturn.demo.processes import Family, Part, python_module
from keyturn.demo.waiting import wait_until

FIRST_REQUEST_WITHIN = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    """What a client is told; only paths and addresses, never a value."""

    name: str
    address: str
    source: Literal["vault", "file", "aws", "aws-cache"]
    rate: float = 10.0
    backend: str = ""
    secret: str = ""
    field: str = ""
    credentials: Path | None = None
    key_file: Path | None = None
    refresh: float = 1.0
    never_refresh: bool = False

    def arguments(self) -> tuple[str, ...]:
        words = ["--name", self.name, "--address", self.address, "--source", self.source]
        words += ["--rate", f"{self.rate:g}", "--refresh", f"{self.refresh:g}"]
        optional = {
            "--backend": self.backend,
            "--secret": self.secret,
            "--field": self.field,
            "--credentials": self.credentials,
            "--key-file": self.key_file,
        }
        for flag, given in optional.items():
            if given:
                words += [flag, str(given)]
        if self.never_refresh:
            words.append("--never-refresh")
        return tuple(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as its client saw it; `status` is 0 where `error` says why there was none."""

    time: str
    epoch: float
    client: str
    node: str
    kid: str
    latency: float
    status: int = 0
    error: str = ""
    held: bool = False
    """Sent on a connection that had been open and idle for a while, as only the attacker does on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A running client and its record."""

    spec: ClientSpec
    part: Part
    record: Path

    def requests(self) -> tuple[Request, ...]:
        return read_record(self.record)

    def wait_first_request(self) -> None:
        wait_until(
            self.requests,
            within=FIRST_REQUEST_WITHIN,
            what=f"{self.spec.name} sent a request",
            part=self.part,
        )


def start_client(family: Family, folder: Path, *, spec: ClientSpec, nodes: Sequence[GatewayNode]) -> Client:
    """Start a client; its record and its log are named after it in `folder`."""
    record = folder / f"{spec.name}.jsonl"
    words = [*spec.arguments(), "--record", str(record)]
    for node in nodes:
        words += ["--node", f"{node.name}={node.address}"]
    command = python_module("keyturn.demo.clients", *words)
    part = family.start(spec.name, command, log=folder / f"{spec.name}.log")
    return Client(spec=spec, part=part, record=record)


def start_attacker(
    family: Family, folder: Path, *, name: str, address: str, key_file: Path, nodes: Sequence[GatewayNode]
) -> Client:
    """Start somebody who presents the key in a file for ever."""
    record = folder / f"{name}.jsonl"
    words = ["--name", name, "--address", address, "--key-file", str(key_file), "--record", str(record)]
    for node in nodes:
        words += ["--node", f"{node.name}={node.address}"]
    part = family.start(name, python_module("keyturn.demo.attacker", *words), log=folder / f"{name}.log")
    return Client(
        spec=ClientSpec(name=name, address=address, source="file", key_file=key_file), part=part, record=record
    )


def read_record(path: Path) -> tuple[Request, ...]:
    """Every whole line of a client's record, oldest first."""
    return tuple(Request(**line) for line in read_json_lines(path))


def read_json_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """Every whole line of a JSON log; one that is being written now is left for later."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return ()
    lines = text.split("\n")[:-1]
    return tuple(json.loads(line) for line in lines if line)
