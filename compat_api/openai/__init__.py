"""OpenAI's API: /v1/…"""

import secrets

from compat_api.dialect import JSON, SSE, Dialect, EmbeddingDialect, Several
from compat_api.openai import completions, logged, requests, response_requests, responses
from compat_api.openai.choices import ChoicesEncoder
from inference.types import ChatRequest


def _chat_choices(several: Several) -> ChoicesEncoder:
    return ChoicesEncoder(several, logged.chat_encoder, f"chatcmpl-{secrets.token_hex(12)}")


def _completion_choices(several: Several) -> ChoicesEncoder:
    return ChoicesEncoder(several, logged.completion_encoder, f"cmpl-{secrets.token_hex(12)}")


def _parse_chat(body: bytes) -> ChatRequest | Several:
    """Cursor's agent sends bodies of /v1/responses to /v1/chat/completions, and reads chats."""
    try:
        return requests.parse_chat(body)
    except requests.ItemsInstead:
        return response_requests.parse_responses(body)


CHAT = Dialect(SSE, JSON, _parse_chat, logged.chat_encoder, _chat_choices)
COMPLETIONS = Dialect(
    SSE,
    JSON,
    completions.parse_completion,
    logged.completion_encoder,
    _completion_choices,
    completions.with_texts,
    zero_is_none=True,
)
RESPONSES = Dialect(SSE, JSON, response_requests.parse_responses, logged.response_encoder)
EMBEDDINGS = EmbeddingDialect(JSON, requests.parse_embeddings, responses.embeddings)
