"""What the runs of a scenario come to, beside the bars, and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.evidence.methods import ALPHA, METHODS
from benchmarks.evidence.scenarios import CLIENTS, FAULTY, HEALTHY, RATE, Scenario

FALSE_IN_300 = 3
"""The most false rollbacks of 300 runs of one scenario; pooled, 1 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method's word on one run: the bucket of its first alarm, and what passed from the onset until then.

    `requests` are the failing client's; `missed` says that the alarm came before the onset or never.
    """

    scenario: str
    length: int
    seed: int
    method: str
    alarm: int | None
    missed: bool = False
    requests: int = 0
    seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A scenario's line: what each method did, the bar, and whether keyturn holds it."""

    cells: tuple[str, ...]
    bar: str
    holds: bool


def judged(scenario: Scenario, rows: Sequence[Row]) -> Judged:
    """The line of one scenario's rows."""
    by_method = {name: [row for row in rows if row.method == name] for name in METHODS}
    if scenario.faulty:
        cells = tuple(_delays(scenario, rows) for rows in by_method.values())
        bar, holds = _delay_bars(scenario, by_method["keyturn"])
        return Judged(cells=cells, bar=bar, holds=holds)
    runs = len(by_method["keyturn"])
    false = [sum(row.alarm is not None for row in rows) for rows in by_method.values()]
    # Of a few runs one may be false and prove nothing.
    most = max(FALSE_IN_300 * runs // 300, 1)
    return Judged(cells=tuple(f"{count} of {runs}" for count in false), bar=f"≤ {most}", holds=false[0] <= most)


def light_fault_bar(scenario: Scenario) -> tuple[float, str] | None:
    """Three times what the best test of the two rates needs, of a client that fails at 1 or 5 %.

    In requests; where a bucket holds many, in seconds and whole buckets, since nothing is seen before one ends.
    """
    if scenario.event != "one fails" or scenario.amount not in {0.01, 0.05}:
        return None
    p0, p1 = RATE, scenario.amount
    divergence = p1 * np.log(p1 / p0) + (1 - p1) * np.log((1 - p1) / (1 - p0))
    requests = float(3 * np.log(CLIENTS * 288 / ALPHA) / divergence)
    in_a_bucket = scenario.per_minute * scenario.length / 60
    if in_a_bucket < 10:
        return requests, "req"
    return float(np.ceil(requests / in_a_bucket)) * scenario.length, "s"


def found_soon(scenario: Scenario, rows: Sequence[Row]) -> bool:
    """What a quick run's few rotations can tell, where no median can be judged: that a failing version is always found, and
    the soonest time within twice the median's bars."""
    ours = [row for row in rows if row.method == "keyturn"]
    delays = (
        (scenario.bar_requests, [row.requests for row in ours]),
        (scenario.bar_seconds, [row.seconds for row in ours]),
    )
    return not any(row.missed for row in ours) and all(bar is None or min(each) <= 2 * bar for bar, each in delays)


def _delay_bars(scenario: Scenario, rows: Sequence[Row]) -> tuple[str, bool]:
    values = {"req": [row.requests for row in rows], "s": [row.seconds for row in rows]}
    bars, holds = [], not any(row.missed for row in rows)
    for quantile, bar, unit in (
        (50, scenario.bar_requests, "req"),
        (50, scenario.bar_seconds, "s"),
        (95, *(light_fault_bar(scenario) or (None, "req"))),
    ):
        if bar is not None:
            bars.append(f"{'median' if quantile == 50 else 'p95'} ≤ {bar:,.0f} {unit}")
            holds &= bool(np.percentile(values[unit], quantile) <= bar)
    return ", ".join(bars) or "found", holds


def _delays(scenario: Scenario, rows: Sequence[Row]) -> str:
    """Median and 95th percentile, in seconds of a busy client and in requests of any other."""
    missed = sum(row.missed for row in rows)
    busy = scenario.per_minute > 60
    values = [row.seconds if busy else row.requests for row in rows]
    text = f"{np.median(values):,.0f} / {np.percentile(values, 95):,.0f} {'s' if busy else 'req'}"
    if not busy and rows[0].method == "keyturn":
        text += f" ({np.median([row.seconds for row in rows]):,.0f} s)"
    return f"{text}, {missed} missed" if missed else text


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table as it stands in the README."""
    rows = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Delay against failure rate, a line a method, and beside its name how often it is false.

    keyturn's line has its 5th and 95th percentile; who rolls back every healthy rotation has no delay to speak of.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    one = [scenario for scenario in FAULTY if scenario.event == "one fails" and scenario.name.endswith("10/min")]
    rates = [scenario.amount for scenario in one]
    figure, axes = plt.subplots(figsize=(7.5, 5))
    names = {scenario.name for scenario in HEALTHY}
    for method, style in zip(METHODS, ("-", "--", "-.", ":", "-."), strict=True):
        false = [row.alarm is not None for row in rows if row.scenario in names and row.method == method]
        each = [[row.requests for row in rows if (row.scenario, row.method) == (s.name, method)] for s in one]
        label = f"{method} (false in {np.mean(false):.0%} of healthy ones)"
        axes.loglog(rates, [np.median(values) for values in each], style, marker="o", label=label)
        if method == "keyturn":
            least, most = ([float(np.percentile(values, quantile)) for values in each] for quantile in (5, 95))
            axes.fill_between(rates, least, most, alpha=0.15)
    bars = [(scenario.amount, scenario.bar_requests) for scenario in one if scenario.bar_requests is not None]
    at, most_requests = zip(*bars, strict=True)
    axes.scatter(at, most_requests, marker="_", s=300, color="black", label="bar", zorder=3)
    axes.set(
        title="One client of 50 fails from its first use on, at 10 requests a minute",
        xlabel="its failure rate",
        ylabel="its requests until the rollback, median",
        xticks=rates,
        xticklabels=[f"{rate:.0%}" for rate in rates],
    )
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
