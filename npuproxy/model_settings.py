"""The settings of models that come and go: pulls, conversions, folders registered in place."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from npuproxy import env


class ModelSettings(Struct, frozen=True):
    """The values of settings of the same names."""

    hf_endpoint: str
    hf_token: str
    pull_timeout_s: float
    pull_limit_bytes: int
    pull_lease_s: float
    convert: str
    chat_model_path: Path | None
    embedding_model_path: Path | None


def read() -> ModelSettings:
    """Called once, where the groups are to stand in docs/configuration.md."""
    env.group("Pulls")
    return ModelSettings(
        hf_endpoint=env.env_value(
            "HF_ENDPOINT",
            env.web_address,
            "https://huggingface.co",
            "https://huggingface.co",
            "the hub, or a mirror of it; HTTPS_PROXY, HTTP_PROXY and NO_PROXY count",
        ),
        hf_token=env.env_text("HF_TOKEN", "", "sent to that hub and to no other host", shown="–"),
        pull_timeout_s=env.env_seconds(
            "NPU_PROXY_PULL_TIMEOUT", 60, "seconds without a byte before a download is stalled; 0: never"
        ),
        pull_lease_s=env.env_seconds(
            "NPU_PROXY_PULL_LEASE",
            15,
            "seconds that a process which works on a pull may be silent before another one takes the pull over; the "
            "same for all processes on one database",
            least=1,
        ),
        pull_limit_bytes=env.env_bytes(
            "NPU_PROXY_PULL_LIMIT",
            256 * 1024**3,
            "largest model that is downloaded, all files together",
            shown="256GB",
        ),
        convert=env.env_choice(
            "NPU_PROXY_CONVERT",
            ("ask", "yes", "no"),
            "ask",
            "what happens to a repository without OpenVINO IR. `ask`: it is converted if the converter is "
            "installed already; `yes`: the converter (1.6 GB) is installed when it is needed; `no`: refused",
        ),
        chat_model_path=env.env_path(
            "CHAT_MODEL_PATH",
            None,
            "a folder of OpenVINO IR that is registered in place at the start, under its own name",
            shown="–",
        ),
        embedding_model_path=env.env_path(
            "EMBEDDING_MODEL_PATH", None, "the same for an embedding model", shown="–"
        ),
    )
