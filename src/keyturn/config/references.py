"""Secret references: `env:NAME` and `file:/path`. The configuration holds references only; each is read at its use, so
that what stands behind it can be rotated too."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from keyturn.domain.errors import ConfigError
from keyturn.domain.secret_value import SecretValue

READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO
CREDENTIALS = Path("/run/credentials")
"""Where systemd puts what units are given by `LoadCredential=`, as long as each unit runs. None but root can write there."""
LONGEST = 64 * 1024


def resolver(folder: Path) -> Callable[[str], SecretValue]:
    """Reads references; relative paths start at `folder`, where the configuration file is."""

    def resolve(reference: str) -> SecretValue:
        scheme, _, rest = reference.partition(":")
        if scheme == "env" and rest:
            return _from_environment(rest)
        if scheme == "file" and rest:
            return read_private(folder / rest, reference)
        # What was given may be a secret that was pasted in place of a reference: it is not repeated.
        raise ConfigError("a secret is given by reference only: write env:NAME or file:/path")

    return resolve


def _from_environment(name: str) -> SecretValue:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"env:{name}: the environment has no variable {name}; set it for the daemon")
    return SecretValue(value)


def read_private(path: Path, reference: str) -> SecretValue:
    """A secret from a file that nobody but its owner may read, without the line end that editors add."""
    try:
        # One descriptor for both questions: the file cannot be exchanged between them.
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(LONGEST + 1)
    except FileNotFoundError:
        mend = "; systemd keeps it there only while its unit runs" if _in_care_of_systemd(path) else ""
        raise ConfigError(f"{reference}: there is no file {path}{mend}") from None
    except OSError as error:
        raise ConfigError(f"{reference}: {path} cannot be read: {error.strerror}") from None
    mode = status.st_mode
    if mode & READABLE_BY_OTHERS and not _handed_over(path, status):
        raise ConfigError(
            f"{reference}: others may use {path} (mode {stat.S_IMODE(mode):04o}); run `chmod 600 {path}` "
            "and consider the secret in it known"
        )
    if len(content) > LONGEST:
        raise ConfigError(f"{reference}: {path} is longer than {LONGEST} bytes: that is no secret")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{reference}: {path} is not UTF-8 text") from None
    if not text:
        raise ConfigError(f"{reference}: {path} is empty")
    return SecretValue(text)


def _handed_over(path: Path, status: os.stat_result) -> bool:
    """Whether systemd has put a file there for one unit alone. It may grant that by an access list, whose mask shows as what
    the group may; nobody can change the mode there. Its place tells: a command beside the daemon has another environment."""
    if not _in_care_of_systemd(path):
        return False
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & READABLE_BY_OTHERS & ~stat.S_IRGRP


def _in_care_of_systemd(path: Path) -> bool:
    return path.resolve().is_relative_to(CREDENTIALS)
