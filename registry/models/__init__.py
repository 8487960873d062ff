"""The tables, a file each."""

from registry.models.alias import Alias
from registry.models.api_key import ApiKey, ApiKeyUse
from registry.models.backend import Backend
from registry.models.change import Change, Stamped
from registry.models.compile_cache import CompileCache
from registry.models.device import Device
from registry.models.download import Download
from registry.models.efficiency import EfficiencyChoice
from registry.models.model import Model
from registry.models.profile import AnswerLengths, Profile
from registry.models.request_log import RequestLog
from registry.models.substitution import Substitution
from registry.models.usage import Usage
from registry.models.verification import Verification

__all__ = [
    "Alias",
    "AnswerLengths",
    "ApiKey",
    "ApiKeyUse",
    "Backend",
    "Change",
    "CompileCache",
    "Device",
    "Download",
    "EfficiencyChoice",
    "Model",
    "Profile",
    "RequestLog",
    "Stamped",
    "Substitution",
    "Usage",
    "Verification",
]
