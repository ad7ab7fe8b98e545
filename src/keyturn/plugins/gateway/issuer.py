"""The issuer `api-key`: keyturn makes the keys, and gateways check them against a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta

from keyturn.domain.errors import Absent, ConfigError, Failure, Invalid, Transient
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.issuer_options import AuthorityOptions, CredentialOptions
from keyturn.plugins.gateway.key_format import mint_key, parse_kid
from keyturn.plugins.gateway.nginx_table import KeyTable
from keyturn.plugins.gateway.probe_mark import make_mark, usable_secret
from keyturn.plugins.gateway.verifier import Verifier
from keyturn.plugins.options import read_options
from keyturn.ports.issuer import Issued, Minted, ValueOrigin
from keyturn.ports.plugin import Surroundings


class ApiKeyAuthority:
    """The gateways that check API keys."""

    def __init__(self, name: str, options: AuthorityOptions, surroundings: Surroundings) -> None:
        self.name = name
        self._options = options
        self._surroundings = surroundings
        self._verifiers = {node.name: Verifier(node, options.verifiers) for node in options.verifiers.nodes}

    def __repr__(self) -> str:
        return f"ApiKeyAuthority({self.name!r})"

    def credential(self, options: object) -> ApiKeyIssuer:
        read = read_options(CredentialOptions, options, where="issuer")
        # A change goes from node to node, each within the node's own time.
        timeout = self._options.verifiers.timeout * len(self._verifiers)
        return ApiKeyIssuer(
            authority=self.name, verifiers=self._verifiers, env=read.env, mark=self._mark, timeout=timeout
        )

    def check(self) -> Sequence[str]:
        """Everything short of a change: tables, nginx, whether nodes refuse a key that nobody has, and whether a connection
        can be held to them."""
        lines = []
        mark = None
        if self._options.probe_secret is None:
            lines.append(f"{self.name}: set probe_secret, else access logs count keyturn's own probes as uses")
        else:
            try:
                self._mark("check")
                mark = self._mark
            except Failure as failure:
                lines.append(f"{self.name}: {failure.message}")
        for name, verifier in self._verifiers.items():
            try:
                lines += [f"{name}: {line}" for line in verifier.check(mark)]
            except Failure as failure:
                lines.append(f"{name}: {failure.message}")
        return lines

    def close(self) -> None:
        for verifier in self._verifiers.values():
            verifier.close()

    def _mark(self, key_id: str) -> str | None:
        """The header that marks one presentation as ours."""
        reference = self._options.probe_secret
        if reference is None:
            return None
        try:
            secret = usable_secret(self._surroundings.resolve(reference), where=f"{self.name}.probe_secret")
        except ConfigError as error:
            # Read anew each time, so it can be away for a moment.
            raise Transient(str(error)) from None
        return make_mark(secret, key_id, now=self._surroundings.clock.now())


class ApiKeyIssuer:
    """One API key's life at its gateways."""

    origin = ValueOrigin.KEYTURN

    def __init__(
        self,
        *,
        authority: str,
        verifiers: Mapping[str, Verifier],
        env: str,
        mark: Callable[[str], str | None],
        timeout: timedelta,
    ) -> None:
        self.timeout = timeout
        self._authority = authority
        self._verifiers = verifiers
        self._env = env
        self._mark = mark
        # Every credential of this authority stands in the same tables.
        self.lease: str | None = f"api-key/{authority}"

    def __repr__(self) -> str:
        return f"ApiKeyIssuer({self._authority!r}, env={self._env!r})"

    def verifiers(self) -> Sequence[str]:
        return tuple(self._verifiers)

    def mint(self, token: str) -> Minted:  # noqa: ARG002  # nothing outside changes, so nothing needs the mark
        value = mint_key(self._env)
        return Minted(key_id=parse_kid(value), value=value)

    def issued(self) -> Sequence[Issued]:
        return ()

    def room(self) -> int | None:
        return None

    def key_id(self, value: SecretValue) -> str:
        return parse_kid(value)

    def install(self, key_id: str, value: SecretValue, verifiers: Collection[str]) -> None:
        if parse_kid(value) != key_id:
            raise Invalid(f"the value to install is not that of key {key_id}")
        self._change(verifiers, lambda table: table.install(key_id, value))

    def enable(self, key_id: str, verifiers: Collection[str]) -> None:
        self._change(verifiers, lambda table: table.enable(key_id))

    def disable(self, key_id: str, verifiers: Collection[str]) -> None:
        self._change(verifiers, lambda table: table.disable(key_id))

    def revoke(self, key_id: str, verifiers: Collection[str]) -> None:
        if re.fullmatch(r"[A-Za-z0-9]{1,100}", key_id) is None:
            raise Invalid("not a key id of this issuer: letters and digits only")
        self._change(verifiers, lambda table: table.revoke(key_id))

    def entries(self, verifier: str) -> Mapping[str, Entry]:
        return self._named(verifier).node.table().entries()

    def probe(self, verifier: str, key_id: str, value: SecretValue) -> Acceptance:
        return self._named(verifier).probe(key_id, value, lambda: self._mark(key_id))

    def _named(self, verifier: str) -> Verifier:
        try:
            return self._verifiers[verifier]
        except KeyError:
            raise Absent(f"{self._authority} has no verifier {verifier!r}") from None

    def _change(self, verifiers: Collection[str], edit: Callable[[KeyTable], KeyTable]) -> None:
        """Edit the table of each of these verifiers, of all that can be reached even if one fails."""
        first: Failure | None = None
        for named in [self._named(verifier) for verifier in verifiers]:
            try:
                named.node.change(edit)
            except Failure as failure:
                first = first or failure
        if first is not None:
            raise first
