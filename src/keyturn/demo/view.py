"""What a person sees while a scenario runs: a live panel on a terminal, one line a change anywhere else."""

import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from keyturn.demo.daemon import Status

COUNT_EVERY = 1.0
"""Seconds between two plain lines that count refusals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """One client as it is shown."""

    name: str
    version: str
    requests: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """All that is shown at one moment."""

    status: Status | None = None
    clients: tuple[ClientRow, ...] = ()
    failed: int = 0
    note: str = ""


@dataclass(slots=True)
class _Shown:
    """What plain lines have told already."""

    standing: tuple[str, str, str] = ("", "", "")
    versions: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    failed: int = 0
    counted_at: float = 0.0


class View:
    """Shows frames as they come, and lines that stay."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console or Console(file=sys.stdout, highlight=False)
        self._began = time.monotonic()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._shown = _Shown()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        line = f"[{self._title} {time.monotonic() - self._began:5.1f} s] {text}"
        self._console.print(Text(line), soft_wrap=True)

    def show(self, frame: Frame) -> None:
        """Replace the panel, or tell what has changed."""
        if self._live is not None:
            self._live.update(self._panel(frame), refresh=True)
        else:
            self._tell(frame)

    def _panel(self, frame: Frame) -> Group:
        status = frame.status
        head = Text(f"{self._title}  {time.monotonic() - self._began:.0f} s  ", style="bold")
        head.append((status.phase or "waiting for its time").upper() if status else "keyturn is away", style="cyan")
        table = Table("client", "version", "requests", "refused", box=None, pad_edge=False)
        for client in frame.clients:
            style = "red" if client.refused else None
            table.add_row(client.name, client.version, str(client.requests), str(client.refused), style=style)
        requests = sum(client.requests for client in frame.clients)
        refused = sum(client.refused for client in frame.clients)
        table.add_row("all", "", str(requests), str(refused), style="bold")
        return Group(head, Text(status.headline if status else ""), table, Text(frame.note, style="yellow"))

    def _tell(self, frame: Frame) -> None:
        shown, status = self._shown, frame.status
        if status is not None:
            standing = (status.phase, status.reason, status.hold)
            if standing != shown.standing:
                shown.standing = standing
                self.say(status.headline)
        moved = [c for c in frame.clients if c.version and shown.versions.get(c.name) != c.version]
        for version in sorted({client.version for client in moved}):
            names = [client.name for client in moved if client.version == version]
            self.say(f"on {version}: {', '.join(names)}")
        shown.versions |= {client.name: client.version for client in moved}
        refused = sum(client.refused for client in frame.clients)
        news = (refused, frame.failed) != (shown.refused, shown.failed)
        if news and time.monotonic() - shown.counted_at >= COUNT_EVERY:
            shown.refused, shown.failed, shown.counted_at = refused, frame.failed, time.monotonic()
            requests = sum(client.requests for client in frame.clients)
            self.say(f"{requests} requests, {refused} refused, {frame.failed} failed")
