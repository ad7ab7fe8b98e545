"""API keys that gateways check: the issuer `api-key` and the usage source `access-log`."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.plugins.gateway.issuer import ApiKeyAuthority
from keyturn.plugins.gateway.issuer_options import AuthorityOptions
from keyturn.plugins.gateway.log_options import AccessLogOptions
from keyturn.plugins.gateway.log_source import AccessLog
from keyturn.plugins.options import read_options
from keyturn.ports.plugin import Surroundings


def api_key(name: str, options: Mapping[str, object], surroundings: Surroundings) -> ApiKeyAuthority:
    """Makes the authority of the issuer `api-key`."""
    return ApiKeyAuthority(name, read_options(AuthorityOptions, options, where=name), surroundings)


def access_log(name: str, options: Mapping[str, object], surroundings: Surroundings) -> AccessLog:
    """Makes the usage source `access-log`."""
    return AccessLog(name, read_options(AccessLogOptions, options, where=name), surroundings)
