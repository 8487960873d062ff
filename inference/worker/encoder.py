"""A model that gives a hidden state for each token, run on ids as the server made them, and its states pooled to a
vector for each text.

GenAI's TextEmbeddingPipeline would tokenise once more and pool within the graph: with it one short text took some
0.9 ms longer (medians of pairs on two busy cores). The model is compiled with the hints that the pipeline has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import openvino

from inference.worker.messages import Load

ID_BYTES = 4
"""Little-endian int32 each."""
STATES = "last_hidden_state"
INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})


def properties(load: Load) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if load.emulated:
        options = {"NPU_USE_NPUW": "YES", "NPUW_DEVICES": "CPU", "NPUW_ONLINE_PIPELINE": "NONE"}
    if load.cache_dir:
        options["CACHE_DIR"] = load.cache_dir
    return options


class Encoder:
    """The model compiled once, and one request of it. For one thread."""

    def __init__(self, load: Load, tokens: int = 0) -> None:
        """`tokens`: of the fixed shape of one text, for a device that takes no other; 0: texts of any length together.

        Raises RuntimeError for a folder that cannot be read or compiled, ValueError for a model of another kind.
        """
        core = openvino.Core()
        folder = Path(load.path)
        model = core.read_model(folder / "openvino_model.xml")
        self._inputs = _inputs(model)
        self._output = _states(model)
        if tokens:
            model.reshape({name: [1, tokens] for name in self._inputs})
        compiled = core.compile_model(model, load.device, properties(load))
        devices = compiled.get_property("EXECUTION_DEVICES")
        self.executed = devices if isinstance(devices, str) else ", ".join(devices)
        """As the runtime tells; '' when it does not."""
        self._request = compiled.create_infer_request()
        self._tokens = tokens
        self._pooling = load.pooling
        self._pad_id = _pad_id(folder)

    def pooled(self, texts: Sequence[bytes]) -> Any:
        """float32 of (texts, width), from the ids of each text, one text at least; all zero for one without ids.

        Raises RuntimeError, the runtime's, also for more ids than the fixed shape or the model's positions.
        """
        counts = [len(ids) // ID_BYTES for ids in texts]
        longest = max(counts)
        if self._tokens and longest > self._tokens:
            raise RuntimeError(f"a text of {longest} tokens; the compiled shape has {self._tokens}")
        states = self._hidden(texts, counts, self._tokens or max(longest, 1))
        rows = numpy.zeros((len(texts), states.shape[2]), "<f4")
        for row, count in enumerate(counts):
            if count:
                rows[row] = self._of_text(states[row, :count])
        return rows

    def _hidden(self, texts: Sequence[bytes], counts: list[int], length: int) -> Any:
        """(texts, length, width); valid until the next call. Padding stands behind a text."""
        shape = (len(texts), length)
        ids = numpy.full(shape, self._pad_id, numpy.int64)
        mask = numpy.zeros(shape, numpy.int64)
        for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
            ids[row, :count] = numpy.frombuffer(text, "<i4")
            mask[row, : max(count, 1)] = 1  # attention to nothing at all would be no number
        given = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            given["token_type_ids"] = numpy.zeros(shape, numpy.int64)
        if "position_ids" in self._inputs:
            given["position_ids"] = numpy.tile(numpy.arange(length, dtype=numpy.int64), (len(texts), 1))
        self._request.infer(
            {name: given[name] for name in self._inputs}, share_inputs=True, share_outputs=True
        )
        return self._request.get_output_tensor(self._output).data

    def _of_text(self, states: Any) -> Any:
        if self._pooling == "mean":
            return states.mean(axis=0, dtype="f4")
        return states[0 if self._pooling == "cls" else -1]


def _inputs(model: Any) -> list[str]:
    """Raises ValueError for an input that nothing here fills."""
    names = [port.get_any_name() for port in model.inputs]
    if unknown := sorted(set(names) - INPUTS):
        raise ValueError(f"it is no embedding model that runs here: it has the input {unknown[0]!r}")
    if "input_ids" not in names:
        raise ValueError("it is no embedding model that runs here: it has no input 'input_ids'")
    return names


def _states(model: Any) -> int:
    """Which of its outputs has a state for each token. Raises ValueError when none has."""
    ports = list(model.outputs)
    named = [index for index, port in enumerate(ports) if STATES in port.get_names()]
    shaped = [index for index, port in enumerate(ports) if len(port.partial_shape) == 3]
    if not (named or shaped):
        raise ValueError(
            "it is no embedding model that runs here: it has no output of hidden states (batch, tokens, width)"
        )
    return (named or shaped)[0]


def _pad_id(folder: Path) -> int:
    """Models that count positions over ids want their own; 0 where config.json names none."""
    try:
        found = json.loads((folder / "config.json").read_text("utf-8")).get("pad_token_id")
    except (OSError, ValueError, AttributeError):
        return 0
    return found if isinstance(found, int) and found >= 0 else 0
