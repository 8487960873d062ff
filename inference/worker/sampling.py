"""From the frame's sampling to GenAI's GenerationConfig: one table, since the constructor accepts any name silently."""

from __future__ import annotations

import openvino_genai as genai

from inference.worker.messages import Add


def generation_config(add: Add) -> genai.GenerationConfig:
    """temperature 0 is greedy; a top_k of 0 or less is off (openvino-facts, short list 5 and 8)."""
    config = genai.GenerationConfig()
    config.max_new_tokens = add.max_new_tokens
    config.apply_chat_template = False
    if add.eos_ids:
        config.eos_token_id = add.eos_ids[0]
        config.stop_token_ids = set(add.eos_ids)
    else:
        config.ignore_eos = True
    config.repetition_penalty = add.repeat_penalty
    config.presence_penalty = add.presence_penalty
    config.frequency_penalty = add.frequency_penalty
    config.logprobs = int(add.logprobs)  # more than 1 is read as 1: no alternatives (openvino-facts 6)
    config.do_sample = add.temperature > 0
    if config.do_sample:
        config.temperature = add.temperature
        config.top_p = add.top_p
        config.min_p = add.min_p
        config.rng_seed = add.seed
        if add.top_k > 0:
            config.top_k = add.top_k
    if add.grammar is not None:
        from inference.worker.grammar_config import structured_output_config

        config.structured_output_config = structured_output_config(add.grammar)
    return config
