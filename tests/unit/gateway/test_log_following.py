"""The usage source `access-log` on files that are rotated, truncated and read again after a restart."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.reading import Reader, append, at, line, source


def test_lines_are_counted_once_over_restarts_at_any_byte(tmp_path: Path) -> None:
    """Wherever a poll falls in the writing of the log, each line counts once, and a half line not before its end."""
    whole = "".join(line(i, kid=f"k{i}", matched="") for i in range(3)).encode()
    for cut in range(len(whole) + 1):
        log = tmp_path / f"{cut}.log"
        log.write_bytes(whole[:cut])
        reader = Reader(log)
        reader.poll(5)
        assert reader.uses == whole[:cut].count(b"\n")
        with log.open("ab") as file:
            file.write(whole[cut:])
        reader.poll(6)
        reader.poll(7)
        assert reader.by_key == {"k0": 1, "k1": 1, "k2": 1}


def test_the_same_cursor_gives_the_same_again(log: Path) -> None:
    """A batch whose commit was lost comes again, with what was added since."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(2)
    append(log, line(3))
    first = source(log).poll(reader.cursor, now=at(4))
    append(log, line(4))
    again = source(log).poll(reader.cursor, now=at(5))
    assert sum(report.successes for report in first.reports) == 1
    assert sum(report.successes for report in again.reports) == 2


class World:
    """A log that is written, rotated and polled in any order."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "access.log"
        self.log.touch()
        self.folder = folder
        self.written = 0
        self.late: list[Path] = []

    def siblings(self) -> list[Path]:
        numbered = [(int(p.name.rpartition(".")[2]), p) for p in self.folder.glob("access.log.*")]
        return [path for _, path in sorted(numbered)]

    def shift(self) -> Path:
        for path in reversed(self.siblings()):
            number = int(path.name.rpartition(".")[2])
            path.rename(path.with_name(f"access.log.{number + 1}"))
        return self.folder / "access.log.1"

    def write(self, path: Path | None = None) -> None:
        self.written += 1
        append(path or self.log, line(self.written / 100, kid=f"k{self.written}", matched=""))

    def step(self, name: str) -> None:
        if name == "write":
            self.write()
        elif name == "write late" and self.siblings():
            self.write(self.siblings()[0])  # a worker that has not reopened its log yet
        elif name == "rename":
            self.log.rename(self.shift())
            self.log.touch()
        elif name == "copytruncate":
            shutil.copyfile(self.log, self.shift())
            os.truncate(self.log, 0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.sampled_from(["write", "write", "write", "write late", "rename", "copytruncate", "poll", "poll"]),
        max_size=25,
    )
)
def test_rotation_neither_loses_nor_repeats(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Through any course of writes, renames, copies with truncation and restarts, each line counts exactly once."""
    world = World(tmp_path_factory.mktemp("rotated"))
    reader = Reader(world.log)
    copied = False
    for number, step in enumerate(steps):
        if step == "poll":
            reader.poll(100 + number)
        elif step == "write late" and copied:
            world.write()  # after a copy nobody writes to the sibling
        else:
            world.step(step)
            copied = step == "copytruncate" or (copied and step != "rename")
    reader.poll(200)
    reader.poll(201)
    assert reader.by_key == {f"k{number}": 1 for number in range(1, world.written + 1)}
    assert reader.watermark == at(200)


def test_a_truncation_under_the_reader_is_noticed(log: Path) -> None:
    """A log that was cut and written again past the old offset is not read from the middle of a line."""
    append(log, line(1), line(2))
    reader = Reader(log)
    reader.poll(3)
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)
    append(log, *(line(4, kid=f"n{i}", matched="") for i in range(5)))
    reader.poll(6)
    assert reader.uses == 7


def test_an_old_sibling_that_comes_back_is_not_counted_again(log: Path) -> None:
    """A rotated file that was read, moved away and put back adds nothing."""
    append(log, line(1))
    reader = Reader(log)
    reader.poll(2)
    rotated = log.rename(f"{log}.1")
    append(log, line(3))
    reader.poll(4)
    kept = rotated.read_bytes()
    rotated.unlink()
    reader.poll(5)
    rotated.write_bytes(kept)
    reader.poll(6)
    assert reader.uses == 2
