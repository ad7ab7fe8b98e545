"""Backups of what the configuration's daemon remembers, and what is made of one again. The daemon need not run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from keyturn.app.state import KEY_FILE, check_key, copy_key, put_key
from keyturn.app.storage import store_url
from keyturn.config import Config
from keyturn.domain.errors import ConfigError
from keyturn.stores.sql import backup


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was made of a backup, or would be."""

    backup: backup.Backup
    aside: Path | None
    """Where the store is now that was there before."""


def back_up(config: Config, to: Path, *, key: Path | None) -> backup.Backup:
    """Copy the store into a new file, and the fingerprint key into another where that is wanted. Raises `ConfigError` when
    either cannot be written or is there already."""
    if key is not None and key.exists():
        raise ConfigError(f"{key} is there already, and is not overwritten: choose another name")
    made = backup.back_up(store_url(config), to)
    if key is not None:
        copy_key(config.state_dir, key)
    return made


def restore(config: Config, file: Path, *, key: Path | None, replace: bool, dry_run: bool) -> Restored:
    """Make the store from a backup. Raises `ConfigError` when the backup is none, when the fingerprint key that belongs to
    it is lost, or when a store is there or in use."""
    found = backup.examine(file)
    own = config.state_dir / KEY_FILE
    if key is not None:
        check_key(config.state_dir, key)
    elif not own.exists():
        raise ConfigError(
            f"{own} is lost, and without it no version can be recognised: name its copy with --key, or start with an empty "
            "store and `keyturn adopt` each credential"
        )
    if dry_run:
        backup.check_place(store_url(config), replace=replace)
        return Restored(backup=found, aside=None)
    aside = backup.restore(file, store_url(config), now=datetime.now(UTC), replace=replace)
    if key is not None:
        put_key(config.state_dir, key)
    return Restored(backup=found, aside=aside)
