"""What belongs to no ecosystem: webhooks."""

from keyturn.plugins.generic.webhook import webhook

__all__ = ["webhook"]
