"""CELERY_BROKER_URL -> what Celery needs to know of the broker.

The embedded broker is a folder: kombu's filesystem transport, looked at every 50 ms (default: each second). A
message only wakes a worker; rows say what there is to do, so one that is torn or lost costs seconds at most.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

EMBEDDED: Final = "filesystem://"
POLL_S: Final = 0.05
FOLDER: Final = "broker"
"""In the data folder."""
_SCHEMES: Final = ("filesystem", "redis", "rediss", "amqp", "amqps")
_FOLDERS: Final = {"data_folder_in": "queue", "data_folder_out": "queue"} | {
    f"{name}_folder": name for name in ("processed", "control")
}


def check(url: str) -> str:
    """The same address, or ValueError that says which forms are known."""
    if urlsplit(url).scheme not in _SCHEMES:
        raise ValueError("redis://host:6379/0, rediss://…, amqp://user:password@host// or amqps://…")
    return url


def transport_options(url: str, folder: Path) -> dict[str, Any]:
    """Celery's `broker_transport_options`; makes the folders of the embedded broker under `folder`."""
    if not url.startswith(EMBEDDED):
        return {"socket_connect_timeout": 2} if url.startswith("redis") else {}
    for name in {*_FOLDERS.values()}:
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = {option: str(folder / name) for option, name in _FOLDERS.items()}
    # kept in a folder of ours: the other way is through the system's /tmp, where all users are
    return {**paths, "store_processed": True, "polling_interval": POLL_S}


def sweep(folder: Path) -> None:
    """Forget the messages that were read; the transport keeps them for ever."""
    for message in (folder / "processed").glob("*.msg"):
        message.unlink(missing_ok=True)
