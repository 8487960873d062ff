"""Compiles a grammar on a model's vocabulary without the model.

Compiling depends on the vocabulary alone, so the pipeline here is a constant: the same logits for every token, no
state, no weights. Only the tokenizer is the serving model's. GenAI offers no way to compile a grammar but to generate
with it, and `LLMPipeline.generate` recovers from a bad one, other than `step()` (openvino-facts 17).
"""

from __future__ import annotations

import tempfile

import numpy as np
import openvino as ov
import openvino_genai as genai
from openvino import opset13 as op

from inference.worker.grammar_config import structured_output_config

_INPUTS = {"input_ids": 2, "attention_mask": 2, "position_ids": 2, "beam_idx": 1}


def constant_pipeline(model_path: str, logits: np.ndarray) -> genai.LLMPipeline:
    """A pipeline with the tokenizer of `model_path` whose next token is drawn from `logits`, whatever came before."""
    parameters = []
    for name, rank in _INPUTS.items():
        parameter = op.parameter([-1] * rank, np.int32 if name == "beam_idx" else np.int64, name=name)
        parameter.output(0).get_tensor().set_names({name})
        parameters.append(parameter)
    size = op.constant(np.array([logits.size], np.int64))
    row = op.constant(logits.astype(np.float32).reshape(1, 1, -1))
    output = op.broadcast(row, op.concat([op.shape_of(parameters[0]), size], 0))
    output.output(0).get_tensor().set_names({"logits"})
    model = ov.Model([op.result(output)], parameters, "constant")
    with tempfile.TemporaryDirectory(prefix="npuproxy-") as folder:
        ov.save_model(model, f"{folder}/openvino_model.xml", compress_to_fp16=False)
        # The default attention backend wants a cache to rewrite, and this model has none.
        return genai.LLMPipeline(folder, genai.Tokenizer(model_path), "CPU", ATTENTION_BACKEND="SDPA")


class GrammarChecker:
    """`vocab_size` is that of the model's logits; its embedding table may be larger than the tokenizer's list."""

    def __init__(self, model_path: str, vocab_size: int) -> None:
        self._pipeline = constant_pipeline(model_path, np.zeros(vocab_size, np.float32))
        self._prompt = ov.Tensor(np.zeros((1, 1), np.int64))

    def check(self, config: dict[str, object]) -> str | None:
        """The compiler's own words when it refuses; None for a grammar that compiled. May run for minutes."""
        generation = genai.GenerationConfig()
        generation.max_new_tokens = 1
        generation.apply_chat_template = False
        try:
            generation.structured_output_config = structured_output_config(config)
            self._pipeline.generate(self._prompt, generation)
        except (RuntimeError, ValueError, TypeError) as error:
            return _reason(str(error))
        return None


def _reason(text: str) -> str:
    """Without the build machine's paths, which stand before the last `.cc:123: ` or on lines of their own."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("Exception from ")] or [text]
    reason = lines[-1]
    for mark in (".cc:", ".cpp:"):
        if mark in reason:
            reason = reason.rpartition(mark)[2].partition(": ")[2] or reason.rpartition(mark)[2]
    return reason.strip()[:500]
