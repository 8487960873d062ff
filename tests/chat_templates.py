"""A model folder that has a chat template and no model, for the tests of templates."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from inference.chat_template import ChatTemplate
from inference.prompt import Prompt
from inference.types import ChatRequest, Message, ModelSpec, Tool

ADDED = [
    {"id": 0, "content": "<|end|>", "special": True},
    {"id": 1, "content": "<|user|>", "special": True},
    {"id": 2, "content": "<think>", "special": False},
    {"id": 3, "content": "</think>", "special": False},
    {"id": 4, "content": "<h1>", "special": False},
]
CHAT = """
{%- for message in messages -%}
<|{{ message.role }}|>{{ message.content }}<|end|>
{% endfor -%}
{% if add_generation_prompt %}<|assistant|>{% endif %}
"""
USER = (Message(role="user", content="hi"),)
TOOL = Tool(name="weather", description="the <weather> & more", parameters={"type": "object"})


def template_spec(folder: Path, template: str = "", **files: Any) -> ModelSpec:
    for name, content in {"tokenizer": {"added_tokens": ADDED}, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return ModelSpec(name="m:latest", digest="0" * 64, path=folder, kind="chat", template=template)


def rendered(
    folder: Path,
    template: str,
    messages: tuple[Message, ...] = USER,
    tools: tuple[Tool, ...] = (),
    think: bool = False,
    **files: Any,
) -> Prompt:
    request = ChatRequest(model="m", messages=messages, tools=tools)
    return asyncio.run(ChatTemplate.open(template_spec(folder, template, **files)).render(request, think))
