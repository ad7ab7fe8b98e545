"""Reading a demo client's key from AWS; apart, because its imports take half a second."""

import configparser
import json
from collections.abc import Callable
from pathlib import Path

from aws_secretsmanager_caching import (  # type: ignore[import-untyped, unused-ignore]
    SecretCache,
    SecretCacheConfig,
)
from botocore.exceptions import BotoCoreError, ClientError

from keyturn.demo.client_keys import LOOK_EVERY, KeyUnreadable
from keyturn.demo.moto import AccessKey, secretsmanager_client


class AwsSource:
    """Reads a Secrets Manager secret, by itself or through AWS's own caching library."""

    def __init__(
        self,
        *,
        endpoint_url: str,
        credentials_file: Path,
        secret: str,
        field: str,
        every: float,
        cached: bool,
    ) -> None:
        profile = configparser.ConfigParser()
        profile.read_string(credentials_file.read_text())
        key = AccessKey(
            access_key_id=profile["default"]["aws_access_key_id"],
            secret_access_key=profile["default"]["aws_secret_access_key"],
        )
        client = secretsmanager_client(endpoint_url, key)
        self._secret = secret
        self._field = field
        self._fetch: Callable[[], str | None]
        if cached:
            # The library itself decides, between half of this interval and all of it.
            config = SecretCacheConfig(secret_refresh_interval=max(1, round(every)))
            cache = SecretCache(config=config, client=client)
            self._fetch = lambda: cache.get_secret_string(secret)
            self.every = LOOK_EVERY
        else:
            # moto may serve a stale version when no stage is named.
            self._fetch = lambda: client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"]
            self.every = every

    def read(self) -> str:
        try:
            text = self._fetch() or ""
            value = str(json.loads(text)[self._field]) if self._field else text
        except (BotoCoreError, ClientError, ValueError, KeyError, TypeError) as error:
            raise KeyUnreadable(f"{self._secret}: {type(error).__name__}") from None
        if not value:
            raise KeyUnreadable(f"{self._secret}: empty")
        return value
