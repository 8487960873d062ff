"""The settings of this machine's devices, of the choice between them, and of where their readings lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from inference.errors import BadRequest
from inference.machine_state import quiet_hours
from inference.modes import AUTO, NAMES, named
from npuproxy import env


class DeviceSettings(Struct, frozen=True):
    """The values of settings of the same names."""

    device: str
    fallback_device: str
    npu_emulation: bool
    max_prompt_len: int
    token_limit: int
    npu_models: int
    embedding_cache_size: int
    embedding_device: str
    busy_wait_s: float
    measured_routing: bool
    mode: str
    quiet_hours: str
    auto_mode_s: float
    sysfs_root: Path


def _mode(value: str) -> str:
    try:
        return named(value)
    except BadRequest as error:
        raise ValueError(f"a mode: {', '.join(NAMES)}") from error


def _hours(value: str) -> str:
    quiet_hours(value)
    return value


def read() -> DeviceSettings:
    """Called once, where the group is to stand in docs/configuration.md."""
    env.group("Devices")
    return DeviceSettings(**_choice(), **_devices())


def _devices() -> dict[str, Any]:
    return {
        "npu_emulation": env.env_bool(
            "NPU_PROXY_NPU_EMULATION", False, "run the NPU's static pipeline on the CPU, labelled as emulated"
        ),
        "max_prompt_len": env.env_int(
            "NPU_PROXY_MAX_PROMPT_LEN", 4096, "prompt tokens compiled for on the NPU", least=64, most=131072
        ),
        "token_limit": env.env_int(
            "NPU_PROXY_TOKEN_LIMIT", 1800, "prompts with more tokens than this leave the NPU", least=1
        ),
        "npu_models": env.env_int(
            "NPU_PROXY_NPU_MODELS", 1, "language models resident on an NPU at once; more are swapped", least=1
        ),
        "embedding_cache_size": env.env_int(
            "NPU_PROXY_EMBEDDING_CACHE_SIZE",
            1000,
            "vectors kept for each device, of texts embedded before; 0: none",
        ),
        "embedding_device": env.env_device(
            "NPU_PROXY_EMBEDDING_DEVICE", "auto", "where embeddings run; a device pins them", also="auto"
        ),
        "sysfs_root": env.env_path(
            "NPU_PROXY_SYSFS_ROOT",
            None,
            "the folder below which the system's readings of power and heat lie (`sys`, `proc`): in a container, where "
            "the host's are mounted",
            shown="/",
        )
        or Path("/"),
    }


def _choice() -> dict[str, Any]:
    return {
        "device": env.env_device(
            "NPU_PROXY_DEVICE",
            "NPU",
            "preferred device: NPU, GPU, GPU.1, CPU, or AUTO, the best by time and power",
            also="AUTO",
            aliases=("NPU_PROXY_PREFERRED_DEVICE",),
        ),
        "fallback_device": env.env_device(
            "NPU_PROXY_FALLBACK_DEVICE", "", "the second device of the chain", shown="chain NPU → GPU → CPU"
        ),
        "busy_wait_s": env.env_int(
            "NPU_PROXY_BUSY_WAIT_MS",
            2000,
            "milliseconds: a device whose expected wait and load exceed this is busy, and the next is taken",
        )
        / 1000,
        "measured_routing": env.env_choice(
            "NPU_PROXY_ROUTING",
            ("chain", "measured"),
            "chain",
            "`chain`: the preferred device while it can begin soon; `measured`: always the best by time and power",
        )
        == "measured",
        "mode": env.env_value(
            "NPU_PROXY_MODE",
            _mode,
            AUTO,
            AUTO,
            "efficiency mode until one is chosen: Performance, Balanced, Efficiency, Quiet, UltraEfficiency, Auto",
        ),
        "quiet_hours": env.env_value(
            "NPU_PROXY_QUIET_HOURS",
            _hours,
            "",
            "22-7 with a battery, else off",
            "hours, local time, in which the mode Auto is Quiet, such as `22-7`; or `off`",
        ),
        "auto_mode_s": env.env_seconds(
            "NPU_PROXY_AUTO_MODE_AFTER",
            30,
            "seconds for which the state of the machine must ask for another mode before Auto changes to it",
        ),
    }
