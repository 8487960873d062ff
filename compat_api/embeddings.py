"""The driver of every endpoint that embeds texts."""

from __future__ import annotations

from compat_api import headers, ollama, openai
from compat_api.consumer import InferenceConsumer, off_loop
from compat_api.dialect import EmbeddingDialect
from inference import engine
from inference.errors import CapabilityMissing
from inference.types import EmbedRequest, LoadRequest, ModelSpec

DIALECTS: dict[str, EmbeddingDialect] = {
    "embed": ollama.EMBED,
    "embeddings": ollama.LEGACY_EMBED,
    "openai.embeddings": openai.EMBEDDINGS,
}
"""By operation name."""


class EmbeddingConsumer(InferenceConsumer):
    """Every dialect's embeddings."""

    async def handle(self, body: bytes) -> None:
        dialect = self.dialect()
        request = self.sourced(self.placed(await off_loop(dialect.parse, body)), body)
        spec = await self.find(request.model)
        if "embedding" not in spec.capabilities:
            raise CapabilityMissing(f'"{request.model}" does not support embeddings', "model")
        if not request.texts and not request.ids:
            await self._keep_loaded(spec, request)
            await self.reply(dialect.whole_type, dialect.answer(request, None), [])
            return
        result = await engine.current().embed(spec, request)
        self.log.started(result.start)
        facts = headers.of_start(result.start, result.truncated_tokens)
        if result.cached:
            facts.append((b"x-npu-proxy-cache-hits", str(result.cached).encode()))
        self.log.embedded(result)
        facts += headers.of_energy(self.log.energy)
        answer = result.passed or dialect.answer(request, result)
        await self.reply(dialect.whole_type, answer, facts)

    def dialect(self) -> EmbeddingDialect:
        return DIALECTS[self.operation.name]

    async def _keep_loaded(self, spec: ModelSpec, request: EmbedRequest) -> None:
        """Without texts the request loads the model, or with keep_alive 0 unloads it."""
        if request.keep_alive_s == 0:
            await engine.current().unload(spec)
            return
        load = LoadRequest(
            model=request.model,
            keep_alive_s=request.keep_alive_s,
            placement=request.placement,
            request_id=request.request_id,
        )
        await engine.current().load(spec, load)
