"""From a request to a job: may the model do it, what are its exact prompt ids, which sampling is complete.

Everything here happens before a device is chosen, so that the choice can rest on exact counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import structs

from inference import token_ids, vision
from inference.backend import ChatJob, EmbedJob
from inference.call_grammar import check_choice
from inference.errors import BadRequest, CapabilityMissing, ContextLengthExceeded
from inference.image_tokens import Size
from inference.prompt import Prompt
from inference.sampling import bounded
from inference.texts import Text
from inference.tokenizer import INLINE_CHARS, TextCodec
from inference.types import (
    DEFAULT_SAMPLING,
    ChatRequest,
    EmbedRequest,
    Message,
    ModelSpec,
)
from inference.worker.messages import pack_ids

MAX_MESSAGES = 10_000
MAX_TEXTS = 10_000
"""Of one embedding request: their vectors are 15 MB, and 80 MB as JSON."""
ROLES = ("system", "user", "assistant", "tool")


def check_capabilities(spec: ModelSpec, request: ChatRequest) -> None:
    """Raises CapabilityMissing in the words of api-contract 8."""
    if spec.kind != "chat":
        raise CapabilityMissing(f'"{request.model}" does not support chat')
    if request.tools and "tools" not in spec.capabilities:
        raise CapabilityMissing(f"{spec.name} does not support tools", "tools")
    check_choice(request.tools, request.tool_choice)
    if request.suffix and "insert" not in spec.capabilities:
        raise CapabilityMissing(f"{spec.name} does not support insert", "suffix")
    if (images := vision.images_of(request.messages)) and not vision.looks(spec):
        raise CapabilityMissing(f'"{request.model}" does not support vision', images[0].field)
    if request.think and "thinking" not in spec.capabilities:
        raise CapabilityMissing(f'"{request.model}" does not support thinking', "think")


def thinks(spec: ModelSpec, request: ChatRequest) -> bool:
    """Thinking is on by default where the model can."""
    return "thinking" in spec.capabilities and request.think is not False and not request.is_bare


def check_messages(request: ChatRequest, text: Text) -> None:
    """Raises BadRequest for too many messages, and for a role that the template does not name."""
    if len(request.messages) > MAX_MESSAGES:
        raise BadRequest(f"{len(request.messages)} messages; at most {MAX_MESSAGES} are accepted", "messages")
    for message in request.messages:
        if message.role not in ROLES and not _is_named(message.role, text.template.source):
            raise _unknown(message.role)


def check_shown(request: ChatRequest, prompt: Prompt) -> None:
    """A message of a role that is not everybody's must show in the prompt: nothing is left out silently."""
    for message in request.messages:
        if message.role not in ROLES and message.content.strip() not in prompt.text:
            raise _unknown(message.role)


def _is_named(role: str, template: str) -> bool:
    return bool(role) and (f"'{role}'" in template or f'"{role}"' in template)


def _unknown(role: str) -> BadRequest:
    return BadRequest(f"invalid message role {role[:40]!r}: give one of {', '.join(ROLES)}", "messages")


def messages_of(spec: ModelSpec, request: ChatRequest) -> tuple[Message, ...]:
    """As asked for a bare prompt; else one system text, then the model's own turns, then the request's. The request's
    system text counts before the model's SYSTEM, and that before a stored turn of that role: templates take one, and as
    the first alone. Ids `before` the prompt have had what is the model's own."""
    asked, stored = request.messages, spec.messages
    if request.is_bare or request.before:
        return asked
    first: tuple[Message, ...] = ()
    if asked and asked[0].role == "system":
        first, asked = asked[:1], asked[1:]
    elif spec.system:
        first = (Message(role="system", content=spec.system),)
    if first and stored and stored[0].role == "system":
        stored = stored[1:]
    return (*first, *stored, *asked) if first or stored else asked


async def chat_job(
    spec: ModelSpec,
    request: ChatRequest,
    text: Text,
    began: float,
    *,
    limits: Mapping[str, int],
    truncate: bool,
) -> ChatJob:
    """`limits`: tokens that each device holds. `truncate`: the oldest messages go until one token fits behind in the
    roomiest.

    Raises ContextLengthExceeded for a prompt that no truncation, or none that was asked for, brings under the limit.
    """
    limit = max(limits.values())
    check_messages(request, text)
    token_ids.check(request.before, text.codec, "prompt" if request.raw else "context")
    sizes = await vision.check(request.messages)
    messages = messages_of(spec, request)
    request = structs.replace(request, messages=messages)
    think = thinks(spec, request)
    while True:
        least = text.codec.least_tokens(_chars(request.messages))
        if least < limit:
            prompt = await _prompt(spec, request, text, think)
            check_shown(request, prompt)
            written, ids = await _encoded(prompt, request, text, sizes)
            if len(ids) < limit or not truncate:
                break
        tokens = max(least, len(ids) if least < limit else 0)
        shorter = _without_oldest(request.messages, 1 - limit / tokens) if truncate else request.messages
        if len(shorter) == len(request.messages):
            raise ContextLengthExceeded(tokens, limit, at_least=least >= limit, limits=limits)
        request = structs.replace(request, messages=shorter)
    return ChatJob(
        spec=spec, request=request, prompt_ids=ids, prompt=written,
        sampling=bounded(request.sampling.over(spec.parameters)).over(DEFAULT_SAMPLING), think=think,
        starts_in_thinking=prompt.opens(text.template.think_tags.open) and not request.is_bare,
        think_tags=text.template.think_tags,
        family=text.family(spec), grammar=None, began=began,
        truncated_messages=len(messages) - len(request.messages),
        ends=text.codec.infill.ends if request.suffix and text.codec.infill else frozenset(),
    )  # fmt: skip


