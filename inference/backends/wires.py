"""The APIs of other servers that are spoken here, by the protocol that a backend's row names."""

from __future__ import annotations

from typing import Final

from inference.backends.anthropic import AnthropicWire
from inference.backends.ollama import OllamaWire
from inference.backends.openai import OpenAiWire
from inference.backends.wire import Wires

WIRES: Final[Wires] = {"ollama": OllamaWire(), "openai": OpenAiWire(), "anthropic": AnthropicWire()}
