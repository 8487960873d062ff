"""The registry in Django admin, a file a table."""

from registry.admin.download import DownloadAdmin
from registry.admin.model import ModelAdmin

__all__ = ["DownloadAdmin", "ModelAdmin"]
