"""The ASGI application for inference; the gate has resolved the operation and written it into the scope."""

from __future__ import annotations

from compat_api import counting, creating, embeddings, generation, pulling
from compat_api.consumer import InferenceConsumer, Message, Receive, Send

CONSUMERS: dict[str, type[InferenceConsumer]] = {
    **dict.fromkeys(generation.DIALECTS, generation.GenerationConsumer),
    **dict.fromkeys(embeddings.DIALECTS, embeddings.EmbeddingConsumer),
    "anthropic.count": counting.CountConsumer,
    "openai.tokenize": counting.TokenizeConsumer,
    "openai.detokenize": counting.DetokenizeConsumer,
    "pull": pulling.PullConsumer,
    "create": creating.CreateConsumer,
    "push": creating.PushConsumer,
}
"""By operation name: exactly the operations of urls.py that stream."""


async def application(scope: Message, receive: Receive, send: Send) -> None:
    consumer = CONSUMERS[scope["npuproxy.resolved"].operation.name]()
    await consumer(scope, receive, send)
