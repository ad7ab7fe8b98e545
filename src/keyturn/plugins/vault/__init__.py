"""Vault and OpenBao: the KV version 2 secrets engine as a backend, and its readers as the audit log tells of them."""

from keyturn.plugins.vault.audit_log import AuditLog
from keyturn.plugins.vault.backend import VaultBackend

vault_kv2 = VaultBackend
vault_audit_log = AuditLog

__all__ = ["vault_audit_log", "vault_kv2"]
