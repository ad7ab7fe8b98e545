"""How commands reach the daemon: over HTTP, with the operator's token."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from keyturn.cli.failures import USAGE, CommandFailed

TIMEOUT = 60.0
"""A status asks backends and verifiers, each with a timeout of its own."""
CONFIG_VARIABLE = "KEYTURN_CONFIG"
URL_VARIABLE = "KEYTURN_URL"
TOKEN_VARIABLE = "KEYTURN_TOKEN_FILE"  # noqa: S105 - the name of a variable
DEFAULT_CONFIG = Path("/etc/keyturn/keyturn.yaml")
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What the command line says of the daemon."""

    config: Path | None = None
    url: str | None = None
    token_file: Path | None = None


class Connection:
    """One daemon."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        # No proxy for loopback, and no .netrc in place of the token.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **parameters: str | int) -> Any:
        """Read. Raises `CommandFailed` with what the daemon said."""
        return self._send("GET", path, parameters=parameters)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Command. Raises `CommandFailed` with what the daemon said."""
        return self._send("POST", path, body=body)

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str | int] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Any:
        try:
            answer = self._session.request(
                method, self._url + path, params=parameters, json=body, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.Timeout:
            raise CommandFailed(
                f"{self._url} did not answer within {TIMEOUT:.0f} s; look whether it was done before trying again"
            ) from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise CommandFailed(f"{self._url!r} is no address: write --url http://HOST:PORT", USAGE) from None
        except requests.RequestException as error:
            raise CommandFailed(
                f"cannot reach the daemon at {self._url} ({_cause(error)}): start it with `keyturn serve`, or name "
                "another with --url"
            ) from None
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not answer.ok:
            said = content.get("detail") if isinstance(content, dict) else None
            raise CommandFailed(str(said or f"{self._url} answers {answer.status_code}, and not as keyturn does"))
        if content is None:
            raise CommandFailed(f"{self._url} answers, but not as keyturn does: name the daemon with --url")
        return content


def _cause(error: BaseException) -> str:
    """The innermost cause's own words: requests wraps them four deep."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


def connect(where: Where) -> Connection:
    """The daemon that the command line, the environment or a configuration names."""
    url = where.url or os.environ.get(URL_VARIABLE)
    token_file = where.token_file or _path(os.environ.get(TOKEN_VARIABLE))
    if url is None or token_file is None:
        found_url, found_token = _from_config(where)
        url, token_file = url or found_url, token_file or found_token
    return Connection(url, _read_token(token_file))


def _path(given: str | None) -> Path | None:
    return Path(given) if given else None


def config_path(given: Path | None) -> Path | None:
    """The configuration to read: named, from the environment, or at its usual place when it is there."""
    named = given or _path(os.environ.get(CONFIG_VARIABLE))
    return named or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)


def _from_config(where: Where) -> tuple[str, Path]:
    path = config_path(where.config)
    if path is None:
        raise CommandFailed(
            f"which daemon? give --config FILE (or {CONFIG_VARIABLE}), or --url with --token-file", USAGE
        )
    # Only here: with --url and --token-file no command needs a configuration.
    from keyturn.config import load_config

    config = load_config(path)
    host = ANY_ADDRESS.get(config.host, config.host)
    address = f"[{host}]" if ":" in host else host
    return f"http://{address}:{config.port}", config.state_dir / "tokens" / "operator"


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise CommandFailed(
            f"there is no token {path}: the daemon makes it at its first start; name another with --token-file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no token"
        raise CommandFailed(
            f"the token {path} cannot be read: {why}; run as the user that the daemon runs as"
        ) from None
    if not token:
        raise CommandFailed(f"the token {path} is empty; name another with --token-file")
    return token