async def _prompt(spec: ModelSpec, request: ChatRequest, text: Text, think: bool) -> Prompt:
    """Off means off: a template that begins thoughts whatever it is told has them ended here.

    So is, where thoughts and calls are channels of the answer, an answer that may have neither or must be JSON.
    """
    if request.is_bare:
        return _bare_prompt(request, text)
    prompt = await text.template.render(request, think)
    if request.closed:
        return prompt
    family, tags = text.family(spec), text.template.think_tags
    plain = request.constraint is not None and not request.tool_choice.required
    if family.answer_only and (plain or not (think or request.tools)):
        return structs.replace(prompt, text=prompt.text + family.answer_only)
    if not think and prompt.opens(tags.open):
        return structs.replace(prompt, text=f"{prompt.text.rstrip()}\n\n{tags.close}\n\n")
    if not think and tags.always:
        return structs.replace(prompt, text=prompt.text + tags.open + tags.close)
    return prompt


def _bare_prompt(request: ChatRequest, text: Text) -> Prompt:
    given = vision.bare_prompt(request.messages[0]) if request.messages else ""
    if not request.suffix:
        return Prompt(given)
    if text.codec.infill is None:  # the files are others than they were when the model was registered
        raise CapabilityMissing(f"{request.model} does not support insert", "suffix")
    return text.codec.infill.prompt(given, request.suffix)


async def _encoded(
    prompt: Prompt, request: ChatRequest, text: Text, sizes: Mapping[str, Size]
) -> tuple[str, list[int]]:
    """The ids that the model gets, and for one that looks at images the text that the pipeline makes them from."""
    if text.image_tokens is None:
        ids = await text.codec.encode_async(prompt)
        return "", token_ids.joined(request.before, ids, text.codec, bare=request.is_bare)
    written = vision.runtime_text(prompt, request.before, text.codec)
    images = vision.images_of(request.messages)
    vision.check_shown(images, written)
    expanded = text.image_tokens.expanded(written, [sizes[image.field] for image in images])
    ids = await text.codec.encode_async(Prompt(expanded))
    return written, [*text.codec.lead, *ids]


async def prompt_ids(spec: ModelSpec, request: ChatRequest, text: Text) -> list[int]:
    """The prompt that a generation would begin with."""
    check_messages(request, text)
    token_ids.check(request.before, text.codec, "prompt" if request.raw else "context")
    sizes = await vision.check(request.messages)
    request = structs.replace(request, messages=messages_of(spec, request))
    prompt = await _prompt(spec, request, text, thinks(spec, request))
    return (await _encoded(prompt, request, text, sizes))[1]


def _chars(messages: tuple[Message, ...]) -> int:
    return sum(len(message.content) + len(message.thinking) for message in messages)


def _without_oldest(messages: tuple[Message, ...], share: float) -> tuple[Message, ...]:
    """Without the oldest messages that make up most of this share of the text, one at least, but never the last nor
    the system's; the results of a tool go with the message that called it."""
    enough = share * 0.9 * _chars(messages)
    gone: set[int] = set()
    chars = 0
    for index, message in enumerate(messages[:-1]):
        if message.role == "system":
            continue
        if gone and chars >= enough and message.role != "tool":
            break
        gone.add(index)
        chars += len(message.content) + len(message.thinking)
    return tuple(message for index, message in enumerate(messages) if index not in gone)


async def embed_job(spec: ModelSpec, request: EmbedRequest, codec: TextCodec, began: float) -> EmbedJob:
    """Raises ContextLengthExceeded for a text that is too long when the request forbids to cut it."""
    if (many := len(request.ids or request.texts)) > MAX_TEXTS:
        raise BadRequest(f"input has {many} texts, at most {MAX_TEXTS} are accepted at once", "input")
    if request.ids:
        texts = await asyncio.to_thread(token_ids.texts_of, request.ids, codec)
        request = structs.replace(request, texts=texts)
    limit = min(spec.context_length, request.num_ctx) if request.num_ctx else spec.context_length
    if sum(map(len, request.texts)) <= INLINE_CHARS:
        fitted = _fitted(request.texts, limit, codec)
    else:
        fitted = await asyncio.to_thread(_fitted, request.texts, limit, codec)
    too_long = [count for _, count in fitted if count > limit]
    if too_long and not request.truncate:
        raise ContextLengthExceeded(too_long[0], limit)
    return EmbedJob(
        spec=spec, request=request, ids=tuple([ids for ids, _ in fitted]),
        prompt_tokens=sum(min(count, limit) for _, count in fitted),
        truncated_tokens=sum(count - limit for count in too_long), began=began,
    )  # fmt: skip


def _fitted(texts: Sequence[str], limit: int, codec: TextCodec) -> list[tuple[bytes, int]]:
    return [(pack_ids(ids), count) for ids, count in codec.fit(texts, limit)]
