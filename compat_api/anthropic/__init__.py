"""Anthropic's API: /v1/messages."""

from compat_api.anthropic import requests, responses
from compat_api.anthropic.catalogue import model as model
from compat_api.anthropic.catalogue import models as models
from compat_api.anthropic.catalogue import parse_page as parse_page
from compat_api.anthropic.requests import parse_count as parse_count
from compat_api.anthropic.responses import count as count
from compat_api.dialect import JSON, SSE_UTF8, Dialect

MESSAGES = Dialect(SSE_UTF8, JSON, requests.parse_messages, responses.MessageEncoder)
