"""The ASGI application for inference; the gate has resolved the operation and written it into the scope."""

from __future__ import annotations

from channels.consumer import AsyncConsumer

from compat_api import counting, creating, embeddings, explaining, generation, pulling
from compat_api.consumer import Message, Receive, Send
from compat_api.stream_ws.consumer import StreamConsumer

CONSUMERS: dict[str, type[AsyncConsumer]] = {
    **dict.fromkeys(generation.DIALECTS, generation.GenerationConsumer),
    **dict.fromkeys(embeddings.DIALECTS, embeddings.EmbeddingConsumer),
    "anthropic.count": counting.CountConsumer,
    "openai.tokenize": counting.TokenizeConsumer,
    "openai.detokenize": counting.DetokenizeConsumer,
    "routes.explain": explaining.ExplainConsumer,
    "pull": pulling.PullConsumer,
    "create": creating.CreateConsumer,
    "push": creating.PushConsumer,
    "stream.ws": StreamConsumer,
}
"""By operation name: exactly the operations of urls.py that stream."""


async def application(scope: Message, receive: Receive, send: Send) -> None:
    consumer = CONSUMERS[scope["npuproxy.resolved"].operation.name]()
    await consumer(scope, receive, send)
