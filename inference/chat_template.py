"""Messages -> prompt, by the model's own Jinja template, as Hugging Face renders it (openvino-facts 20)."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from typing import Any

from jinja2 import Template, TemplateError

from inference import vision
from inference.errors import BadRequest, ModelDamaged
from inference.prompt import ControlStrings, Prompt, Quoting
from inference.template_sandbox import TakesLong, TemplateRefusal, TemplateSandbox, charge, set_budget
from inference.template_threads import RenderTimeout, TemplateThreads
from inference.thinking import THINK, think_tags
from inference.tokenizer_files import AddedToken, added_tokens, read_json
from inference.tools.families import family_of
from inference.turns import simpler
from inference.types import ChatRequest, Message, ModelSpec, Tool, ToolCall

PLAIN_TEMPLATE = "{{ messages | map(attribute='content') | join('\\n') }}"
"""For a model that has none: it goes on with the text that it is given."""

LARGEST_SOURCE = 512 * 1024
SMALL_MESSAGES = 20
SMALL_CHARS = 8_000
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")

_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "max": "high"}
"""As templates know them: gpt-oss has three."""

_NO_CONTENT = re.compile(r"content['\"\]]*\s+is\s+none", re.IGNORECASE)
"""DeepSeek's templates show the calls of a turn only where its content is none."""

_threads = TemplateThreads()


class ChatTemplate:
    """One model's template. `source` is its text, `capabilities` what of tools and thinking it was found to do."""

    def __init__(self, spec: ModelSpec, sources: dict[str, str], added: tuple[AddedToken, ...]) -> None:
        self._model = spec.name
        self._tokens = _special_tokens(spec)
        self.source = sources["default"]
        found = think_tags(self.source)
        self.think_tags = found or THINK
        self.family = family_of(self.source)
        """How the model writes calls, unless PARAMETER tool_parser says otherwise."""
        self._thinks = found is not None
        self._efforts = "reasoning_effort" in self.source
        self._no_content = self.family.name == "deepseek" and _NO_CONTENT.search(self.source) is not None
        self._short_ids = "length 9" in self.source
        special = [token.content for token in added if token.special]
        structure = [
            token.content for token in added if any(token.content in text for text in sources.values())
        ]
        if vision.looks(spec):
            special += vision.TAG_BEGINNINGS
        self._special = ControlStrings(special)
        self._control = ControlStrings([*special, *structure])
        environment = TemplateSandbox()
        self._templates = {name: self._compiled(environment, text) for name, text in sources.items()}
        self._parts = False
        self._parts = vision.looks(spec) and self._wants_parts()
        self.capabilities = self._found()

    @classmethod
    def open(cls, spec: ModelSpec) -> ChatTemplate:
        """Reads, compiles and tries the template; blocking. Raises ModelDamaged; BadRequest for a broken one."""
        return cls(spec, _sources(spec), added_tokens(spec))

    def tried(self, messages: tuple[Message, ...]) -> Prompt:
        """The prompt of plain messages, within the deadline of every render; blocking. Raises BadRequest."""
        try:
            return _threads.run_blocking(lambda: self._rendered(messages, (), False))
        except RenderTimeout as error:
            raise self._fault(error) from None

    async def render(self, request: ChatRequest, think: bool) -> Prompt:
        """The prompt up to where the model's answer begins. Raises BadRequest that names the template."""
        if _is_small(request):
            with suppress(TakesLong):
                return self._rendered(
                    request.messages, request.tools, think, request.effort, True, request.closed
                )
        try:
            return await _threads.run(
                lambda: self._rendered(
                    request.messages, request.tools, think, request.effort, closed=request.closed
                )
            )
        except RenderTimeout as error:
            raise self._fault(error) from None

    def _compiled(self, environment: TemplateSandbox, source: str) -> Template:
        def compiled() -> Template:
            set_budget(len(source))
            return environment.from_string(source)

        if len(source) > LARGEST_SOURCE:
            raise self._fault("is too long")
        try:
            return _threads.run_blocking(compiled)
        except (TemplateError, RenderTimeout, RecursionError, SyntaxError, ValueError) as error:
            raise self._fault(error) from error

    def _rendered(
        self,
        messages: tuple[Message, ...],
        tools: tuple[Tool, ...],
        think: bool,
        effort: str = "",
        brief: bool = False,
        closed: bool = False,
    ) -> Prompt:
        """The messages as they are, or in the first simpler shape that the template takes."""
        try:
            return self._filled(messages, tools, think, effort, brief, closed)
        except TemplateRefusal as refusal:
            for turns in simpler(messages):
                with suppress(TemplateRefusal):
                    return self._filled(turns, tools, think, effort, brief, closed)
            raise self._fault(refusal) from refusal

    def _filled(
        self,
        messages: tuple[Message, ...],
        tools: tuple[Tool, ...],
        think: bool,
        effort: str,
        brief: bool,
        closed: bool,
    ) -> Prompt:
        quoting = Quoting()
        template = self._templates.get("tool_use" if tools else "default", self._templates["default"])
        try:
            values = {
                **self._tokens,
                "messages": self._messages(messages, quoting),
                "tools": [quoting.quote(_tool(tool), self._control) for tool in tools] or None,
                "documents": None,
                "add_generation_prompt": not closed,
                "enable_thinking": think,
                "thinking": think,
            }
            if self._efforts and (effort or not think):
                values["reasoning_effort"] = _EFFORTS.get(effort, "low")
        except RecursionError:
            raise BadRequest("messages or tools are nested too deeply", "messages") from None
        set_budget(_chars(messages), brief)
        chunks: list[str] = []
        try:
            for chunk in template.root_render_func(template.new_context(values)):
                charge(len(chunk))
                chunks.append(chunk)
        except (TakesLong, TemplateRefusal):
            raise
        except Exception as error:  # a template can raise anything; what it raises is about this request
            raise self._fault(error) from error
        return quoting.prompt("".join(chunks))

    def _messages(self, messages: tuple[Message, ...], quoting: Quoting) -> list[dict[str, Any]]:
        values: list[dict[str, Any]] = []
        images = 0
        for message in messages:
            values.append(self._message(message, quoting, images))
            images += len(message.images)
        return values

    def _content(self, message: Message, quoting: Quoting, control: ControlStrings, images: int) -> Any:
        """The text with a tag for each image at its place; as a list of one part for a template that knows no other.
        `images`: those of the messages before."""
        pieces: list[str] = []
        last = 0
        for number, image in enumerate(message.images, images):
            pieces += (quoting.quote(message.content[last : image.at], control), vision.tag(number))
            last = image.at
        text = "".join([*pieces, quoting.quote(message.content[last:], control)])
        return [{"type": "text", "text": text}] if self._parts else text

    def _wants_parts(self) -> bool:
        """Tried: some templates of models that look at images show nothing of a content that is a string."""
        tried = self._tried((Message(role="user", content="probe of content"),), (), False)
        return tried is None or "probe of content" not in tried.text

    def _message(self, message: Message, quoting: Quoting, images: int) -> dict[str, Any]:
        # What the model itself once said keeps the tags that templates look for; its control tokens are quoted too.
        spoken = self._special if message.role == "assistant" else self._control
        value: dict[str, Any] = {"role": quoting.quote(message.role, self._control)}
        value["content"] = self._content(message, quoting, spoken, images)
        if message.thinking:
            value["reasoning_content"] = quoting.quote(message.thinking, self._control)
        if message.tool_calls:
            calls = [_call(call, self._id(call.id)) for call in message.tool_calls]
            if self._no_content and not message.content:
                value["content"] = None
            value["tool_calls"] = [_written(quoting.quote(call, self._control)) for call in calls]
        if message.tool_name:
            value["name"] = quoting.quote(message.tool_name, self._control)
        if message.tool_call_id:
            value["tool_call_id"] = quoting.quote(self._id(message.tool_call_id), self._control)
        return value

    def _id(self, id: str) -> str:
        """Mistral's templates refuse ids that are not nine letters and digits; the same id stays the same."""
        return hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:9] if self._short_ids else id

    def _found(self) -> frozenset[str]:
        """Tried, not guessed from names: does a tool show in the prompt, and does thinking change it?"""
        question = (Message(role="user", content="?"),)
        probe = Tool(name="probe_of_tools", description="?", parameters={"type": "object", "properties": {}})
        try:
            tools = self._tried(question, (probe,), False)
            off, on = self._tried(question, (), False), self._tried(question, (), True)
        except RenderTimeout:
            return frozenset()  # each request will be told
        found = {"tools"} if tools is not None and probe.name in tools.text else set()
        changes = on is not None and (on.opens(self.think_tags.open) or off != on)
        if self.family.think is not None or self.think_tags.always or (self._thinks and changes):
            found.add("thinking")
        return frozenset(found)

    def _tried(self, messages: tuple[Message, ...], tools: tuple[Tool, ...], think: bool) -> Prompt | None:
        try:
            return _threads.run_blocking(lambda: self._rendered(messages, tools, think))
        except BadRequest:
            return None

    def _fault(self, error: object) -> BadRequest:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        detail = re.sub(r" at 0x[0-9a-fA-F]+", "", detail)
        return BadRequest(f"the chat template of model '{self._model}' failed: {detail[:300]}", "messages")


