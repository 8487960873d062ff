"""`python -P -m inference.worker CHANNEL PARENT_PID`: waits for a model, serves it, ends with its parent."""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol

from inference.worker.channel import Channel, ServerGone, connect
from inference.worker.messages import Fatal, Hello, Load, Loaded, LoadFailed, ToWorker
from inference.worker.parent import end_with_parent


class Runner(Protocol):
    """One loaded model. `handle` takes a frame at once; `step` does a bounded piece of work and sends its frames."""

    def handle(self, message: ToWorker) -> None: ...
    def busy(self) -> bool: ...
    def step(self) -> None: ...


_DRIVER_PROPERTIES = ("NPU_DRIVER_VERSION", "NPU_COMPILER_VERSION")
"""What the runtime knows of what lies below it; the GPU plugin names no driver."""


_MEMORY_PROPERTIES = ("GPU_DEVICE_TOTAL_MEM_SIZE", "NPU_DEVICE_TOTAL_MEM_SIZE")


def driver(core: Any, device: str) -> str:
    """'' where the runtime does not tell."""
    try:
        known = set(core.get_property(device, "SUPPORTED_PROPERTIES"))
        return "-".join(str(core.get_property(device, name)) for name in _DRIVER_PROPERTIES if name in known)
    except RuntimeError:
        return ""


def memory(core: Any, device: str) -> int:
    """Bytes; 0 where the runtime does not tell."""
    try:
        known = set(core.get_property(device, "SUPPORTED_PROPERTIES"))
        return next((int(core.get_property(device, name)) for name in _MEMORY_PROPERTIES if name in known), 0)
    except (RuntimeError, TypeError, ValueError):
        return 0


def hello() -> Hello:
    """Imports the runtime (0.3 s) and lists its devices."""
    import openvino
    import openvino_genai

    core = openvino.Core()
    devices = tuple(
        (name, str(core.get_property(name, "FULL_DEVICE_NAME"))) for name in core.available_devices
    )
    drivers = tuple((name, version) for name, _ in devices if (version := driver(core, name)))
    sizes = tuple((name, size) for name, _ in devices if (size := memory(core, name)) > 0)
    return Hello(
        pid=os.getpid(), devices=devices, runtime=openvino_genai.__version__,
        openvino=openvino.__version__.partition("-")[0], drivers=drivers, memory=sizes,
    )  # fmt: skip


def make_runner(load: Load, channel: Channel) -> Runner:
    if load.role == "batching":
        from inference.worker.batching import BatchingRunner

        return BatchingRunner(load, channel)
    if load.role == "vision":
        from inference.worker.vision import VisionRunner

        return VisionRunner(load, channel)
    if load.role == "static":
        from inference.worker.static import StaticRunner

        return StaticRunner(load, channel)
    if load.role == "grammar":
        from inference.worker.grammar import GrammarRunner

        return GrammarRunner(load, channel)
    from inference.worker.embedding import EmbeddingRunner

    return EmbeddingRunner(load, channel)


def load_model(channel: Channel) -> Runner | None:
    """Waits for the Load frame; answers it. None when the load failed: the worker is of no more use."""
    from inference.worker.loading import Loading

    message = channel.poll(None)
    if not isinstance(message, Load):
        raise ServerGone
    try:
        with Loading() as loading:
            runner = make_runner(message, channel)
    except Exception as error:  # the runtime raises RuntimeError for everything, also for a damaged file
        channel.send(LoadFailed(str(error).strip() or type(error).__name__))
        return None
    executed = getattr(runner, "executed", "") or loading.executed  # asked of the model, or read in the log
    channel.send(Loaded(executed=executed, load_s=loading.seconds))
    return runner


def serve(runner: Runner, channel: Channel) -> None:
    while True:
        message = channel.poll(0.0 if runner.busy() else None)
        while message is not None:
            runner.handle(message)
            message = channel.poll(0.0)
        if runner.busy():
            runner.step()


def main() -> None:
    end_with_parent(int(sys.argv[2]))
    channel = connect(sys.argv[1])
    try:
        channel.send(hello())
        runner = load_model(channel)
        if runner is not None:
            serve(runner, channel)
    except ServerGone:
        pass
    except Exception as error:  # any exception of step() is the end of the pipeline (openvino-facts 6)
        channel.send(Fatal(str(error).strip() or type(error).__name__))
        raise
    os._exit(0)  # without the destructors of the pipeline: the system takes the memory back faster


if __name__ == "__main__":
    main()
