"""What does not run a model: models, backends, the efficiency mode."""

from __future__ import annotations

from compat_api import found, key_bounds
from compat_api.efficiency import shown
from inference import engine
from inference.modes import named
from inference.states import Snapshot
from npuproxy.grpc import backends, requests
from npuproxy.grpc import ollama_proxy_pb2 as pb
from npuproxy.grpc.call import Transport
from registry import efficiency, store
from registry.database_thread import DatabaseThread
from registry.model_info import ModelInfo

_thread = DatabaseThread("grpc")


class Catalogue(Transport):
    async def handle(self, body: bytes) -> None:
        if self.operation.name == "grpc.models":
            requests.read(pb.ListModelsRequest, body)
            here = key_bounds.allowed(self.key, store.all_models())
            via = dict(self.scope["headers"]).get(b"x-npu-proxy-via", b"").decode("latin-1")
            known = [*here, *found.elsewhere(self.key, via)]
            answer = models(known, engine.current().snapshot()).SerializeToString()
        elif self.operation.name == "grpc.backends":
            wanted = requests.read(pb.ListBackendsRequest, body).type_filter
            answer = backends.listed(engine.current().snapshot(), wanted).SerializeToString()
        else:
            answer = (await self._efficiency(body)).SerializeToString()
        await self.reply(b"", answer, [])

    async def _efficiency(self, body: bytes) -> pb.Efficiency:
        now = engine.current().efficiency
        if self.operation.name == "grpc.efficiency.choose":
            mode = named(requests.read(pb.SetEfficiencyRequest, body).mode)
            await _thread.run(lambda: efficiency.choose(mode))
            _thread.release()
            now.choose(mode)
        said = shown(now)
        limits = pb.EfficiencyLimits(**said.pop("limits"))
        return pb.Efficiency(limits=limits, **said)


def models(known: list[ModelInfo], now: Snapshot) -> pb.ListModelsResponse:
    return pb.ListModelsResponse(models=[_model(model, now) for model in known])


def _model(model: ModelInfo, now: Snapshot) -> pb.Model:
    spec = model.spec
    return pb.Model(
        name=spec.name,
        size_bytes=spec.size_bytes,
        digest=model.digest,
        loaded_on=[held.device for held in now.models if held.load_key == spec.load_key],
        capabilities=model.capabilities,
        context_length=spec.context_length,
        family=model.family,
        parameter_size=model.parameter_size,
        quantization=model.quantization_level,
    )
