"""Each thing on the status page as one row of words, made once for the first paint and for what moves.

A row is a dict of what its template shows: texts, numbers for bars and clocks, lists of texts, lists of rows. What is
not known is '', and is not shown. Times are Unix seconds; the page counts them down.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from inference.modes import NAMES, Efficiency
from inference.route_facts import Route
from inference.states import BreakerState, DeviceState, LoadedModel, RequestRecord, RunningRequest, Snapshot
from inference.telemetry.readings import DeviceReadings, Readings
from npuproxy.page.history import Sample
from npuproxy.page.words import NONE, clock, duration, measured, size, spaced
from registry.model_info import ModelInfo
from registry.pull_state import PullState
from registry.use import Life

Row = dict[str, Any]

PRIORITIES = ("best effort", "", "high", "critical")
"""Normal is what nobody needs to read."""
_STATES = {"waiting": "waiting", "prefill": "reading the prompt", "answering": "answering"}


def server(snapshot: Snapshot, efficiency: Efficiency, last: Sample | None) -> Row:
    """What concerns the whole machine. `last`: the end of the page's lines."""
    budget, used = snapshot.memory_budget_bytes, snapshot.memory_used_bytes
    readings, now = snapshot.readings, efficiency.now
    _, rate, watts, celsius = last or (0.0, 0.0, None, None)
    return {
        "since": round(snapshot.time - snapshot.uptime_s),
        "uptime": duration(snapshot.uptime_s),
        "used": size(used) if used else "none",
        "budget": size(budget),
        "percent": min(100, round(100 * used / max(1, budget))),
        "mode": efficiency.stored,
        "modes": list(NAMES),
        "mode_words": mode_words(efficiency.stored, now.mode.name, now.reason, now.mode.meaning),
        "rate": f"{rate:.0f}",
        "watts": "unknown" if watts is None else f"{watts:.1f} W",
        "celsius": "unknown" if celsius is None else f"{celsius:.0f} °C",
        "supply": machine(readings),
    }


def mode_words(stored: str, now: str, reason: str, meaning: str) -> str:
    return f"now {now}: {reason}" if stored != now else meaning


def machine(readings: Readings) -> str:
    """What the machine runs on, and its fans: what is known of it."""
    source = {True: "on battery", False: "on mains", None: ""}[readings.on_battery.value]
    battery, fans = measured(readings.battery), measured(readings.mean_fan)
    shown = (source, f"battery {battery}" if battery else "", f"fans {fans}" if fans else "")
    return " · ".join(text for text in shown if text)


def device(
    state: DeviceState,
    found: DeviceReadings | None,
    models: Iterable[LoadedModel],
    breakers: Iterable[BreakerState] = (),
) -> Row:
    """What nobody measured is left out: an emulated NPU has no heat of its own."""
    read = None if state.emulated else found
    tags = ["emulated on the CPU"] if state.emulated else []
    tags += [f"breaker {spaced(state.breaker)}"] if state.breaker != "closed" else []
    if read is not None and read.throttling.value:
        tags.append(spaced(f"slowed by {' and '.join(read.throttling.reasons)}"))
    if read is not None and read.asleep:
        tags.append("asleep")
    here = [held for held in models if held.device == state.id and held.state == "ready" and held.running]
    runs = [f"{held.name} ({held.running})" for held in here]
    share = f"{state.cache_hits} of {state.texts_embedded}" if state.texts_embedded else ""
    return {
        "name": state.id,
        "about": (state.full_name or "unknown") if state.available else state.fault or "not on this machine",
        "fault": state.fault or "does not answer" if state.available and not state.healthy else "",
        "offers": f"{len(state.models)} models" if state.models else "",
        "state": "" if state.available else "away",
        "protocol": state.protocol,
        "tags": tags,
        "running": f"{state.running} of {state.slots}" if state.slots else str(state.running),
        "busy": round(100 * state.running / max(1, state.slots)),
        "waiting": str(state.waiting),
        "runs": ", ".join(runs),
        "vectors": share,
        "temperature": measured(read.temperature) if read else "",
        "power": measured(read.power) if read else "",
        "load": measured(read.utilisation) if read else "",
        "deaths": deaths(one for one in breakers if one.device == state.id),
    }


def deaths(breakers: Iterable[BreakerState]) -> str:
    """How many workers died since the start, and when the last one did; '' for none."""
    died = tuple(breakers)
    count = sum(one.crashes for one in died)
    return f"{count}, at {clock(max(one.crashed_at for one in died))}" if count else ""


def model(
    info: ModelInfo, workers: Iterable[LoadedModel], life: Life, breakers: Iterable[BreakerState] = ()
) -> Row:
    here = tuple(workers)
    held = [worker(one) for one in here]
    loading = {one.device for one in here if one.state == "loading"}
    return {
        "name": info.name,
        "facts": " · ".join(_facts(info)),
        "capabilities": list(info.capabilities),
        "workers": held,
        "crashes": [crash(one, one.device in loading) for one in breakers],
        "history": _history(life),
        "idle": "" if held else f"on {info.backend}" if info.backend else "loads when it is asked for",
        "load": "" if held or info.backend else info.name,
        "load_words": f"Load {info.name}",
        "unload": info.name if held else "",
        "unload_words": f"Unload {info.name}",
        "chat_words": f"Chat with {info.name}",
        "chat": f"/playground?model={quote(info.name)}" if info.spec.kind == "chat" else "",
    }


def crash(of: BreakerState, loading: bool) -> Row:
    """What became of a model whose worker died. `loading`: one is on its way to take its place."""
    colour, state, words = _after_crash(of, loading)
    died = f"died {of.crashes} times, last" if of.crashes > 1 else "died"
    return {
        "key": of.device,
        "colour": colour,
        "state": f"{state} on {of.device}",
        "words": f"its worker {died} at {clock(of.crashed_at)}{words}",
    }


