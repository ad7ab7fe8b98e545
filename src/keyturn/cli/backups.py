"""`keyturn backup` and `keyturn restore`: on the store itself, with the daemon running or not."""

from __future__ import annotations

from pathlib import Path

from keyturn.app import backups
from keyturn.app.state import KEY_FILE
from keyturn.cli.output import show_json, show_line
from keyturn.config import load_config


def backup(config_file: Path, file: Path, *, key: Path | None, as_json: bool) -> None:
    """Copy the store. Raises `ConfigError` when there is none, or the file is there already."""
    config = load_config(config_file)
    made = backups.back_up(config, file, key=key)
    own = config.state_dir / KEY_FILE
    if as_json:
        show_json(
            {
                "file": str(made.file),
                "schema": made.schema,
                "credentials": made.credentials,
                "rotating": made.rotating,
                "bytes": made.bytes,
                "key": None if key is None else str(key),
            }
        )
        return
    show_line(f"{made.file}: {made.credentials} credentials, {made.rotating} of them rotating, {made.bytes} bytes")
    if key is None:
        show_line(
            f"{own} is not in it, and without it no version can be recognised: keep a copy of it elsewhere (--key FILE)"
        )
    else:
        show_line(f"{key}: the fingerprint key; keep it apart from the backup")


def restore(config_file: Path, file: Path, *, key: Path | None, replace: bool, dry_run: bool, as_json: bool) -> None:
    """Make the store from a backup. Raises `ConfigError` when that cannot be done; then everything is as it was."""
    config = load_config(config_file)
    done = backups.restore(config, file, key=key, replace=replace, dry_run=dry_run)
    if as_json:
        show_json(
            {
                "dry_run": dry_run,
                "credentials": done.backup.credentials,
                "rotating": done.backup.rotating,
                "schema": done.backup.schema,
                "aside": None if done.aside is None else str(done.aside),
            }
        )
        return
    would = "would be made" if dry_run else "is made"
    show_line(f"the store {would} from {file}: {done.backup.credentials} credentials, {done.backup.rotating} rotating")
    if done.aside is not None:
        show_line(f"what was there before is {done.aside}")
    if not dry_run:
        show_line("start the daemon: it does nothing for any of them until `keyturn adopt NAME` is confirmed")
