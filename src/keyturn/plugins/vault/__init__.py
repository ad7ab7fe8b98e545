"""Vault and OpenBao: the KV version 2 secrets engine as a backend."""

from keyturn.plugins.vault.backend import VaultBackend

vault_kv2 = VaultBackend

__all__ = ["vault_kv2"]
