"""AWS Secrets Manager."""

from keyturn.plugins.aws.backend import aws_secrets_manager

__all__ = ["aws_secrets_manager"]
