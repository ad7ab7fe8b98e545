"""The usage source `access-log` on the log that a real nginx writes."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import UTC, datetime, timedelta

from tests.integration.gateway.bench import Bench, present, surroundings, until, until_said

from keyturn.demo.gateway import TableKey
from keyturn.domain.observations import Acceptance
from keyturn.plugins.gateway import access_log
from keyturn.plugins.gateway.key_format import format_key, mint_key, parse_kid
from keyturn.plugins.gateway.log_source import AccessLog
from keyturn.ports.usage import UsageReport


def source(bench: Bench) -> AccessLog:
    options = {
        "files": [str(node.access_log) for node in bench.nodes.values()],
        "clients": {"127.0.0.7": "billing"},
        "lag": "1s",
        "probe_secret": "env:PROBE",
    }
    return access_log("nodes", options, surroundings())


class Usage:
    """Follows the log as the daemon does."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._cursor: str | None = None
        self.watermark: datetime | None = None
        self.reports: list[UsageReport] = []

    def poll(self) -> None:
        batch = source(self._bench).poll(self._cursor, now=datetime.now(UTC))
        self._cursor, self.watermark = batch.cursor, batch.watermark
        self.reports += batch.reports

    def poll_past(self, moment: datetime) -> None:
        """Until everything up to a moment is known."""

        def past() -> bool:
            self.poll()
            return self.watermark is not None and self.watermark > moment

        until(past, what="the watermark has passed")

    @property
    def seen(self) -> Counter[tuple[str | None, str, bool, bool]]:
        counts: Counter[tuple[str | None, str, bool, bool]] = Counter()
        for report in self.reports:
            counts[report.key_id, report.client, report.matched, True] += report.successes
            counts[report.key_id, report.client, report.matched, False] += report.failures
        return +counts


def test_uses_are_told_as_they_were(own_bench: Bench) -> None:
    """Accepted, refused and unknown presentations come out with key, client and whether the key was really held."""
    (node,) = own_bench.nodes.values()
    active, disabled, unknown = mint_key("test"), mint_key("test"), mint_key("test")
    node.write_table(
        [
            TableKey(value=active.reveal(), kid=parse_kid(active)),
            TableKey(value=disabled.reveal(), kid=parse_kid(disabled), state="disabled"),
        ]
    )
    node.reload()
    look_alike = format_key(env="test", kid=parse_kid(active), random="X" * 40)
    assert present(node, active.reveal(), address="127.0.0.7") == 200
    assert present(node, active.reveal()) == 200
    assert present(node, disabled.reveal(), address="127.0.0.7") == 401
    assert present(node, unknown.reveal()) == 401
    assert present(node, look_alike.reveal()) == 401
    assert present(node, "garbage") == 401
    usage = Usage(own_bench)
    usage.poll_past(datetime.now(UTC))
    assert usage.seen == {
        (parse_kid(active), "billing", True, True): 1,
        (parse_kid(active), "unmapped", True, True): 1,
        (parse_kid(disabled), "billing", True, False): 1,
        (parse_kid(unknown), "unmapped", False, False): 1,
        (parse_kid(active), "unmapped", False, False): 1,
        (None, "unmapped", False, False): 1,
    }


def test_probes_are_left_out_and_cannot_be_aped(own_bench: Bench) -> None:
    """A whole life's probes leave no use behind; a client that bears a mark, made up or copied, is still counted."""
    (node,) = own_bench.nodes.values()
    issuer = own_bench.issuer()
    minted = issuer.mint("probes")
    issuer.install(minted.key_id, minted.value, issuer.verifiers())
    until_said(issuer, minted, Acceptance.ACCEPTED)
    issuer.disable(minted.key_id, issuer.verifiers())
    until_said(issuer, minted, Acceptance.DISABLED)
    issuer.enable(minted.key_id, issuer.verifiers())
    until_said(issuer, minted, Acceptance.ACCEPTED)
    usage = Usage(own_bench)
    usage.poll_past(datetime.now(UTC))
    assert usage.seen == {}
    marks = [line.split('"probe":"')[1].split('"')[0] for line in node.access_log.read_text().splitlines()]
    copied = next(mark for mark in reversed(marks) if mark)
    value = minted.value.reveal()
    for forged in (copied, copied[:-1] + ("0" if copied[-1] != "0" else "1"), "1", ""):
        assert present(node, value, probe=forged) == 200
    usage.poll_past(datetime.now(UTC))
    assert usage.seen == {(minted.key_id, "unmapped", True, True): 4}


def test_the_log_is_followed_through_nginxs_own_rotation(own_bench: Bench) -> None:
    """Renamed and reopened by signal under traffic, the log gives each request once, and the watermark goes on."""
    (node,) = own_bench.nodes.values()
    key = mint_key("test")
    node.write_table([TableKey(value=key.reveal(), kid=parse_kid(key))])
    node.reload()
    usage = Usage(own_bench)
    sent = 0
    for rotation in range(3):
        for _ in range(5):
            present(node, key.reveal(), address="127.0.0.7")
            sent += 1
        usage.poll()
        node.access_log.rename(f"{node.access_log}.{rotation}")
        present(node, key.reveal(), address="127.0.0.7")  # still into the renamed file
        sent += 1
        usage.poll()
        node.part.send(signal.SIGUSR1)
        until(node.access_log.exists, what="nginx reopened its log")
    present(node, key.reveal(), address="127.0.0.7")
    sent += 1
    usage.poll_past(datetime.now(UTC) + timedelta(milliseconds=1))
    assert usage.seen == {(parse_kid(key), "billing", True, True): sent}
    assert source(own_bench).check() == []
