"""The session that requests to Vault go through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import default_headers

from keyturn.plugins.vault.in_time import IN_TIME

ALWAYS = {name: str(value) for name, value in default_headers().items()}
CONNECTIONS = 32


class Session(requests.Session):
    """Sends a request as it is told to and adds nothing: no cookie, no password, no second try, no redirect, which would
    carry the token to wherever it points. That leaves out what requests does around a request, which takes as long as to
    send it."""

    def __init__(self, address: str, ca_bundle: str | None) -> None:
        super().__init__()
        # Proxies and authorities of the environment are looked up once, not at each request; a .netrc must add no password.
        found = self.merge_environment_settings(address, {}, False, ca_bundle or True, None)
        self.proxies, self.verify, self.trust_env = found["proxies"], found["verify"], False
        # One for each of the daemon's threads: what the pool has no room for is thrown away after one request.
        for scheme in ("http://", "https://"):
            self.mount(scheme, _OneServer(pool_maxsize=CONNECTIONS))

    def request(  # type: ignore[override]  # what hvac asks of a session
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, int] | None = None,
        json: Mapping[str, object] | None = None,
        **how: Any,
    ) -> requests.Response:
        prepared = requests.PreparedRequest()
        prepared.method = method.upper()
        prepared.url = f"{url}?{urlencode(params)}" if params else url
        prepared.headers = CaseInsensitiveDict({**ALWAYS, **headers})
        if json is not None:
            prepared.body = _dump(json)
            prepared.headers["Content-Length"] = str(len(prepared.body))
            prepared.headers.setdefault("Content-Type", "application/json")
        del how["allow_redirects"]
        response = self.get_adapter(url).send(prepared, **how)
        response.content  # noqa: B018 - read while its failures are still requests' own
        return response


class _OneServer(HTTPAdapter):
    """Looks for the pool of connections once: all requests go to one server, by the same proxies and authorities."""

    _found: Any = None

    def get_connection_with_tls_context(self, *request: Any, **how: Any) -> Any:
        if self._found is None:
            self._found = super().get_connection_with_tls_context(*request, **how)
            self._found.ConnectionCls = IN_TIME[self._found.scheme]
        return self._found

    def close(self) -> None:
        self._found = None
        super().close()


def _dump(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, allow_nan=False).encode()
