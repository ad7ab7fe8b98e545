"""What many threads are told at one time is written together, and each is answered when it is durable."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from keyturn.domain.errors import Refused, Transient
from keyturn.ports.records import Told
from keyturn.runtime.flush import Flush

WAIT = 30.0


def told(batch: str) -> Told:
    return Told(source="log", rows=[], watermark=None, batch=batch)


class Disk:
    """A store whose writes wait until they are let go."""

    def __init__(self) -> None:
        self.written: list[list[str | None]] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.failure: Exception | None = None

    def write(self, together: Sequence[Told]) -> Sequence[bool | Refused]:
        self.begun.release()
        assert self.go_on.acquire(timeout=WAIT)
        if self.failure is not None:
            raise self.failure
        self.written.append([one.batch for one in together])
        return [Refused("reused") if one.batch == "reused" else one.batch != "again" for one in together]


def queued(flush: Flush, threads: ThreadPoolExecutor, disk: Disk, *batches: str) -> list[Future[bool]]:
    """The first is being written, the others wait for their turn."""
    first = threads.submit(flush.add, told(batches[0]))
    assert disk.begun.acquire(timeout=WAIT)
    others = []
    for batch in batches[1:]:
        others.append(threads.submit(flush.add, told(batch)))
        while len(flush._queue) < len(others):  # one after another, so that their order is known
            assert not others[-1].done()
    return [first, *others]


def test_those_that_wait_are_written_together() -> None:
    """In the order in which they came, each with an answer of its own, and none before its write has ended."""
    disk = Disk()
    flush = Flush(disk.write)
    with ThreadPoolExecutor(8) as threads:
        answers = queued(flush, threads, disk, "a", "b", "again", "reused", "c")
        assert not any(answer.done() for answer in answers)
        disk.go_on.release()
        assert answers[0].result(WAIT) is True
        assert disk.begun.acquire(timeout=WAIT)
        assert not any(answer.done() for answer in answers[1:])
        disk.go_on.release()
        assert answers[1].result(WAIT) is True
        assert answers[2].result(WAIT) is False
        with pytest.raises(Refused, match="reused"):
            answers[3].result(WAIT)
        assert answers[4].result(WAIT) is True
    assert disk.written == [["a"], ["b", "again", "reused", "c"]]


@pytest.mark.parametrize("failure", [Transient("the disk is full"), ZeroDivisionError("the disk is full")])
def test_failed_write_is_told_to_all_that_were_in_it(failure: Exception) -> None:
    """None of them is durable, whatever it was that failed; what comes after is written on its own."""
    disk = Disk()
    flush = Flush(disk.write)
    with ThreadPoolExecutor(8) as threads:
        answers = queued(flush, threads, disk, "a", "b", "c")
        disk.go_on.release()
        assert answers[0].result(WAIT) is True
        assert disk.begun.acquire(timeout=WAIT)
        disk.failure = failure
        disk.go_on.release()
        for answer in answers[1:]:
            with pytest.raises(type(failure), match="full"):
                answer.result(WAIT)
        disk.failure = None
        disk.go_on.release()
        assert flush.add(told("d")) is True
    assert disk.written == [["a"], ["d"]]


def test_write_waits_for_what_is_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is under way goes along with one that is ready."""
    monkeypatch.setattr("keyturn.runtime.flush.MOMENT", WAIT)
    disk = Disk()
    flush = Flush(disk.write)
    disk.go_on.release()
    with ThreadPoolExecutor(8) as threads, flush.arriving(), flush.arriving():
        first = threads.submit(flush.add, told("a"))
        while not flush._queue:
            assert not first.done()
        assert threads.submit(flush.add, told("b")).result(WAIT) is True
        assert first.result(WAIT) is True
    assert disk.written == [["a", "b"]]
