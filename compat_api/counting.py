"""Texts and tokens by the tokenizer of a model: how many, which, and what they say. No worker is needed."""

from __future__ import annotations

import asyncio

from compat_api import anthropic
from compat_api.consumer import InferenceConsumer, off_loop
from compat_api.dialect import JSON
from compat_api.openai import tokens
from inference import engine, token_ids


class CountConsumer(InferenceConsumer):
    """Renders and counts as a generation would; needs no worker."""

    async def handle(self, body: bytes) -> None:
        request = self.placed(await off_loop(anthropic.parse_count, body))
        spec = await self.find(request.model)
        if spec.remote:
            await self.reply(JSON, await engine.current().count_there(spec, request, body), [])
            return
        ids = await engine.current().prompt_ids(spec, request)
        await self.reply(JSON, anthropic.count(len(ids)), [])


class TokenizeConsumer(InferenceConsumer):
    """A text, or messages as a generation would render them, in the model's tokens."""

    async def handle(self, body: bytes) -> None:
        wish = await off_loop(tokens.parse_tokenize, body)
        spec = await self.find(wish.chat.model)
        codec = (await engine.current().texts.get(spec)).codec
        if wish.chat.messages:
            ids = await engine.current().prompt_ids(spec, self.placed(wish.chat))
        else:
            ids = await asyncio.to_thread(codec.tokens_of, wish.prompt, wish.special)
        names = codec.names_of(ids) if wish.names else None
        await self.reply(JSON, tokens.tokenized(ids, spec.context_length, names), [])


class DetokenizeConsumer(InferenceConsumer):
    """The text of tokens."""

    async def handle(self, body: bytes) -> None:
        model, ids = await off_loop(tokens.parse_detokenize, body)
        spec = await self.find(model)
        codec = (await engine.current().texts.get(spec)).codec
        token_ids.check(ids, codec, "tokens")
        await self.reply(JSON, tokens.detokenized(await asyncio.to_thread(codec.text_of, ids)), [])
