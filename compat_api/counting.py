"""How many tokens a request has, by the tokenizer of its model: /v1/messages/count_tokens."""

from __future__ import annotations

from compat_api import anthropic
from compat_api.consumer import InferenceConsumer, off_loop
from compat_api.dialect import JSON
from inference import engine


class CountConsumer(InferenceConsumer):
    """Renders and counts as a generation would; needs no worker."""

    async def handle(self, body: bytes) -> None:
        request = self.placed(await off_loop(anthropic.parse_count, body))
        spec = await self.find(request.model)
        tokens = await engine.current().count_tokens(spec, request)
        await self.reply(JSON, anthropic.count(tokens), [])
