"""The registry in Django admin, a file a table."""

from registry.admin.model import ModelAdmin

__all__ = ["ModelAdmin"]
