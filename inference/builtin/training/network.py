"""The demo model's shape, and its Hugging Face folder."""

from pathlib import Path

import torch
import vocabulary
from tokenizers import Tokenizer
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM


def build(vocabulary_size: int, layers: int, hidden: int, dropout: float = 0.0) -> Qwen3ForCausalLM:
    """A Qwen3 model with heads of 64, the size that every OpenVINO attention kernel takes."""
    config = Qwen3Config(
        vocab_size=vocabulary_size,
        hidden_size=hidden,
        intermediate_size=hidden * 3 // 2,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
        head_dim=64,
        max_position_embeddings=vocabulary.CONTEXT_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        attention_dropout=dropout,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        use_cache=False,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config)


def parameters(model: torch.nn.Module) -> int:
    """Parameters, the tied embedding counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def save(model: Qwen3ForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the folder that optimum exports: weights, config, generation config, tokenizer, template."""
    model.config.use_cache = True
    model.generation_config = GenerationConfig(
        bos_token_id=None, eos_token_id=[2, 0], pad_token_id=0, do_sample=False
    )
    model.save_pretrained(folder)
    model.config.use_cache = False
    vocabulary.save(tokenizer, folder)
