"""TCP between a daemon and a part, through a small proxy that can cut it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from keyturn.demo.loopback import LOOPBACK

PIECE = 1 << 16


class Link(StrEnum):
    """What becomes of what is sent."""

    WHOLE = "whole"
    CUT = "cut"
    """Open connections end, and new ones too, at once."""
    SILENT = "silent"
    """Nothing arrives and nothing ends: only a timeout finds out."""


class Proxy:
    """One way from one daemon to one part."""

    def __init__(self, port: int, to: int) -> None:
        self.port = port
        self.to = to
        self.link = Link.WHOLE
        self.writers: set[asyncio.StreamWriter] = set()
        self.whole = asyncio.Event()
        self.whole.set()

    async def listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, LOOPBACK, self.port)

    def set(self, link: Link) -> None:
        """From now on, for connections that are open too."""
        self.link = link
        if link is Link.CUT:
            for writer in tuple(self.writers):
                writer.transport.abort()
        if link is Link.SILENT:
            self.whole.clear()
        else:
            self.whole.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            if self.link is Link.CUT:
                writer.transport.abort()
                return
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection(LOOPBACK, self.to)
                self.writers.add(back)
                try:
                    await asyncio.gather(self._pipe(reader, back), self._pipe(there, writer))
                finally:
                    self.writers.discard(back)
                    back.close()
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                await self.whole.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()


class Proxies:
    """All proxies of a run, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self, port: int, to: int) -> Proxy:
        """Listen on a port and pass everything on to another."""

        async def listen() -> Proxy:
            proxy = Proxy(port, to)
            self._servers.append(await proxy.listen())
            self._proxies.append(proxy)
            return proxy

        proxy: Proxy = self._wait(listen())
        return proxy

    def set(self, proxy: Proxy, link: Link) -> None:
        """Cut a way, silence it or make it whole."""

        async def change() -> None:
            proxy.set(link)

        self._wait(change())

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for proxy in self._proxies:
            proxy.set(Link.CUT)
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=5)

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)
