"""Compiles a grammar on a model's vocabulary without the model.

What a grammar costs depends on the vocabulary alone, so the pipeline here is a constant: the same logits for every
token, no state, no weights; only the tokenizer is the serving model's. GenAI has no way to compile a grammar but to
generate with it, and `LLMPipeline.generate` recovers from a bad one, other than `step()` (openvino-facts 17).
"""

from __future__ import annotations

import math
import tempfile
import time
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
from numpy.typing import NDArray
from openvino import opset13 as op

from inference.worker.grammar_config import structured_output_config

STEPS = 24
"""Tokens to write, twice: with half of the weight on tokens that close something they pass through several fields, with
none on them they stay inside of one string, where the number of ways to read it grows."""

SLOWEST_STEP_S = 0.15
"""Of processor time. Well-behaved grammars need 1 to 3 ms with 150,000 tokens, `(\\w+ ?)+` more than a second, and each
such step would hold up everyone who shares the pipeline."""

_INPUTS = {"input_ids": 2, "attention_mask": 2, "position_ids": 2, "beam_idx": 1}
_ENDS = (b'"', b"}", b"]", b"<|")
_NEVER = -40.0
_CLOSING = (b'"', b"}", b"]", b",", b'",', b'"}', b'":', b" ", b"</think>")


def constant_pipeline(tokenizer: genai.Tokenizer, logits: NDArray[np.float32]) -> genai.LLMPipeline:
    """A pipeline whose next token is drawn from `logits`, whatever came before."""
    parameters = []
    for name, rank in _INPUTS.items():
        parameter = op.parameter([-1] * rank, np.int32 if name == "beam_idx" else np.int64, name=name)
        parameter.output(0).get_tensor().set_names({name})
        parameters.append(parameter)
    size = op.constant(np.array([logits.size], np.int64))
    row = op.constant(logits.reshape(1, 1, -1))
    output = op.broadcast(row, op.concat([op.shape_of(parameters[0]), size], 0))
    output.output(0).get_tensor().set_names({"logits"})
    model = ov.Model([op.result(output)], parameters, "constant")
    with tempfile.TemporaryDirectory(prefix="npuproxy-") as folder:
        ov.save_model(model, f"{folder}/openvino_model.xml", compress_to_fp16=False)
        # The default attention backend looks for a cache to rewrite, and this model has none.
        return genai.LLMPipeline(folder, tokenizer, "CPU", ATTENTION_BACKEND="SDPA")


class GrammarChecker:
    """`vocab_size` is the size of the model's logits, which may be larger than the tokenizer's list.

    Fewer logits than tokens would corrupt the memory of the process: GenAI masks them without looking.
    """

    def __init__(self, model_path: str, vocab_size: int) -> None:
        tokenizer = genai.Tokenizer(model_path)
        vocabulary = tokenizer.get_vocab()
        closing = [id for token, id in vocabulary.items() if _closes(token)]
        size = max(vocab_size, 1 + max(vocabulary.values(), default=0))
        goes_on, stays = np.zeros(size, np.float32), np.zeros(size, np.float32)
        goes_on[closing] = math.log(size / max(len(closing), 1))
        stays[[id for token, id in vocabulary.items() if _has_end(token)]] = _NEVER
        self._pipelines = [constant_pipeline(tokenizer, logits) for logits in (goes_on, stays)]
        self._prompt = ov.Tensor(np.zeros((1, 1), np.int64))

    def check(self, config: dict[str, object]) -> str | None:
        """What is wrong with it, for the client; None for a grammar that may be served. May run for minutes."""
        generation = genai.GenerationConfig()
        generation.max_new_tokens = STEPS
        generation.apply_chat_template = False
        generation.do_sample = True
        generation.rng_seed = 1
        try:
            generation.structured_output_config = structured_output_config(config)
            for pipeline in self._pipelines:
                clock = _Clock()
                pipeline.generate(self._prompt, generation, clock)
                if clock.slowest_s > SLOWEST_STEP_S:
                    return "it is too slow to follow"
        except (RuntimeError, ValueError, TypeError) as error:
            return _reason(str(error))
        return None


class _Clock(genai.StreamerBase):  # type: ignore[misc]
    """The processor time of the slowest step; the first holds the compilation."""

    def __init__(self) -> None:
        super().__init__()
        self.slowest_s = 0.0
        self._last = math.inf

    def write(self, token: Any) -> genai.StreamingStatus:
        now = time.process_time()
        self.slowest_s = max(self.slowest_s, now - self._last)
        self._last = now
        return genai.StreamingStatus.RUNNING

    def end(self) -> None:
        pass


def _has_end(token: str | bytes) -> bool:
    text = token.encode() if isinstance(token, str) else token
    return any(sign in text for sign in _ENDS)


def _closes(token: str | bytes) -> bool:
    return (token.encode() if isinstance(token, str) else token) in _CLOSING


def _reason(text: str) -> str:
    """Without the build machine's paths, which stand before the last `.cc:123: ` or on lines of their own."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("Exception from ")] or [text]
    reason = lines[-1]
    for mark in (".cc:", ".cpp:"):
        if mark in reason:
            reason = reason.rpartition(mark)[2].partition(": ")[2]
    return reason.strip()[:500]
