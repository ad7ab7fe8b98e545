"""Secrets by reference: read at each use, from places that nobody else can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.config import references, resolver
from keyturn.domain.errors import ConfigError


def private(file: Path, content: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(content)
    return file


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:` reads the daemon's environment, anew each time."""
    resolve = resolver(tmp_path)
    for value in ("one", "two"):
        monkeypatch.setenv("KEYTURN_TEST_SECRET", value)
        assert resolve("env:KEYTURN_TEST_SECRET").reveal() == value


def test_file_absolute_and_relative(tmp_path: Path) -> None:
    """`file:` takes absolute paths and those from the configuration's folder; an editor's line end is no part of it."""
    file = private(tmp_path / "secret", "s3cret with space \n")
    for reference in (f"file:{file}", "file:secret"):
        assert resolver(tmp_path)(reference).reveal() == "s3cret with space "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """What others can read is no secret any more; the mend is named, the content is not."""
    file = private(tmp_path / "secret", "hunter2")
    file.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        resolver(tmp_path)("file:secret")
    assert "hunter2" not in str(caught.value)


def test_a_file_that_systemd_has_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An access list that lets the unit's user read it shows as what the group may, a mode that no one can change there: any
    command reads it, in whatever environment. What the world may read, or the group write, is refused there too, and so is
    any such file elsewhere."""
    monkeypatch.setattr(references, "CREDENTIALS", tmp_path / "credentials")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    folder = tmp_path / "credentials" / "keyturn.service"
    folder.mkdir(parents=True)
    inside, outside = private(folder / "secret", "hunter2"), private(tmp_path / "secret", "hunter2")
    for mode, fine in ((0o440, True), (0o400, True), (0o444, False), (0o460, False), (0o450, False)):
        inside.chmod(mode)
        outside.chmod(mode)
        if fine:
            assert resolver(folder)(f"file:{inside}").reveal() == "hunter2"
        if mode != 0o400:
            with pytest.raises(ConfigError, match="others may use"):
                resolver(tmp_path)("file:secret")
        if not fine:
            with pytest.raises(ConfigError, match="others may use"):
                resolver(folder)("file:secret")
    outside.chmod(0o440)
    (folder / "link").symlink_to(outside)
    with pytest.raises(ConfigError, match="others may use"):
        resolver(folder)("file:link")


def test_a_file_that_systemd_has_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the unit is stopped its files are gone, and a command that needs one says that this is why."""
    monkeypatch.setattr(references, "CREDENTIALS", tmp_path)
    with pytest.raises(ConfigError, match=r"there is no file .* only while its unit runs"):
        resolver(tmp_path)("file:keyturn.service/secret")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("env:KEYTURN_NO_SUCH_VARIABLE", "the environment has no variable KEYTURN_NO_SUCH_VARIABLE"),
        ("file:nothing", "there is no file"),
        ("file:.", "cannot be read"),
        ("file:empty", "is empty"),
        ("file:binary", "is not UTF-8"),
        ("file:huge", "is longer than"),
        ("env:", "by reference only"),
        ("hunter2", "by reference only"),
        ("vault:hunter2", "by reference only"),
    ],
)
def test_reference_that_leads_nowhere(tmp_path: Path, reference: str, message: str) -> None:
    """Each says what is wrong; what may be a pasted secret is not repeated."""
    private(tmp_path / "empty", "\n")
    private(tmp_path / "huge", "x" * 70_000)
    private(tmp_path / "binary", "").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match=message) as caught:
        resolver(tmp_path)(reference)
    assert "hunter2" not in str(caught.value)
