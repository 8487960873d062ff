"""Fill-in-middle: what a model is asked with to write what is missing between two texts.

Models that were trained for it have tokens of their own for the three parts; they are found in the tokenizer. No chat
template is used.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

import tokenizers
from msgspec import Struct

from inference.prompt import ControlStrings, Prompt
from inference.tokenizer_files import AddedToken


class Tokens(Struct, frozen=True):
    """Each stands before its part; the answer follows behind `middle`, or where there is none behind the last part."""

    prefix: str
    suffix: str
    middle: str = ""
    suffix_first: bool = False

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(token for token in (self.prefix, self.suffix, self.middle) if token)


FAMILIES: Final = (
    Tokens("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen, CodeGemma, Codestral Mamba
    Tokens("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite, Stable Code
    Tokens("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    Tokens("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    Tokens("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    Tokens("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM
    Tokens("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", suffix_first=True),  # Seed-Coder
    Tokens("[PREFIX]", "[SUFFIX]", suffix_first=True),  # Codestral, Mistral
)

ENDS: Final = frozenset(
    {
        *("<|fim_pad|>", "<fim_pad>", "<fim-pad>", "<|file_sep|>", "<file_sep>", "<|file_separator|>"),
        *("<|repo_name|>", "<repo_name>", "<reponame>", "<filename>", "<|endoftext|>", "<|end_of_text|>"),
        *("▁<EOT>", "<EOT>", "<|EOT|>", "<|cursor|>", "<｜end▁of▁sentence｜>"),
    }
)
"""What such models write behind the middle: another file begins, or the text ends."""

PLAIN: Final = ("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>")
"""Tokens of control that some tokenizers list as plain words of their vocabulary."""


def find(tokens: Container[str]) -> Tokens | None:
    """The family whose tokens are all there."""
    return next((family for family in FAMILIES if all(token in tokens for token in family.all)), None)


def with_plain_tokens(
    tokenizer: tokenizers.Tokenizer, added: tuple[AddedToken, ...]
) -> tuple[AddedToken, ...]:
    """Also the tokens of control that this tokenizer has as plain words; from now on it finds them in text."""
    known = {token.content for token in added}
    ids = {token: tokenizer.token_to_id(token) for token in PLAIN if token not in known}
    plain = tuple(AddedToken(id, token, special=True) for token, id in ids.items() if id is not None)
    tokenizer.add_special_tokens([tokenizers.AddedToken(token.content, normalized=False) for token in plain])
    return (*added, *plain)


class Infill:
    """How one model is asked."""

    def __init__(self, tokens: Tokens, added: Sequence[AddedToken]) -> None:
        own = {*tokens.all, *ENDS}
        self._tokens = tokens
        self._control = ControlStrings(
            token.content for token in added if token.special or token.content in own
        )
        self.ends = frozenset(token.id for token in added if token.content in own)
        """Ids that end the answer, besides those that end every answer."""

    @classmethod
    def of(cls, added: Sequence[AddedToken]) -> Infill | None:
        """None for a tokenizer that has no such tokens."""
        tokens = find({token.content for token in added})
        return cls(tokens, added) if tokens else None

    def prompt(self, prefix: str, suffix: str) -> Prompt:
        """What users typed in it is text, whatever it spells."""
        tokens = self._tokens
        parts = [(tokens.prefix, prefix), (tokens.suffix, suffix)]
        text = ""
        spans: list[tuple[int, int]] = []
        for token, part in reversed(parts) if tokens.suffix_first else parts:
            text += token
            if self._control.pattern is not None:
                found = self._control.pattern.finditer(part)
                spans += [(len(text) + match.start(), len(text) + match.end()) for match in found]
            text += part
        return Prompt(text + tokens.middle, tuple(spans))
