"""What would stop a rotation at a Vault, found without rotating: one line each, with the mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from keyturn.domain.errors import Denied, Failure
from keyturn.plugins.vault.kv import Kv
from keyturn.plugins.vault.options import VaultOptions
from keyturn.plugins.vault.target import ANNOTATIONS, COPY, VaultTarget

DEFAULT_MAX_VERSIONS = 10
ENOUGH_VERSIONS = 4
"""The old, the new, the old again after a rollback, and one of another's hand in between."""


def find_problems(kv: Kv, options: VaultOptions, targets: Sequence[VaultTarget]) -> list[str]:
    """Everything found; what makes further questions pointless ends the list."""
    problems = list(_of_the_options(options, targets))
    try:
        sick = _health(kv)
        if sick:
            return [*problems, sick]
        seen = _mount(kv)
        if seen:
            return [*problems, seen]
        problems += _capabilities(kv, targets)
        problems += _histories(kv, targets)
    except Failure as failure:
        problems.append(failure.message)
    return problems


def _of_the_options(options: VaultOptions, targets: Sequence[VaultTarget]) -> Iterator[str]:
    address = urlsplit(options.address)
    host = address.hostname or ""
    if address.scheme == "http" and host != "localhost" and host != "::1" and not host.startswith("127."):
        yield f"address {options.address} sends tokens and values in clear; use https"
    if options.ca_bundle is not None and not options.ca_bundle.is_file():
        yield f"ca_bundle {options.ca_bundle} is not a file; give the path of a PEM bundle"
    for path, count in Counter(target.path for target in targets).items():
        if count > 1:
            yield (
                f"{path} holds {count} credentials: each one's rotation looks like another's hand to the other; "
                "give each a secret of its own"
            )


def _health(kv: Kv) -> str | None:
    match kv.health(kv.deadline()):
        case 501:
            return "the server is not initialised; initialise it (`bao operator init`)"
        case 503:
            return "the server is sealed; unseal it (`bao operator unseal`)"
    return None


def _mount(kv: Kv) -> str | None:
    """Whether we can log in and see a KV version 2 engine at the mount."""
    try:
        version = kv.mount_version(kv.deadline())
    except Denied as denied:
        if "sys/internal" not in denied.message:
            return denied.message
        return f"no mount {kv.mount}/, or no policy of ours touches it; enable KV version 2 there or extend the policy"
    if version == "2":
        return None
    found = "another engine" if version is None else f"KV version {version}"
    return f"{kv.mount}/ is {found}; `vault-kv2` needs KV version 2"


def _capabilities(kv: Kv, targets: Sequence[VaultTarget]) -> Iterator[str]:
    needed: dict[str, set[str]] = {}
    for target in targets:
        copy = f"{target.copies_path}/{COPY}check"
        needed |= {
            f"{kv.mount}/data/{target.path}": {"create", "read", "update"},
            f"{kv.mount}/destroy/{target.path}": {"update"},
            f"{kv.mount}/metadata/{target.path}": {"create", "read", "patch"},
            f"{kv.mount}/data/{copy}": {"create", "read", "update"},
            f"{kv.mount}/metadata/{copy}": {"read", "delete"},
            f"{kv.mount}/metadata/{target.copies_path}/": {"list"},
        }
    if not needed:
        return
    try:
        answer = kv.request("post", "sys/capabilities-self", {"paths": sorted(needed)}, deadline=kv.deadline())
    except Denied:
        yield "the policy does not let us ask for our own capabilities; allow `update` on sys/capabilities-self"
        return
    for path, wanted in needed.items():
        held = answer.data.get(path)
        missing = wanted - set(held if isinstance(held, list) else ())
        if missing and "root" not in (held or ()):
            yield f"the policy lacks {', '.join(sorted(missing))} on {path}; add it"


def _histories(kv: Kv, targets: Sequence[VaultTarget]) -> Iterator[str]:
    mount = _readable(kv, f"{kv.mount}/config")
    if mount is None:
        yield f"the policy lacks read on {kv.mount}/config: its max_versions and delete_version_after are not checked"
    if _expires(mount):
        yield f"{kv.mount}/ deletes versions by itself (delete_version_after): our copies too; set it to 0s"
    for target in targets:
        own = _readable(kv, f"{kv.mount}/metadata/{target.path}")
        if own is None:
            continue  # what the policy lacks is said already
        kept = own.get("max_versions") or (mount or {}).get("max_versions") or DEFAULT_MAX_VERSIONS
        if kept < ENOUGH_VERSIONS:
            yield (
                f"{target.path} keeps {kept} versions (max_versions): within one rotation readers that pin a version can "
                f"lose theirs; our own copies are not affected; set it to {ENOUGH_VERSIONS} or more"
            )
        if _expires(own):
            yield f"{target.path} deletes what readers get by itself (delete_version_after); set it to 0s"
        if len(own.get("custom_metadata") or ()) >= ANNOTATIONS:
            yield (
                f"{target.path} has all {ANNOTATIONS} keys of custom metadata taken: no version could be marked "
                "compromised there; remove some that nobody needs"
            )


def _readable(kv: Kv, path: str) -> Mapping[str, Any] | None:
    try:
        return kv.request("get", path, deadline=kv.deadline()).data
    except Denied:
        return None


def _expires(settings: Mapping[str, Any] | None) -> bool:
    return (settings or {}).get("delete_version_after", "0s") not in {"0s", "", None}
