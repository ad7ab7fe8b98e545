"""The options that docs/usage-sources.md shows are read by the plugins it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from keyturn.domain.secret_value import SecretValue
from keyturn.plugins.gateway import access_log
from keyturn.plugins.postgres import postgres_logins
from keyturn.plugins.vault import vault_audit_log
from keyturn.ports.plugin import Surroundings
from keyturn.ports.usage import UsageSource
from keyturn.testing.fakes import FakeClock

PAGE = Path(__file__).parents[3] / "docs" / "usage-sources.md"
MAKERS: dict[str, Callable[..., UsageSource]] = {
    "access-log": access_log,
    "postgres-logins": postgres_logins,
    "vault-audit-log": vault_audit_log,
}
EXAMPLES = [
    options
    for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    if "type" in (options := yaml.safe_load(text))
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["files"][0]))
def test_example_is_accepted(example: dict[str, object]) -> None:
    """Copied as it stands, it makes the source, of the kind and sight that the table says."""
    surroundings = Surroundings(clock=FakeClock(), resolve=lambda _: SecretValue("secret"))
    options = dict(example)
    named = str(options.pop("type"))
    source: UsageSource = MAKERS[named]("example", options, surroundings)
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{named}` |")]
    assert source.kind.replace("_", " ") in row
    assert f"| {'yes' if source.sees_failures else 'no'} |" in row


def test_every_source_has_an_example() -> None:
    """None is left to guess."""
    assert {str(example["type"]) for example in EXAMPLES} == set(MAKERS)
