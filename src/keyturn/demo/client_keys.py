"""The ways in which a demo client gets its key."""

import re
from pathlib import Path
from typing import Protocol

import requests

KEY = re.compile(r"kt_[a-z0-9]+_([A-Za-z0-9]+)_[A-Za-z0-9]+_[A-Za-z0-9]+")
READ_TIMEOUT = 5.0
# How often a client looks at what a cache or an agent beside it already keeps fresh.
LOOK_EVERY = 0.2


class KeyUnreadable(RuntimeError):  # named for what happened
    """The key could not be read this time; the text never holds a value."""


class KeySource(Protocol):
    """Reads the key that is current for readers."""

    @property
    def every(self) -> float:
        """Seconds between two reads."""
        ...

    def read(self) -> str:
        """The key's value; KeyUnreadable when there is none to be had."""
        ...


def kid_of(value: str) -> str:
    """The public id within a key's value, empty when the value is not one of ours."""
    found = KEY.fullmatch(value)
    return found[1] if found else ""


class VaultSource:
    """Polls one field of a KV v2 secret over HTTP."""

    def __init__(self, *, address: str, token_file: Path, secret: str, field: str, every: float) -> None:
        mount, _, path = secret.partition("/")
        self._url = f"{address}/v1/{mount}/data/{path}"
        self._token_file = token_file
        self._field = field
        self._session = requests.Session()
        self._session.trust_env = False
        self.every = every

    def read(self) -> str:
        try:
            headers = {"X-Vault-Token": self._token_file.read_text().strip()}
            answer = self._session.get(self._url, headers=headers, timeout=READ_TIMEOUT)
            if answer.status_code != 200:
                raise KeyUnreadable(f"{self._url} gave {answer.status_code}")
            return str(answer.json()["data"]["data"][self._field])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeyUnreadable(f"{self._url}: {type(error).__name__}") from None


class FileSource:
    """Looks at a file that an agent renders."""

    def __init__(self, *, path: Path, every: float) -> None:
        self._path = path
        self.every = every

    def read(self) -> str:
        try:
            value = self._path.read_text().strip()
        except (OSError, ValueError) as error:
            raise KeyUnreadable(f"{self._path}: {type(error).__name__}") from None
        if not value:
            raise KeyUnreadable(f"{self._path}: empty")
        return value
