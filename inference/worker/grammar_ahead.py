"""Compiles the grammar of a request before the request reaches the pipeline, in a thread beside its steps.

GenAI compiles inside of `step()`, which holds up everyone in the batch: 0.5 s for twenty bounded strings and a
vocabulary of 2,560. What was compiled belongs to the tokenizer and is kept there. So a pipeline without weights that
shares the tokenizer does the work first (`generate` lets go of the interpreter, a step does not), and the step that
follows needs some milliseconds. A checker has compiled every grammar that comes here, within its deadline.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import deque
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai

from inference.worker.grammar_check import constant_pipeline
from inference.worker.grammar_config import structured_output_config
from inference.worker.messages import Add

_MODELS = ("openvino_model.xml", "openvino_language_model.xml")
WAIT_S = 0.02
MOST_KNOWN = 10_000


class GrammarAhead:
    """One thread, made with the first grammar. All methods are for the worker's own thread."""

    def __init__(self, path: str, tokenizer: genai.Tokenizer) -> None:
        self._path = Path(path)
        self._tokenizer = tokenizer
        self._waiting: dict[int, Add] = {}
        self._to_do: queue.SimpleQueue[Add] = queue.SimpleQueue()
        self._done: deque[int] = deque()
        self._ready = threading.Event()
        self._compiled: set[bytes] = set()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """Requests whose grammar is not ready."""
        return len(self._waiting)

    def takes(self, add: Add) -> bool:
        """Whether the request has to wait for its grammar; `ready` gives it back."""
        if add.grammar is None or _key(add) in self._compiled:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="grammars", daemon=True)
            self._thread.start()
        self._waiting[add.id] = add
        self._to_do.put(add)
        return True

    def drop(self, id: int) -> bool:
        """Forgets a request that was cancelled; False when it is not here."""
        return self._waiting.pop(id, None) is not None

    def ready(self) -> list[Add]:
        """The requests that may go to the pipeline now."""
        self._ready.clear()
        found = []
        while self._done:
            add = self._waiting.pop(self._done.popleft(), None)
            if add is not None:
                if len(self._compiled) >= MOST_KNOWN:
                    self._compiled.clear()
                self._compiled.add(_key(add))
                found.append(add)
        return found

    def wait(self) -> None:
        """Until one is ready, or a moment has passed: a worker without a step to do does not spin."""
        self._ready.wait(WAIT_S)

    def _work(self) -> None:
        """What cannot be made here is left to the step, as without this thread."""
        try:
            pipeline = constant_pipeline(self._tokenizer, np.zeros(_vocabulary(self._path), np.float32))
        except (RuntimeError, OSError, StopIteration):
            pipeline = None
        prompt = ov.Tensor(np.zeros((1, 1), np.int64))
        while True:
            add = self._to_do.get()
            if pipeline is not None and add.grammar is not None:
                generation = genai.GenerationConfig()
                generation.max_new_tokens = 1
                generation.apply_chat_template = False
                try:
                    generation.structured_output_config = structured_output_config(add.grammar)
                    pipeline.generate(prompt, generation)
                except (RuntimeError, ValueError, TypeError):
                    pass
            self._done.append(add.id)
            self._ready.set()


def _key(add: Add) -> bytes:
    return hashlib.sha256(repr(add.grammar).encode()).digest()


def _vocabulary(folder: Path) -> int:
    """How many logits the model gives: another number would make masks of another size, for the steps too."""
    path = next(folder / name for name in _MODELS if (folder / name).is_file())
    return int(ov.Core().read_model(path).output("logits").partial_shape[-1].get_length())
