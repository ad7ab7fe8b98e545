"""The HTTP API: `/v1/…`, and what probes and Prometheus ask."""

from keyturn.api.application import create_api

__all__ = ["create_api"]
