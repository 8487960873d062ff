"""The tags between which models write their thoughts."""

from __future__ import annotations

from msgspec import Struct


class ThinkTags(Struct, frozen=True):
    open: str
    close: str
    answer: tuple[str, ...] = ()
    """Tags around the answer that follows; never shown."""

    always: bool = False
    """Templates that know these tags are of models that think unless their thoughts are ended before they begin."""

    @property
    def all(self) -> tuple[str, ...]:
        return (self.open, self.close, *self.answer)


THINK = ThinkTags("<think>", "</think>")
"""Qwen, DeepSeek and most others."""

_KNOWN = (
    ThinkTags("[THINK]", "[/THINK]", always=True),  # Magistral
    ThinkTags(
        "<|START_THINKING|>", "<|END_THINKING|>", ("<|START_RESPONSE|>", "<|END_RESPONSE|>")
    ),  # Command
    ThinkTags("<seed:think>", "</seed:think>", always=True),  # Seed-OSS
    ThinkTags("Here is my thought process:", "Here is my response:"),  # Granite 3.2
)
_GRANITE = ThinkTags("<think>", "</think>", ("<response>", "</response>"))  # Granite 3.3


def think_tags(template: str) -> ThinkTags | None:
    """Those whose opening tag is in the text of a template; None: it knows of no thoughts."""
    for tags in _KNOWN:
        if tags.open in template:
            return tags
    if THINK.open in template:
        return _GRANITE if "<response>" in template else THINK
    return None
