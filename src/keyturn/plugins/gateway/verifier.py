"""One verifier: a node that is changed through its table and asked as a client asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress

from keyturn.domain.errors import Invalid, Transient
from keyturn.domain.observations import Acceptance, Entry
from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway.issuer_options import NginxMapOptions, NodeOptions
from keyturn.plugins.gateway.key_format import mint_key, parse_kid
from keyturn.plugins.gateway.nginx_node import NginxNode, NodeSettings
from keyturn.plugins.gateway.nginx_reload import Rules
from keyturn.plugins.gateway.nginx_table import KeyTable
from keyturn.plugins.gateway.nginx_table_file import failures
from keyturn.plugins.gateway.presenter import Answer, Place, Presenter

_PRESENTABLE = re.compile(r"[!-~]{1,4096}")
_TOO_OPEN = 0o037


class Verifier:
    """One nginx node of an authority."""

    def __init__(self, node: NodeOptions, options: NginxMapOptions) -> None:
        timeout = options.timeout.total_seconds()
        self.name = node.name
        self.node = NginxNode(
            NodeSettings(
                name=node.name,
                table=node.table,
                pid_file=node.pid_file,
                nginx=node.nginx,
                config=node.config,
                prefix=node.prefix,
                timeout=timeout,
                keepalive_min_timeout=options.keepalive_min_timeout.total_seconds(),
            )
        )
        place = Place(address=node.address, path=options.probe_path, header=options.header, timeout=timeout)
        self._presenter = Presenter(place)

    def __repr__(self) -> str:
        return f"Verifier({self.name!r})"

    def probe(self, key_id: str, value: SecretValue, mark: Callable[[], str | None]) -> Acceptance:
        """How the node treats the value, as the port's `probe` says; `mark` makes one presentation's header."""
        if _PRESENTABLE.fullmatch(value.reveal()) is None:
            raise Invalid(f"the value of key {key_id} cannot be presented in a header")
        unknown: Transient | None = None
        before = None
        try:
            before = self.node.standing()
            if before.rules in (Rules.AMBIGUOUS, Rules.OWED):
                self.node.settle()
        except Transient as failure:
            unknown = failure
        answers = self._presenter.present(value, mark)
        if Answer.NONE in answers:
            return Acceptance.UNREACHABLE
        if unknown is not None or before is None:
            # It answers, and yet nobody can say by which table: a wrong pid file, say.
            raise unknown or Transient(f"{self.name}: the standing of its table is unknown")
        after = self.node.standing()
        # Loaded before the presentations and the same after: both were judged by this state of the table.
        if before.rules is not Rules.LOADED or after.rules is not Rules.LOADED or before.identity != after.identity:
            return Acceptance.UNSETTLED
        said = set(answers) - {Answer.GONE}
        if said == {Answer.ACCEPTED}:
            return Acceptance.ACCEPTED
        if said == {Answer.REFUSED}:
            disabled = after.table.lists(key_id, value) is Entry.DISABLED
            return Acceptance.DISABLED if disabled else Acceptance.REFUSED
        return Acceptance.UNSETTLED

    def check(self, mark: Callable[[str], str | None] | None) -> Sequence[str]:
        """What would stop a change or blind a probe here. How an accepted key is answered is known only by presenting one:
        a key of the table that keyturn has made, under a mark for it; without `mark` none, it would be a client's use."""
        table = self.node.table()
        lines = []
        path = self.node.file.path
        with failures(path):
            mode = path.stat().st_mode & 0o777
        if mode & _TOO_OPEN:
            lines.append(f"{path}: has mode {mode:04o}; keys belong in a file of mode 0600 or 0640")
        self.node.check()
        heard = [self._presenter.hear(mint_key("check"))]
        answer = heard[0].answer
        if answer is Answer.ACCEPTED:
            lines.append("a key that nobody has is accepted at probe_path; point it at a path that needs a key")
        elif answer is not Answer.REFUSED:
            lines.append("gives no answer that tells at its address and probe_path")
        elif mark is not None and (made := _made_by_keyturn(table)) is not None:
            key_id, value = made
            heard.append(self._presenter.hear(value, mark(key_id)))
        lines += [
            f"an answer at probe_path {cut}, so that no connection can be held on which a key is tried again; "
            "point it at a path with a short answer"
            for cut in dict.fromkeys(one.cut for one in heard if one.cut)
        ]
        return lines

    def close(self) -> None:
        self._presenter.close()


def _made_by_keyturn(table: KeyTable) -> tuple[str, SecretValue] | None:
    """A key that is accepted here; none that somebody else has written into the table."""
    for key_id, value in table.active():
        with suppress(Invalid):
            if parse_kid(value) == key_id:
                return key_id, value
    return None
