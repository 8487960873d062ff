"""Ollama's templates are written for Go; here templates are Jinja. Those of Ollama's library say what the model's own
template says, and are taken for it; any other is refused with the way out.

A Go template is recognised by its turn markers: they must be those of the model's own template, and every line of text
between them must be one that the model's own template has too, or one that Ollama's library is known to add. So a
template into which somebody wrote an instruction of their own is never dropped in silence.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from inference.chat_template import PLAIN_TEMPLATE
from inference.errors import BadRequest
from inference.infill import Tokens

_ACTION: Final = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
_GO: Final = re.compile(
    r"\{\{-?\s*(?:[.$]|(?:if|with|else if|and|or|not|eq|ne|len|slice|json|toJson|printf|index)\s+[.$(\"]"
    r"|range\s+[.$]|(?:else|end|break|continue)\s*-?\}\}|(?:define|template|block)\s+\"|/\*|currentDate|yesterdayDate)"
)
_MARKER: Final = re.compile(
    r"<[|｜][^<>\s]{1,40}[|｜]>|</?(?:start_of_turn|end_of_turn|s)>|<</?SYS>>|\[/?[A-Z_]{4,40}\]"
)
_SUFFIX: Final = re.compile(r"\{\{[^}]*\.Suffix\b")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")


class Family(Struct, frozen=True):
    """Models whose templates speak one format; `markers` are those that no other family has."""

    name: str
    markers: tuple[str, ...]


FAMILIES: Final = (
    Family("Qwen, SmolLM and others (ChatML)", ("<|im_start|>", "<|im_end|>")),
    Family("Phi-4", ("<|im_start|>", "<|im_sep|>", "<|im_end|>")),
    Family("Llama 3", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    Family("Llama 4", ("<|header_start|>", "<|header_end|>", "<|eot|>")),
    Family("Gemma", ("<start_of_turn>", "<end_of_turn>")),
    Family("Phi-3 and Phi-4 mini", ("<|user|>", "<|assistant|>", "<|end|>")),
    Family("TinyLlama and Zephyr", ("<|user|>", "<|assistant|>")),
    Family("Mistral and Llama 2", ("[INST]", "[/INST]")),
    Family("DeepSeek", ("<｜User｜>", "<｜Assistant｜>")),
    Family("Granite", ("<|start_of_role|>", "<|end_of_role|>")),
    Family("Granite 3.0 and before", ("<|system|>", "<|user|>", "<|assistant|>")),
    Family("Command R", ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")),
    Family("OLMo, gpt-oss", ("<|start|>", "<|message|>", "<|end|>")),
)
_STRUCTURE: Final = frozenset(
    {
        *(
            "system",
            "user",
            "assistant",
            "model",
            "tool",
            "tools",
            "ipython",
            "environment",
            "tooling",
            "think",
        ),
        *(
            "name",
            "arguments",
            "parameters",
            "type",
            "function",
            "functions",
            "content",
            "role",
            "result",
            "no",
        ),
        *("results", "available", "call", "calls", "response", "output"),
    }
)
"""Roles, and the keys of the JSON in which tools are told."""

_STOCK: Final = frozenset(
    {
        "cutting knowledge date december",
        "you may call one or more functions to assist with the user query",
        "you are provided with function signatures within tools tools xml tags",
        "for each function call return json object with function name and arguments within tool call tool call "
        "xml tags",
        "name function name arguments args json object",
        "when you receive tool call response use the output to format an answer to the orginal user question",
        "when you receive tool call response use the output to format an answer to the original user question",
        "you are helpful assistant with tool calling capabilities",
        "given the following functions please respond with json for function call with its proper arguments "
        "that best answers the given prompt",
        "respond in the format name function name parameters dictionary of argument name and its value "
        "do not use variables",
    }
)
"""Sentences that Ollama's library adds by itself; as `_words` has them."""


def is_go(template: str) -> bool:
    """Written for Go, not for Jinja."""
    return _GO.search(template) is not None


def stands_for_own(template: str, own: str, fills_in: Tokens | None = None) -> str:
    """The family whose format a Go template and the model's own (`own`, Jinja) share. Raises BadRequest.

    `fills_in`: the tokens of fill-in-middle that the model's tokenizer has; a template with .Suffix must be of those.
    """
    if _SUFFIX.search(template):
        template = _without_infill(template, fills_in)
        if own == PLAIN_TEMPLATE and not _words(_ACTION.sub(" ", template)):
            return "models that go on with a text"
    family = _family(template)
    if family is None:
        raise _refused("is written for Go and none of those that are known here")
    missing = [marker for marker in family.markers if marker not in own]
    if missing:
        raise _refused(f"is Ollama's for {family.name}, and this model's own does not know {missing[0]}")
    said_by_own = f" {_words(own.replace(chr(92) + 'n', ' '))} "
    for line in _MARKER.sub("\n", _ACTION.sub("\n", template)).splitlines():
        words = _words(line)
        if not (_STRUCTURE.issuperset(words.split()) or words in _STOCK or f" {words} " in said_by_own):
            shown = f"{line.strip()[:60]!r}"
            raise _refused(
                f"is Ollama's for {family.name} with a text of its own, {shown}, which belongs into SYSTEM"
            )
    return family.name


def _without_infill(template: str, fills_in: Tokens | None) -> str:
    """The order of the parts is the model's own, whatever the template says. Raises BadRequest."""
    if fills_in is None:
        raise _refused("has .Suffix, and this model's tokenizer has no tokens for fill-in-middle")
    for token in fills_in.all:
        written = token.removeprefix(
            "▁"
        )  # the sign of a space in front, which a template writes as one or not
        if written not in template:
            raise _refused(f"has .Suffix with other tokens than this model's, which has no {written} in it")
        template = template.replace(token, " ").replace(written, " ")
    return template


def _family(template: str) -> Family | None:
    """The one with most markers in it."""
    fitting = [family for family in FAMILIES if all(marker in template for marker in family.markers)]
    return max(fitting, key=lambda family: len(family.markers), default=None)


def _words(text: str) -> str:
    """Without what is no word, so that quotation marks and line ends are no difference."""
    return " ".join(_WORD.findall(text)).lower()


def _refused(why: str) -> BadRequest:
    return BadRequest(
        f"template: {why}; templates are Jinja here. Leave TEMPLATE out and the model's own is used "
        "(/api/show has its text as `template`)",
        "template",
    )
