"""keyturn as a process of its own, its configuration, and its operator's way in."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
import yaml

from keyturn.demo.backends import ADDRESSES, ATTACKER, ATTACKER_ADDRESS, Backend
from keyturn.demo.client_process import read_json_lines
from keyturn.demo.gateway import Gateway
from keyturn.demo.loopback import LOOPBACK
from keyturn.demo.openbao import write_private
from keyturn.demo.processes import Family, Part
from keyturn.demo.timing import LOG_LAG, RESOLUTION, Timing
from keyturn.demo.waiting import PartFailed, wait_until

# The console script's own words, with the interpreter that runs us.
KEYTURN = (sys.executable, "-c", "import sys; from keyturn.cli import main; sys.exit(main())")
CREDENTIAL = "shop-gateway"
ENV = "demo"
READY_WITHIN = 40.0
# Short: a restarting daemon answers a moment later, and the live view must not wait for it.
ANSWER_WITHIN = 3.0
COMMAND_WITHIN = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the daemon says of the credential."""

    headline: str
    phase: str
    reason: str
    hold: str
    halted: bool
    served: Mapping[str, str] = field(default_factory=dict)
    """By target: the backend's id of what its readers get."""

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Status":
        rotation: Mapping[str, Any] = body["rotation"] or {}
        verdict: Mapping[str, Any] = body["verdict"] or {}
        hold: Mapping[str, Any] = rotation.get("hold") or {}
        seen: Mapping[str, Any] = body["seen"] or {}
        return cls(
            headline=str(body["headline"]),
            phase=str(rotation.get("phase", "")),
            reason=str(verdict.get("reason", "")),
            hold=str(hold.get("reason", "")),
            halted=rotation.get("halted") is not None,
            served={str(target["name"]): str(target["id"] or "") for target in seen.get("targets", ())},
        )


def configuration(
    *, folder: Path, port: int, backend: Backend, gateway: Gateway, receiver: str, timing: Timing
) -> dict[str, object]:
    """The whole configuration; secrets are references to files."""
    probe_secret = f"file:{folder.parent / 'gateway' / 'probe.secret'}"
    starting = datetime.now(UTC) + timedelta(seconds=timing.begins_after)
    return {
        "store": {"url": f"sqlite:///{folder / 'keyturn.db'}"},
        "http": {"listen": f"{LOOPBACK}:{port}"},
        "tick": f"{round(timing.tick * 1000)}ms",
        "backends": {"secrets": dict(backend.options())},
        "issuers": {
            "gateways": {
                "type": "api-key",
                "probe_secret": probe_secret,
                "verifiers": {
                    "type": "nginx-map",
                    "keepalive_min_timeout": f"{round(timing.keepalive_min * 1000)}ms",
                    "nodes": [
                        {
                            "name": node.name,
                            "address": node.url,
                            "table": str(node.key_table),
                            "pid_file": str(node.pid_file),
                            "nginx": str(node.binary),
                            "config": str(node.config_file),
                            "prefix": str(node.folder),
                        }
                        for node in gateway.nodes
                    ],
                },
            }
        },
        "sources": {
            "gateway-logs": {
                "type": "access-log",
                "files": [str(node.access_log) for node in gateway.nodes],
                "clients": {address: name for name, address in ADDRESSES.items()} | {ATTACKER_ADDRESS: ATTACKER},
                "resolution": f"{round(RESOLUTION * 1000)}ms",
                "lag": f"{round(LOG_LAG * 1000)}ms",
                "probe_secret": probe_secret,
            }
        },
        "notifiers": {"on-call": {"type": "webhook", "url": receiver, "secret": f"file:{folder / 'webhook.secret'}"}},
        "policies": {"compressed": timing.policy()},
        "credentials": {
            CREDENTIAL: {
                "issuer": {"use": "gateways", "env": ENV},
                "targets": [{"backend": "secrets", **backend.target()}],
                "sources": ["gateway-logs"],
                "clients": list(ADDRESSES),
                "notify": ["on-call"],
                "policy": "compressed",
                "schedule": {"every": "1h", "starting": starting.isoformat()},
            }
        },
    }


