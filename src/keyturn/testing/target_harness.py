"""What the clauses on targets start from: the harness that a plugin's author writes, and the flags."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import ClassVar

import pytest

from keyturn.ports.backend import Target
from keyturn.testing.trouble import Trouble


def new_value() -> str:
    """A value that shows up nowhere by chance."""
    return f"value-{secrets.token_hex(16)}"


def new_token() -> str:
    """A token that nobody used."""
    return f"token-{secrets.token_hex(8)}"


class TargetHarness(ABC):
    """One target that is empty at first, and a back door to it that does not use the plugin."""

    @abstractmethod
    def target(self) -> Target:
        """A new instance of the plugin for the same place, as after a restart: it remembers nothing."""

    @abstractmethod
    def readers_get(self) -> str | None:
        """What an application gets that reads the target now, past every cache; None when it gets nothing."""

    @abstractmethod
    def overwrite(self, value: str) -> None:
        """Another's hand: make readers get `value` from now on."""

    def overwrite_with_no_text(self) -> None:
        """Another's hand: make readers get what is no text from now on: a number, an object, bytes, whatever the backend
        takes."""
        pytest.skip("this backend takes nothing but text")

    def overwrite_with_no_fields(self) -> None:
        """Another's hand: take from readers the credential with all that stands beside it, from now on: plain text in place
        of the document, or the document deleted."""
        pytest.skip("this harness has a credential with nothing beside it")

    def beside(self) -> object:
        """What readers get along with the credential: the other fields of its document, of which `overwrite` writes some."""
        pytest.skip("this harness has a credential with nothing beside it")

    def in_trouble(self, trouble: Trouble) -> Target:
        """A new instance of the plugin for the same place, each of whose calls meets this trouble. Those that
        `target` makes afterwards are well again."""
        pytest.skip(f"this harness cannot cause: {trouble}")

    def stored(self) -> set[str]:
        """Every value that the backend still holds at this place, copies and history included. Asked for only where
        `erases_copies` or `erases_history` is set."""
        pytest.skip("this harness does not see what is stored")


class TargetClauses:
    """What every group of clauses uses."""

    stages_when_empty: ClassVar[bool] = True
    """A target that serves nothing can hold copies. Not so where the backend gives the first version that it ever
    stores to readers, as AWS Secrets Manager does: `stage` then raises `Invalid` there."""
    erases_copies: ClassVar[bool] = True
    """`remove` deletes the copy's data at once, not only our name for it."""
    erases_history: ClassVar[bool] = False
    """`remove(served=…)` destroys what the backend's own history holds of a version."""

    @pytest.fixture
    def harness(self) -> TargetHarness:
        """The plugin at an empty target of its own."""
        raise NotImplementedError("override the fixture `harness`")

    @pytest.fixture
    def target(self, harness: TargetHarness) -> Target:
        return harness.target()

    def begin(self, harness: TargetHarness) -> str | None:
        """Make the target one that can hold copies; returns what a first promote expects."""
        if self.stages_when_empty:
            return None
        harness.overwrite(new_value())
        return served(harness.target())


def served(target: Target) -> str:
    """The id of what readers get, where they get something."""
    serving = target.view().serving
    assert serving is not None
    return serving
