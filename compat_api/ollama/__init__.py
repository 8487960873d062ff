"""Ollama's native API: /api/…"""

from compat_api.dialect import JSON_UTF8, NDJSON, Dialect, EmbeddingDialect
from compat_api.ollama import requests, responses

CHAT = Dialect(NDJSON, JSON_UTF8, requests.parse_chat, responses.chat_encoder)
GENERATE = Dialect(NDJSON, JSON_UTF8, requests.parse_generate, responses.generate_encoder)
EMBED = EmbeddingDialect(JSON_UTF8, requests.parse_embed, responses.embeddings)
LEGACY_EMBED = EmbeddingDialect(JSON_UTF8, requests.parse_legacy_embed, responses.legacy_embedding)
