"""OpenAI's API: /v1/…"""

from compat_api.dialect import JSON, SSE, Dialect, EmbeddingDialect
from compat_api.openai import requests, responses

CHAT = Dialect(SSE, JSON, requests.parse_chat, responses.ChatEncoder)
EMBEDDINGS = EmbeddingDialect(JSON, requests.parse_embeddings, responses.embeddings)
