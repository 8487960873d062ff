"""Tokenizer and chat template of the models in use: opened once for each digest, off the loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from inference.chat_template import ChatTemplate
from inference.errors import CapabilityMissing
from inference.image_tokens import ImageTokens
from inference.tokenizer import TextCodec
from inference.tools.families import FAMILIES
from inference.tools.family import Family
from inference.types import ModelSpec
from inference.vision import looks

KEPT = 8
"""Models whose tokenizer stays in memory; a vocabulary of 150,000 takes some 60 MB."""


class Text:
    """What a model needs to turn messages into token ids and ids into text."""

    def __init__(
        self, codec: TextCodec, template: ChatTemplate | None, image_tokens: ImageTokens | None = None
    ) -> None:
        """`image_tokens`: of a model that looks at images."""
        self.codec = codec
        self.image_tokens = image_tokens
        self._template = template

    @property
    def template(self) -> ChatTemplate:
        assert self._template is not None, "an embedding model has no chat template"
        return self._template

    def family(self, spec: ModelSpec) -> Family:
        """How this model writes calls of tools."""
        return FAMILIES.get(spec.tool_parser) or self.template.family


def _open(spec: ModelSpec) -> Text:
    template = ChatTemplate.open(spec) if spec.kind == "chat" else None
    return Text(TextCodec.open(spec), template, ImageTokens(spec) if looks(spec) else None)


class Texts:
    """Least recently used go first. Event loop only."""

    def __init__(self) -> None:
        self._opened: OrderedDict[str, asyncio.Task[Text]] = OrderedDict()

    async def get(self, spec: ModelSpec) -> Text:
        """Raises ModelDamaged when a file of the text side is missing or broken."""
        if spec.remote:
            raise CapabilityMissing(
                f'"{spec.name}" is on another server alone, and its tokens are known there alone'
            )
        key = f"{spec.digest}\0{spec.template}"
        task = self._opened.get(key)
        if task is None:
            task = self._opened[key] = asyncio.create_task(asyncio.to_thread(_open, spec))
            while len(self._opened) > KEPT:
                self._opened.popitem(last=False)
        else:
            self._opened.move_to_end(key)
            if task.done() and task.exception() is None:
                return task.result()
        try:
            return await asyncio.shield(task)
        except Exception:
            self._opened.pop(key, None)
            raise
