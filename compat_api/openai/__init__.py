"""OpenAI's API: /v1/…"""

from compat_api.dialect import JSON, SSE, Dialect, EmbeddingDialect
from compat_api.openai import requests, response_events, response_requests, responses

RESPONSES = Dialect(SSE, JSON, response_requests.parse_responses, response_events.ResponseEncoder)
CHAT = Dialect(SSE, JSON, requests.parse_chat, responses.ChatEncoder)
EMBEDDINGS = EmbeddingDialect(JSON, requests.parse_embeddings, responses.embeddings)
