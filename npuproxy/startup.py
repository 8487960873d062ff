"""`manage.py serve`, step by step: sockets, lock, tables, loop, server, banner."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

from django.conf import settings

from inference.engine import Engine
from npuproxy import banner, data_folder, event_loop, first_start, listening, tls
from npuproxy.env import ConfigurationError
from npuproxy.lifecycle import EMBEDDING, Lifecycle
from registry import blobs
from registry.records import Records

if TYPE_CHECKING:
    from npuproxy.gate import Gate
    from npuproxy.grpc.door import Door

logger = logging.getLogger(__name__)


def serve(began: float) -> None:
    """Run the server until it is told to stop; `began` is when the process did, by `time.monotonic`.

    Raises ListenError, FolderError or ConfigurationError, each one line, before anything else has started.
    """
    _check_log_file()
    if settings.REAL_INFERENCE is False:
        logger.warning("NPU_PROXY_REAL_INFERENCE=0 is ignored: nothing is invented here, models really run")
    secured = tls.connections(settings.TLS)
    sockets = listening.open_sockets(settings.HOST, settings.PORT)
    grpc_addresses = []
    if settings.GRPC_PORT:
        grpc_addresses = listening.grpc_addresses(
            settings.HOST, settings.GRPC_PORT, settings.GRPC_PORT_CHOSEN
        )
    with data_folder.locked(settings.DATA_DIR):
        password = first_start.prepare_database()
        port: int = sockets[0].getsockname()[1]
        url = banner.url(settings.HOST, port, "https" if secured else "http")

        grpc = ""
        if grpc_addresses:
            grpc = banner.url(settings.HOST, grpc_addresses[0][1]).removeprefix("http://")

        def ready() -> None:
            data_folder.write_address(settings.DATA_DIR, url, grpc)
            seconds = time.monotonic() - began
            print(banner.text(settings.VERSION, url, seconds, password, grpc), flush=True)

        loop = event_loop.install(settings.EVENT_LOOP)
        from npuproxy import asgi, upload  # below here Twisted's reactor is the one just installed
        from npuproxy.channel import Limits
        from npuproxy.server import Server

        models = tuple(settings.EMBEDDING_MODEL if name == EMBEDDING else name for name in settings.WARMUP)
        records = Records()
        engine = Engine(settings.ENGINE, records.loaded, records.used)
        gate = asgi.build()
        door = _grpc_door(gate, grpc_addresses) if grpc_addresses else None
        lifecycle = Lifecycle(engine, records, models, settings.WARMUP_DEVICES, port, door)
        upload.prepare(blobs.folder())
        limits = Limits(
            settings.MAX_BODY_BYTES,
            settings.READ_TIMEOUT_S,
            uploads=upload.Rules(blobs.folder(), settings.MAX_UPLOAD_BYTES),
        )
        server = Server(gate, limits, lifecycle, ready, secured)
        try:
            server.run(
                sockets, loop, plain_signals=settings.EVENT_LOOP == "selector" or sys.platform == "win32"
            )
        finally:
            data_folder.remove_address(settings.DATA_DIR)


def _grpc_door(gate: Gate, addresses: list[tuple[str, int]]) -> Door:
    """Imported here: without the door, gRPC's library is not loaded."""
    from npuproxy.grpc import door

    rules = door.Rules(
        tls=settings.TLS, max_message_bytes=settings.MAX_BODY_BYTES, read_timeout_s=settings.READ_TIMEOUT_S
    )
    return door.Door(gate, addresses, rules)


def _check_log_file() -> None:
    if settings.LOG_FILE is None:
        return
    try:
        settings.LOG_FILE.open("a").close()
    except OSError as error:
        raise ConfigurationError(
            f"NPU_PROXY_LOG_FILE: {settings.LOG_FILE} cannot be written ({error.strerror})"
        ) from None