def _after_crash(of: BreakerState, loading: bool) -> tuple[str, str, str]:
    """Colour, state, and how it goes on."""
    if of.state == "open":
        return "bad", "breaker open", f"; next try at {clock(time.time() + of.retry_after_s)}"
    if of.state == "half_open":
        return "bad", "breaker half open", "; the next request is the try that decides"
    if of.restarted_at is not None:
        return "", "restarted", f", another was ready at {clock(of.restarted_at)}"
    if loading:
        return "warn", "restarting", ""
    return "bad", "died", "; the next request restarts it"


def _facts(info: ModelInfo) -> tuple[str, ...]:
    known = (
        f"{info.parameter_size} parameters" if info.parameter_size else "",
        info.quantization_level,
        size(info.spec.size_bytes),
        f"context {info.spec.context_length:,}" if info.spec.context_length else "",
    )
    return tuple(fact for fact in known if fact)


def _history(life: Life) -> list[str]:
    lines = []
    for ran in life.ran:
        facts = (
            f"{ran.tokens_per_s:.0f} tokens/s" if ran.tokens_per_s else "",
            f"first token {duration(ran.ttft_s)}" if ran.ttft_s else "",
            f"load {duration(ran.load_s)}" if ran.load_s else "",
            f"last at {clock(ran.used_at.timestamp())}",
        )
        lines.append(f"{ran.device}: {', '.join(fact for fact in facts if fact)}")
    return lines + [f"compile cache for {cache.device}: {size(cache.size_bytes)}" for cache in life.caches]


def worker(held: LoadedModel) -> Row:
    """Where it really runs, and how long it stays. While requests run it stays, and its clock stands."""
    ready = held.state == "ready"
    stays = "pinned" if held.pinned else "stays" if held.expires_at is None else ""
    if held.running:
        stays = f"{held.running} running"
    return {
        "key": f"{held.device} {held.pid}",
        "place": (held.executed or "unknown") if ready else f"loading on {held.device}",
        "state": "good" if ready else "warn",
        "size": size(held.size_bytes),
        "stays": stays if ready else "",
        "expires": held.expires_at if ready and not stays else None,
        "until": f"until {clock(held.expires_at)}" if ready and not stays and held.expires_at else "",
    }


def download(state: PullState) -> Row:
    files = f"{sum(one.completed_bytes >= one.size_bytes for one in state.files)} of {len(state.files)} files"
    bytes_so_far = f"{size(state.completed_bytes)} of {size(state.total_bytes)}" if state.total_bytes else ""
    shown = (
        bytes_so_far,
        f"{size(state.rate)}/s" if state.rate else "",
        f"{duration(state.left_s)} left" if state.left_s else "",
        files if state.files else "",
    )
    again = "Resume" if state.state == "failed" else "Pull again"
    return {
        "name": state.name,
        "repo": state.repo,
        "state": state.state,
        "phase": state.phase if state.is_active else "",
        "colour": {"failed": "bad", "cancelled": "warn", "done": "good"}.get(state.state, ""),
        "percent": round(100 * state.share, 1),
        "words": " · ".join(text for text in shown if text) if state.is_active else "",
        "error": state.error,
        "cancel": state.name if state.is_active else "",
        "cancel_words": f"Cancel the pull of {state.name}",
        "again": state.name if state.state in ("failed", "cancelled") else "",
        "again_says": again,
        "again_words": f"{again} {state.name}",
    }


def running(request: RunningRequest) -> Row:
    return {
        "id": request.id,
        "model": request.model or NONE,
        "operation": request.operation,
        "since": round(request.time, 1),
        "time": clock(request.time),
        "state": _STATES[request.state],
        "route": route_words(request.route),
        "reason": spaced(request.route.reason) if request.route else "",
        "tokens": _tokens(request.prompt_tokens, request.completion_tokens),
        "priority": PRIORITIES[request.priority],
        "caller": request.key,
        "stop_words": f"Stop {request.id}",
    }


def route_words(route: Route | None) -> str:
    """Requested, routed, executed; where two say the same it is said once."""
    if route is None:
        return NONE
    steps = [route.requested, route.routed, route.executed or route.routed]
    return " → ".join(step for step, before in zip(steps, ("", *steps), strict=False) if step != before)


def request(record: RequestRecord) -> Row:
    """A request that has ended."""
    rate = record.tokens_per_s
    return {
        "time": clock(record.time),
        "id": record.id,
        "operation": record.operation,
        "model": record.model or NONE,
        "status": str(record.status),
        "colour": "bad" if record.status >= 400 else "good",
        "route": route_words(record.route),
        "reason": spaced(record.route.reason) if record.route else "",
        "tokens": _tokens(record.prompt_tokens, record.completion_tokens),
        "ttft": NONE if record.ttft_s is None else duration(record.ttft_s),
        "total": duration(record.total_s),
        "rate": NONE if rate is None else f"{rate:.0f}",
        "energy": energy(record),
        "priority": PRIORITIES[record.priority],
        "caller": record.key,
        "error": record.error,
    }


def energy(record: RequestRecord) -> str:
    """Joules a token, and ~ before what was not measured."""
    if record.energy_j is None or not record.completion_tokens:
        return NONE
    joules = record.energy_j / record.completion_tokens
    return f"{'' if record.energy_source == 'measured' else '~'}{joules:.{2 if joules < 1 else 1}f}"


def _tokens(prompt: int, completion: int) -> str:
    return f"{prompt} → {completion}" if completion else str(prompt or NONE)
