"""`bench --routing`: what the choice of a device costs a request, in CPU time of this process. No server, no model."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from inference import planning
from inference.backends.local import LocalBackend
from inference.bench import Row
from inference.bench_models import DEMO, spec_of
from inference.bench_rows import Stage
from inference.bench_table import Aim, Quantity, Result, of_rounds
from inference.config import EngineConfig
from inference.energy import Ledger
from inference.modes import BALANCED, EFFICIENCY, Efficiency
from inference.pool import Pool
from inference.profiles import Profiles
from inference.route_facts import Candidate, Facts
from inference.routing import choose
from inference.scoring import Readings
from inference.telemetry.readings import Readings as MachineReadings
from inference.telemetry.sampler import Sampler
from inference.texts import Texts
from inference.types import ChatRequest, Message

CHOICES: Final = 200
"""In one round."""
WARM: Final = Readings(celsius=71.0, fan_percent=35.0, utilization_percent=40.0)
LOCAL: Final = (
    Candidate(device="NPU", kind="npu", limit_tokens=1801, readings=WARM),
    Candidate(device="GPU.0", kind="igpu", limit_tokens=8192, readings=WARM),
    Candidate(device="GPU.1", kind="dgpu", limit_tokens=8192, readings=WARM, ready=False, load_s=20.0),
    Candidate(device="CPU", kind="cpu", limit_tokens=8192, readings=WARM),
)
SERVERS: Final = tuple(
    Candidate(
        device=f"server{index}", kind=("cpu", "igpu", "dgpu", "npu")[index % 4], local=False, limit_tokens=32_768,
        wait_s=0.1 * (index % 5), queue=index % 5,
    )
    for index in range(16)
)  # fmt: skip
CANDIDATES: Final = LOCAL + SERVERS
PREFERRED: Final = ("NPU", "GPU.0", "CPU")
ASKED: Final = {
    "chain": Facts(prompt_tokens=100, preferred=PREFERRED),
    "a long prompt": Facts(prompt_tokens=3000, preferred=PREFERRED, stored_mode="Balanced", mode=BALANCED),
    "score": Facts(prompt_tokens=100, preferred=PREFERRED, scored=True),
    "a hint and limits": Facts(
        prompt_tokens=100, preferred=PREFERRED, stored_mode="Efficiency", mode=EFFICIENCY,
        latency_critical=True, max_latency_s=0.5, max_watts=30,
    ),
}  # fmt: skip
"""What is wished, of the same 20 candidates."""
CHOOSE: Final = {
    case: Quantity(name="choose", what=f"choose() among 20: {case}", unit="µs", aim=Aim(50)) for case in ASKED
}
PLAN: Final = Quantity(name="plan", what="plan() of a chat around it, 4 devices of this machine", unit="µs")


def choices(stage: Stage) -> list[Result]:
    return [
        of_rounds(quantity, _rounds(stage, partial(choose, ASKED[case], CANDIDATES)))
        for case, quantity in CHOOSE.items()
    ]


def plans(stage: Stage) -> list[Result]:
    config, profiles = EngineConfig(), Profiles()
    names = {
        "NPU": "Intel NPU",
        "GPU.0": "Intel Arc (iGPU)",
        "GPU.1": "Arc A770 (dGPU)",
        "CPU": "a processor",
    }
    pool = Pool(config, lambda device: False, lambda report: None, profiles)
    texts, ledger = Texts(), Ledger(Sampler())
    backends = {
        id: LocalBackend(
            id, name, emulated=False, config=config, pool=pool, texts=texts, profiles=profiles, ledger=ledger
        )
        for id, name in names.items()
    }
    spec = spec_of(DEMO, "demo", exact=True)
    request = ChatRequest(model="demo", messages=(Message(role="user", content="How do I pull a model?"),))
    efficiency, readings = Efficiency(), MachineReadings()
    asked = (config, efficiency, readings, backends, profiles, spec, request, 40)
    plan = partial(lambda: choose(*planning.question(*asked)))
    return [of_rounds(PLAN, _rounds(stage, plan))]


def _rounds(stage: Stage, work: Callable[[], object]) -> list[float]:
    """Microseconds of CPU, a mean of each round: other processes take wall time, not this."""
    values = []
    for index in range((3 if stage.quick else 25) + 1):
        began = time.process_time()
        for _ in range(CHOICES):
            work()
        if index:  # the first one warms up
            values.append((time.process_time() - began) / CHOICES * 1e6)
    return values


ROWS: Final = (Row(tuple(CHOOSE.values()), choices), Row((PLAN,), plans))
