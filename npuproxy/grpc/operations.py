"""The one table of the service's methods: what each does, and what a key needs for it."""

from __future__ import annotations

from typing import Final

from compat_api.urls import Operation, Resolved, Scope

SERVICE: Final = "ollama_proxy.OllamaProxy"
PROXY_SERVICE: Final = "compute.v1.ComputeService"
"""What the compiled clients of the Ollama Proxy call it; their messages are part of ours."""

_METHODS: Final[tuple[tuple[str, str, Scope, bool], ...]] = (
    ("Generate", "grpc.generate", "infer", True),
    ("GenerateStream", "grpc.generate_stream", "infer", True),
    ("Chat", "grpc.chat", "infer", True),
    ("ChatStream", "grpc.chat_stream", "infer", True),
    ("Embed", "grpc.embed", "infer", True),
    ("ListModels", "grpc.models", "infer", False),
    ("ListBackends", "grpc.backends", "infer", False),
    ("GetEfficiency", "grpc.efficiency", "infer", False),
    ("SetEfficiency", "grpc.efficiency.choose", "manage", False),
)
"""Method, operation, scope, and whether a model runs for it."""


def _resolved(path: str, name: str, scope: Scope, inference: bool) -> Resolved:
    return Resolved(Operation(name, "ollama", scope, ("POST",), path, streaming=inference))


RESOLVED: Final = {
    method: _resolved(f"/{SERVICE}/{method}", name, scope, inference)
    for method, name, scope, inference in _METHODS
}
"""By the method's name."""

REFLECTION: Final = _resolved("/grpc.reflection", "grpc.reflection", "infer", False)
"""It tells what the service is like: whoever may not call it need not know."""
