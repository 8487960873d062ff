"""Every family, and which one a model is of: by the words of its template, or as PARAMETER tool_parser says."""

from __future__ import annotations

from inference.tools import channels, deepseek, hermes, llama, mistral, qwen_coder, tagged_lists
from inference.tools.family import Family

FAMILIES = {
    family.name: family
    for family in (
        hermes.HERMES,
        qwen_coder.QWEN_CODER,
        llama.LLAMA,
        mistral.MISTRAL,
        deepseek.DEEPSEEK,
        tagged_lists.PHI,
        tagged_lists.GRANITE,
        channels.CHANNELS,
    )
}

_MARKS = (
    (channels.CHANNELS, (channels.CHANNEL,)),
    (deepseek.DEEPSEEK, (deepseek.CALL, deepseek.ALL)),
    (mistral.MISTRAL, (mistral.TAG,)),
    (qwen_coder.QWEN_CODER, (qwen_coder.PARAMETER,)),
    (hermes.HERMES, (hermes.CLOSE,)),
    (tagged_lists.GRANITE, ("<|start_of_role|>",)),
    (tagged_lists.PHI, (tagged_lists.TAG, tagged_lists.CLOSE, "<|tool|>")),
    (llama.LLAMA, (llama.TAG, "<|start_header_id|>", "<|header_start|>")),
)
"""In this order: some templates speak of two ways, and the first is what their models write."""


def family_of(template: str) -> Family:
    """The first whose words are in the text of the template; Hermes where there are none."""
    for family, words in _MARKS:
        if any(word in template for word in words):
            return family
    return hermes.HERMES
