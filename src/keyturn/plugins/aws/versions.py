"""How keyturn marks versions of a secret: ids and staging labels, and what one DescribeSecret tells.

Secrets Manager keeps a version as long as some label points at it; versions without one are deprecated and pruned. Each
label sits on one version at most. keyturn uses labels of its own alone:

    keyturn-<token>                    our copy `token`: a staged value, or the kept version that readers got
    keyturn-promoted:<copy>:<token>    written for a promote that has not ended yet; gone when it has
    keyturn-vacant:                    on the vacant version while it is being written

Never AWSPENDING: a put with that label would take it from whoever holds it. Tokens have no colon, so the three kinds
cannot be mistaken for one another. Labels go with their versions; a mark is a tag of the secret, which stays:

    keyturn:compromised:<key id>       since when the version with this public key id is marked compromised
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

CURRENT = "AWSCURRENT"
PREVIOUS = "AWSPREVIOUS"
PENDING = "AWSPENDING"

VACANT_LABEL = "keyturn-vacant:"
MARK = "keyturn:compromised:"
TAGS = 50
"""So many tags a secret may have; AWS's own (`aws:…`) do not count."""
_COPY = "keyturn-"
_PROMOTED = "keyturn-promoted:"


def copy_label(token: str) -> str:
    """The label of our copy `token`."""
    return f"{_COPY}{token}"


def promotion_label(copy: str, token: str) -> str:
    """The label that keeps a promote's version from being pruned until readers get it; it names the copy, so that
    removing the copy finds what an interrupted promote left."""
    return f"{_PROMOTED}{copy}:{token}"


def is_promotion(label: str) -> bool:
    """Whether a label marks the version of a promote."""
    return label.startswith(_PROMOTED)


def copy_of(label: str) -> str | None:
    """The token of the copy whose value a labelled version holds; None when the label is not ours or names no copy."""
    if is_promotion(label):
        return label.removeprefix(_PROMOTED).partition(":")[0]
    if label.startswith(_COPY) and ":" not in label:
        return label.removeprefix(_COPY)
    return None


def copy_id(arn: str, token: str) -> str:
    """The version id of the staged copy `token`: the same for each rerun, so a repeated put changes nothing."""
    return _digest("copy", arn, token)


def promotion_id(arn: str, token: str, expected: str | None) -> str:
    """The version id that a promote installs over `expected`: its first half tells the token, its second half what it
    replaces. So a rerun finds its own work by token alone, and no two attempts share an id."""
    return _digest("promotion", arn, token)[:32] + _digest("over", arn, token, expected)[:32]


def promoted_by(version_id: str, arn: str, token: str) -> bool:
    """Whether a promote with `token` wrote this version."""
    return version_id.startswith(_digest("promotion", arn, token)[:32])


def vacant_id(arn: str) -> str:
    """The version id of the vacant version, which holds AWSCURRENT in a secret that has no value for readers yet."""
    return _digest("vacant", arn)


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretState:
    """What one DescribeSecret tells; the vendor shows no values there."""

    arn: str
    stages: Mapping[str, frozenset[str]]
    """The labels on each labelled version."""
    native_rotation: str | None = None
    """Who rotates the secret besides us, when AWS's own rotation is switched on."""
    owning_service: str | None = None
    primary_region: str | None = None
    replicas: Mapping[str, str] = field(default_factory=dict)
    """The status of each replica by its region."""
    kms_key_id: str | None = None
    tags: frozenset[str] = frozenset()
    """The keys of the secret's tags."""

    @property
    def marked(self) -> frozenset[str]:
        """Public key ids that are marked compromised."""
        return frozenset(key.removeprefix(MARK) for key in self.tags if key.startswith(MARK))

    @property
    def taggable(self) -> bool:
        """Whether there is room for another tag."""
        return len([key for key in self.tags if not key.startswith("aws:")]) < TAGS

    def holder(self, label: str) -> str | None:
        """The id of the version that a label sits on."""
        return next((version for version, labels in self.stages.items() if label in labels), None)

    @property
    def serving(self) -> str | None:
        """The id of the version that readers get; the vacant version is nothing to them."""
        holder = self.holder(CURRENT)
        return None if holder == vacant_id(self.arn) else holder

    @property
    def copies(self) -> frozenset[str]:
        """Tokens of the copies whose value a label of ours keeps, an interrupted promote's included: its caller then
        sees what is left, and removes it."""
        tokens = (copy_of(label) for label, _ in self.labels())
        return frozenset(token for token in tokens if token is not None)

    def copy_holder(self, token: str) -> str | None:
        """The id of a version that holds the value of our copy `token`."""
        exact = self.holder(copy_label(token))
        return exact or next((version for label, version in self.labels() if copy_of(label) == token), None)

    @property
    def former(self) -> Iterator[str]:
        """Ids of versions that readers got before: the last one by AWS's label, then those that we keep; what was staged
        here nobody got as it lies."""
        previous = self.holder(PREVIOUS)
        if previous is not None:
            yield previous
        for label, version in self.labels():
            token = copy_of(label)
            if token is not None and not is_promotion(label) and version != copy_id(self.arn, token):
                yield version

    def labels(self) -> Iterator[tuple[str, str]]:
        """Each label with the version it sits on, in a stable order."""
        return iter(sorted((label, version) for version, labels in self.stages.items() for label in labels))
