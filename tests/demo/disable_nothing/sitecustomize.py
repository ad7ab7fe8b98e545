"""Breaks the daemon from outside: it takes no key away, and believes that it has."""

import sys

if "serve" in sys.orig_argv:
    from collections.abc import Collection, Mapping

    from keyturn.domain.observations import Acceptance, Entry
    from keyturn.domain.secret_value import SecretValue
    from keyturn.plugins.gateway.issuer import ApiKeyIssuer

    taken: set[str] = set()
    probe, entries = ApiKeyIssuer.probe, ApiKeyIssuer.entries

    def take(self: ApiKeyIssuer, key_id: str, verifiers: Collection[str]) -> None:
        taken.add(key_id)

    def pretend(self: ApiKeyIssuer, verifier: str, key_id: str, value: SecretValue) -> Acceptance:
        return Acceptance.DISABLED if key_id in taken else probe(self, verifier, key_id, value)

    def claim(self: ApiKeyIssuer, verifier: str) -> Mapping[str, Entry]:
        return {**entries(self, verifier), **dict.fromkeys(taken, Entry.REVOKED)}

    ApiKeyIssuer.disable = take  # type: ignore[method-assign]
    ApiKeyIssuer.revoke = take  # type: ignore[method-assign]
    ApiKeyIssuer.probe = pretend  # type: ignore[method-assign]
    ApiKeyIssuer.entries = claim  # type: ignore[method-assign]