class Daemon:
    """One installation of keyturn, which may be killed and started again."""

    def __init__(self, *, family: Family, folder: Path, port: int, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.config_file = folder / "keyturn.yaml"
        self.database = folder / "keyturn.db"
        self._family = family
        self._environment = environment
        self._address = f"http://{LOOPBACK}:{port}"
        self._session = requests.Session()
        self._session.trust_env = False
        self.part: Part | None = None

    def write_config(self, config: Mapping[str, object]) -> None:
        write_private(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def start(self) -> Part:
        """Start it, without waiting for anything."""
        command = (*KEYTURN, "serve", "--config", str(self.config_file))
        self.part = self._family.start("keyturn", command, log=self.folder / "daemon.log", env=self._environment)
        return self.part

    def wait_ready(self) -> None:
        wait_until(self.answers, within=READY_WITHIN, what="keyturn answered", part=self.part)

    def answers(self) -> bool:
        try:
            return self._session.get(f"{self._address}/livez", timeout=ANSWER_WITHIN).status_code == 200
        except requests.RequestException:
            return False

    def ticks(self) -> int:
        """How many passes over everything it has ended."""
        answer = self._session.get(f"{self._address}/metrics", headers=self._credentials(), timeout=ANSWER_WITHIN)
        counted = re.search(r"^keyturn_ticks_total (\S+)$", answer.text, re.MULTILINE)
        if counted is None:
            raise PartFailed(f"keyturn's metrics tell of no ticks: {answer.status_code}")
        return int(float(counted[1]))

    def status(self) -> Status | None:
        """How the credential stands; None while the daemon does not answer."""
        body = self._get("status")
        return None if body is None else Status.read(body)

    def history(self) -> list[dict[str, Any]] | None:
        """The trail, oldest line first; None while the daemon does not answer."""
        lines: list[dict[str, Any]] | None = self._get("history?limit=10000")
        return lines

    def command(self, *words: str) -> str:
        """Run an operator's command by keyturn's own command line; returns what it said."""
        code, said = self._operate(*words)
        if code != 0:
            raise PartFailed(f"keyturn {' '.join(words)} ended with {code}: {said}")
        return said

    def refusal(self, *words: str) -> str:
        """Try an operator's command that keyturn is to refuse; returns what it said, empty when it was carried out."""
        code, said = self._operate(*words)
        return said if code != 0 else ""

    def _operate(self, *words: str) -> tuple[int | None, str]:
        log = self.folder / f"operator-{words[0]}.log"
        command = (*KEYTURN, *words, "--config", str(self.config_file))
        part = self._family.start(f"operator-{words[0]}", command, log=log, env=self._environment)
        wait_until(lambda: not part.alive, within=COMMAND_WITHIN, what=f"keyturn {words[0]} ended")
        return part.exit_code, part.log_tail().strip()

    def notifications(self) -> Sequence[Mapping[str, Any]]:
        """What the receiver was told, oldest first; `epoch` is when it was."""
        return read_json_lines(self.folder / "notifications.jsonl")

    def keep_history(self) -> None:
        """Leave the trail where a person can read it after the daemon is gone."""
        trail = self.history() or []
        (self.folder / "history.json").write_text(json.dumps(trail, indent=2) + "\n")

    def _get(self, what: str) -> Any:
        try:
            answer = self._session.get(
                f"{self._address}/v1/credentials/{CREDENTIAL}/{what}",
                headers=self._credentials(),
                timeout=ANSWER_WITHIN,
            )
            return answer.json() if answer.status_code == 200 else None
        except (OSError, ValueError):
            return None

    def _credentials(self) -> dict[str, str]:
        token = self.folder / "tokens" / "operator"
        return {"Authorization": f"Bearer {token.read_text().strip()}"}
