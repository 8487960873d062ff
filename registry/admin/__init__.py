"""The registry in Django admin, a file a table."""

from registry.admin.alias import AliasAdmin
from registry.admin.api_key import ApiKeyAdmin
from registry.admin.backend import BackendAdmin
from registry.admin.compile_cache import CompileCacheAdmin
from registry.admin.device import DeviceAdmin
from registry.admin.download import DownloadAdmin
from registry.admin.efficiency import EfficiencyAdmin
from registry.admin.model import ModelAdmin
from registry.admin.profile import ProfileAdmin
from registry.admin.request_log import RequestLogAdmin
from registry.admin.substitution import SubstitutionAdmin
from registry.admin.usage import UsageAdmin

__all__ = [
    "AliasAdmin",
    "ApiKeyAdmin",
    "BackendAdmin",
    "CompileCacheAdmin",
    "DeviceAdmin",
    "DownloadAdmin",
    "EfficiencyAdmin",
    "ModelAdmin",
    "ProfileAdmin",
    "RequestLogAdmin",
    "SubstitutionAdmin",
    "UsageAdmin",
]
