"""The transport of the embedded broker: kombu's, but that a message is in its folder only when it is whole.

kombu opens the file under its name and writes it then: a worker that looks in between takes a message without text, and
ends.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

SCHEME: Final = "filesystem"


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **options: Any) -> None:  # type: ignore[override]
        """Raises ChannelError when it cannot be written."""
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        path = Path(self.data_folder_out) / name
        part = path.with_suffix(".part")
        try:
            part.write_text(dumps(payload), "utf-8")
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise ChannelError(
                f"the message was not written to {Path(self.data_folder_out).name}: {error}"
            ) from error


class Transport(filesystem.Transport):
    Channel = Channel


def install() -> None:
    """Every connection to the embedded broker, of this process, uses it from now on."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
