"""What the daemon keeps in its state folder: the fingerprint key and the access tokens, each its owner's alone."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

import structlog

from keyturn.config.references import READABLE_BY_OTHERS
from keyturn.domain.errors import ConfigError
from keyturn.ports.records import AccessToken
from keyturn.ports.store import Store

log = structlog.get_logger(__name__)

KEY_FILE = "fingerprint.key"
KEY_BYTES = 32
TOKENS = "tokens"
TOKEN_PREFIX = "ktok_"  # noqa: S105 - what a token begins with, so that logs and scanners can tell one
OPERATOR = "operator"
VIEWER = "viewer"
SOURCE = "source"


def token_file(state_dir: Path, name: str) -> Path:
    """Where the token of that name is kept."""
    return state_dir / TOKENS / name


def source_token(source: str) -> str:
    """The name of the token of a source that pushes."""
    return f"{SOURCE}-{source}"


def digest(token: str) -> str:
    """What the store keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def fingerprint_key(state_dir: Path, store: Store) -> bytes:
    """The store's key for fingerprints, made at the first start. Raises `ConfigError` when it is lost, or is not the one
    that the store was first opened with: with another no version could be recognised again."""
    path = state_dir / KEY_FILE
    if not path.exists():
        if store.credentials():
            raise ConfigError(
                f"{path} is missing, but the store holds fingerprints made with it: restore the file from a backup"
            )
        _write(path, secrets.token_hex(KEY_BYTES))
    key = _key_in(path)
    ours = hashlib.sha256(b"keyturn fingerprint key" + key).hexdigest()
    if store.pin("fingerprint key", ours) != ours:
        raise ConfigError(
            f"{path} is not the key that this store's fingerprints are made with: restore it from a backup, or copy "
            "the state folder of the first replica, which all of them need"
        )
    return key


def copy_key(state_dir: Path, to: Path) -> None:
    """A copy of the fingerprint key, for its owner's eyes only: whoever has it and the store can test guesses of values."""
    _write(to, _key_in(state_dir / KEY_FILE).hex())


def check_key(state_dir: Path, copy: Path) -> None:
    """Raises `ConfigError` when a copy is no key, or is another than the one that is there."""
    path, key = state_dir / KEY_FILE, _key_in(copy)
    if path.exists() and _key_in(path) != key:
        raise ConfigError(f"{copy} is another key than {path}: move that one away if the copy is the right one")


def put_key(state_dir: Path, copy: Path) -> None:
    """Put a copy of the fingerprint key in its place."""
    check_key(state_dir, copy)
    _write(state_dir / KEY_FILE, _key_in(copy).hex())


def _key_in(path: Path) -> bytes:
    try:
        key = bytes.fromhex(_read(path))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path} is damaged: it should hold {KEY_BYTES * 2} hexadecimal digits; restore it")
    return key


def grant_tokens(state_dir: Path, store: Store, sources: list[str]) -> None:
    """See that each token exists as a file, and its digest in the store. The file decides: to renew a token, delete its
    file and start again. A file with a token that another has taken the place of decides nothing."""
    wanted: dict[str, tuple[str, str | None]] = {OPERATOR: (OPERATOR, None), VIEWER: (VIEWER, None)}
    wanted |= {source_token(source): (SOURCE, source) for source in sources}
    known = {token.name: token for token in store.tokens()}
    for name, (role, source) in wanted.items():
        path = token_file(state_dir, name)
        if not path.exists():
            _write(path, TOKEN_PREFIX + secrets.token_urlsafe(32))
            log.info("access token made", name=name, file=str(path))
        token = AccessToken(name=name, role=role, source=source, digest=digest(_read(path)))
        before = known.get(name)
        if before is not None and _superseded(store, token, before):
            log.warning(
                "access token superseded",
                name=name,
                file=str(path),
                mend="it opens nothing: copy the file of the replica that made the new one, or renew it once more",
            )
        elif before != token:
            store.add_token(token)


def _superseded(store: Store, token: AccessToken, now: AccessToken) -> bool:
    """Whether a token had its time before the one that the store has now. It may have been renewed because it leaked: the
    file of a replica that nobody told, or an old copy, must not bring it back. So each is pinned with the one whose place
    it takes; the first of all takes nobody's, and is pinned with itself."""
    if token.digest == now.digest:
        return False
    store.pin(f"token {token.name} {now.digest}", now.digest)
    return store.pin(f"token {token.name} {token.digest}", now.digest) != now.digest


def make_folder(folder: Path) -> None:
    """A folder that only its owner may enter, if it is not there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}; set store.url or state_dir elsewhere") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder} cannot be written to; give it to the user that keyturn runs as")


def _write(path: Path, content: str) -> None:
    """Appears whole or not at all, also when the machine goes down: a half token or key would stop every later start."""
    make_folder(path.parent)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _read(path: Path) -> str:
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if mode & READABLE_BY_OTHERS:
        raise ConfigError(
            f"others may use {path} (mode {stat.S_IMODE(mode):04o}): someone may know what is in it; "
            "`chmod 600` it if you are sure that nobody does, or else delete it if it is a token and start again"
        )
    if not content:
        raise ConfigError(f"{path} is empty; delete it if it is a token and start again")
    return content
