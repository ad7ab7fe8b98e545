"""A daemon that is broken on purpose: `python -m tests.chaos.sabotages NAME PLAN serve --config FILE`. What it does must be
found: a check that nothing fails shows nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.chaos.lives import live

from keyturn.demo.traffic import refused_in_logs
from keyturn.demo.waiting import wait_until
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.issuer import ApiKeyIssuer
from keyturn.plugins.gateway.key_format import mint_key, parse_kid
from keyturn.plugins.vault.kv import Kv
from keyturn.plugins.vault.target import VaultTarget


def write_twice() -> None:
    """Every version at OpenBao is made twice for one effect."""
    write = Kv.write

    def again(self: Kv, path: str, document: Mapping[str, Any], *, cas: int, deadline: Any) -> int:
        number = write(self, path, document, cas=cas, deadline=deadline)
        return write(self, path, document, cas=number, deadline=deadline)

    Kv.write = again  # type: ignore[method-assign]


def destroy_twice() -> None:
    """What is removed is destroyed twice at OpenBao for one effect."""
    destroy = Kv.destroy

    def again(self: Kv, path: str, numbers: Collection[int], deadline: Any) -> None:
        destroy(self, path, numbers, deadline)
        destroy(self, path, numbers, deadline)

    Kv.destroy = again  # type: ignore[method-assign]


def erase_twice() -> None:
    """A copy is put back after it was removed, and removed again."""
    erase = Kv.erase

    def again(self: Kv, path: str, deadline: Any) -> None:
        held = self.read(path, deadline)
        erase(self, path, deadline)
        self.write(path, held.document or {}, cas=0, deadline=deadline)
        erase(self, path, deadline)

    Kv.erase = again  # type: ignore[method-assign]


def mark_unasked() -> None:
    """With whatever is staged, a key is marked that no journal knows: one that is known would come to be taken for it."""
    stage = VaultTarget.stage

    def marked(self: VaultTarget, token: str, value: SecretValue) -> None:
        stage(self, token, value)
        self.mark(parse_kid(mint_key("chaos")))

    VaultTarget.stage = marked  # type: ignore[method-assign]


def disable_twice() -> None:
    """The old key is disabled, enabled and disabled for one effect."""
    disable = ApiKeyIssuer.disable

    def again(self: ApiKeyIssuer, key_id: str, verifiers: Collection[str]) -> None:
        disable(self, key_id, verifiers)
        self.enable(key_id, verifiers)
        disable(self, key_id, verifiers)

    ApiKeyIssuer.disable = again  # type: ignore[method-assign]


def install_another() -> None:
    """A key is installed that no journal knows."""
    install = ApiKeyIssuer.install

    def more(self: ApiKeyIssuer, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        install(self, key_id, value, verifiers)
        stranger = mint_key("chaos")
        install(self, parse_kid(stranger), stranger, verifiers)

    ApiKeyIssuer.install = more  # type: ignore[method-assign]


def disable_at_once() -> None:
    """Whatever is installed takes all others out of use, clients or not, until one of these was refused."""
    install = ApiKeyIssuer.install

    def alone(self: ApiKeyIssuer, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        install(self, key_id, value, verifiers)
        others = {(other, verifier) for verifier in verifiers for other in self.entries(verifier) if other != key_id}
        for other, verifier in others:
            self.disable(other, [verifier])
        wait_until(_somebody_was_refused, within=10, what="a client was refused")
        for other, verifier in others:
            self.enable(other, [verifier])

    ApiKeyIssuer.install = alone  # type: ignore[method-assign]


def _somebody_was_refused() -> bool:
    sources = yaml.safe_load(Path(sys.argv[-1]).read_text())["sources"].values()
    return any(refused_in_logs(map(Path, one["files"]), one["clients"]) for one in sources)


SABOTAGES: Mapping[str, Callable[[], None]] = {
    "write twice": write_twice,
    "destroy twice": destroy_twice,
    "erase twice": erase_twice,
    "mark unasked": mark_unasked,
    "disable twice": disable_twice,
    "install another": install_another,
    "disable at once": disable_at_once,
}

if __name__ == "__main__":
    SABOTAGES[sys.argv[1]]()
    sys.exit(live(Path(sys.argv[2]), sys.argv[3:]))