class _Arguments(dict[str, Any]):
    """An object that is JSON wherever a template takes it for text: some were written for arguments that are text."""

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)

    def __add__(self, other: str) -> str:
        return str(self) + other

    def __radd__(self, other: str) -> str:
        return other + str(self)


def _written(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": _Arguments(function["arguments"])}}


def _chars(messages: tuple[Message, ...]) -> int:
    return sum(len(message.content) + len(message.thinking) for message in messages)


def _is_small(request: ChatRequest) -> bool:
    """Rendered at once: two changes of threads take longer than the template does."""
    plain = not request.tools and not any(message.tool_calls for message in request.messages)
    return plain and len(request.messages) <= SMALL_MESSAGES and _chars(request.messages) <= SMALL_CHARS


def _sources(spec: ModelSpec) -> dict[str, str]:
    """By name: 'default', and 'tool_use' where the model has another template for tools."""
    if spec.template:
        return {"default": spec.template}
    file = spec.path / "chat_template.jinja"
    if file.is_file():
        try:
            return {"default": file.read_text(encoding="utf-8")}
        except UnicodeDecodeError as error:
            raise ModelDamaged(spec.name, file.name, "is not UTF-8 text") from error
    found = read_json(spec, "tokenizer_config.json").get("chat_template")
    if isinstance(found, str):
        return {"default": found}
    if isinstance(found, list):
        named = {
            e["name"]: e["template"]
            for e in found
            if isinstance(e, dict) and {"name", "template"} <= e.keys()
        }
        if "default" in named:
            return named
    return {"default": PLAIN_TEMPLATE}


def _special_tokens(spec: ModelSpec) -> dict[str, str]:
    config = {**read_json(spec, "special_tokens_map.json"), **read_json(spec, "tokenizer_config.json")}
    tokens: dict[str, str] = {}
    for name in SPECIAL_TOKENS:
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            tokens[name] = value
    return tokens


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _call(call: ToolCall, id: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": id, "type": "function", "function": function}
