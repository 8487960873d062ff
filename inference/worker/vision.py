"""Continuous batching of a model that looks at images. GenAI takes its prompts as text, and counts their tokens itself.

Images are encoded inside of `add_request`, which holds everything up: one request with images is added before a step,
so that the neighbours get their tokens in between.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import openvino

from inference.worker.batching import BatchingRunner
from inference.worker.channel import Channel
from inference.worker.image_files import BadImage
from inference.worker.messages import Add, Cancel, Counted, Load, Looking, Progress, RequestFailed, ToWorker
from inference.worker.pixels import tensor
from inference.worker.sampling import generation_config


class VisionRunner(BatchingRunner):
    """Every request of one such model on one device; those without images too."""

    def __init__(self, load: Load, channel: Channel) -> None:
        super().__init__(load, channel)
        self._waiting: deque[Add] = deque()
        self._shown: list[openvino.Tensor] = []
        """The images of the request that is added now."""

    def busy(self) -> bool:
        return bool(self._waiting) or super().busy()

    def handle(self, message: ToWorker) -> None:
        if isinstance(message, Add) and message.images:
            self._waiting.append(message)
            return
        if isinstance(message, Cancel):
            left = deque(add for add in self._waiting if add.id != message.id)
            if len(left) < len(self._waiting):
                self._waiting = left
                self._cancelled.append(message.id)
                return
        super().handle(message)

    def step(self) -> None:
        if self._waiting:
            self._channel.send(Looking(done=False))
            self._look(self._waiting.popleft())
            self._channel.send(Looking(done=True))
        super().step()

    def _look(self, add: Add) -> None:
        try:
            self._shown = [_pixels(field, data) for field, data in add.images]
        except BadImage as error:
            self._channel.send(RequestFailed(add.id, str(error), error.field))
        else:
            self._add(add)
        self._shown = []

    def _submitted(self, add: Add) -> Any:
        try:
            return self._pipeline.add_request(add.id, add.prompt, self._shown, generation_config(add))
        except IndexError as error:  # a tag with a number beyond all bounds, in a raw prompt
            raise ValueError("the prompt names an image that is not there") from error

    def _read(self, id: int, handle: Any) -> Progress | None:
        progress = super()._read(id, handle)
        if progress is not None and progress.finish in ("stop", "length"):
            self._channel.send(Counted(id, handle.get_perf_metrics().get_num_input_tokens()))
        return progress


def _pixels(field: str, data: bytes) -> Any:
    """Raises BadImage that names the field."""
    try:
        return tensor(data)
    except BadImage as error:
        raise BadImage(f'"{field}" {error}', field) from error
