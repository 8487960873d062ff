"""`bench --routing --litellm COMMAND`: LiteLLM's proxy and npuproxy before the same server, in turn.

Neither checks a key, and both listen on loopback alone: LiteLLM's proxy starts without a key where its environment
says that this is wished.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from inference.bench import Row
from inference.bench_rows import Stage
from inference.bench_sides import BenchError
from inference.bench_table import Aim, Quantity, Result, of_rounds
from npuproxy.bench_client import Client, Exchange
from npuproxy.bench_forward import CLIENTS, OLLAMA, OPENAI, Started, asked, chat, check, server_of
from npuproxy.bench_upstream import MODEL, TOKEN_END

START_S: Final = 120.0
WITHOUT_KEY: Final = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
"""Its versions since 1.106 do not start else."""
REQUESTS: Final = Quantity(
    name="litellm", what="requests a second / LiteLLM's proxy", aim=Aim(10, at_most=False)
)
TOKENS: Final = Quantity(name="litellm", what="token rate / LiteLLM's proxy", aim=Aim(25, at_most=False))
TOKENS_TRANSLATED: Final = Quantity(
    name="litellm", what="token rate of /api/chat, translated / LiteLLM's proxy", aim=Aim(5, at_most=False)
)


class Rates(Struct, frozen=True):
    """What a server brings when it is asked as fast as it answers."""

    requests: float
    tokens: float


def beside_litellm(stage: Stage) -> list[Result]:
    server = server_of(stage)
    if server.litellm is None:
        stage.say("litellm: left out; --litellm names the command that starts its proxy")
        return []
    values: dict[Quantity, list[float]] = {REQUESTS: [], TOKENS: [], TOKENS_TRANSLATED: []}
    sides: dict[Quantity, str] = {}
    with proxy(server.litellm, server.upstream.port) as litellm:
        for index in range(2 if stage.quick else 4):
            stage.say(f"litellm: round {index}")
            other = _rates(stage, litellm.client, OPENAI)
            mine = _rates(stage, server.client, OPENAI)
            translated = _rates(stage, server.client, OLLAMA)
            if index:
                values[REQUESTS].append(mine.requests / other.requests)
                values[TOKENS].append(mine.tokens / other.tokens)
                values[TOKENS_TRANSLATED].append(translated.tokens / other.tokens)
                sides[REQUESTS] = f"{mine.requests:.0f} / {other.requests:.0f} a second"
                sides[TOKENS] = f"{mine.tokens:,.0f} / {other.tokens:,.0f} a second"
                sides[TOKENS_TRANSLATED] = f"{translated.tokens:,.0f} / {other.tokens:,.0f} a second"
    return [of_rounds(quantity, found, sides[quantity]) for quantity, found in values.items()]


@contextmanager
def proxy(command: Path, upstream_port: int) -> Iterator[Started]:
    """Raises BenchError with its last words where it ends, or does not answer in time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="npuproxy-bench-"))
    config = folder / "config.yaml"
    config.write_text(_config(upstream_port))
    arguments = [str(command), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    litellm = Started(arguments, port, dict(os.environ) | WITHOUT_KEY)
    try:
        _wait(litellm)
        yield litellm
    finally:
        litellm.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _config(upstream_port: int) -> str:
    url = f"http://127.0.0.1:{upstream_port}/v1"
    params = {"model": f"openai/{MODEL}", "api_base": url, "api_key": "none"}
    return json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": params}]})


def _wait(litellm: Started) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if asked(litellm.client, OPENAI, chat(1)).status == 200:
                return
        if litellm.is_over:
            raise BenchError(f"LiteLLM's proxy ended: {litellm.last_words()}")
        time.sleep(0.5)
    raise BenchError(f"LiteLLM's proxy gave no answer within {START_S:g} s: {litellm.last_words()}")


def _rates(stage: Stage, client: Client, path: str) -> Rates:
    """Of eight clients at once: whole answers of a token, and streams of many."""
    turns, tokens = (3, 200) if stage.quick else (40, 2000)
    body = chat(1, path=path) | {"stream": False}
    began = time.perf_counter()
    for _ in range(turns):
        exchanges = [client.post(path, body) for _ in range(CLIENTS)]
        client.exchange(exchanges)
        check(exchanges)
    requests = turns * CLIENTS / (time.perf_counter() - began)
    exchanges = [client.post(path, chat(tokens, path=path)) for _ in range(CLIENTS)]
    began = time.perf_counter()
    client.exchange(exchanges)
    check(exchanges)
    _check_whole(exchanges, tokens)
    return Rates(requests, tokens * CLIENTS / (time.perf_counter() - began))


def _check_whole(exchanges: Sequence[Exchange], tokens: int) -> None:
    """Raises BenchError for a stream that broke."""
    for exchange in exchanges:
        if (came := exchange.data.count(TOKEN_END)) != tokens:
            raise BenchError(
                f"{came} of {tokens} tokens came: {exchange.data[-300:].decode(errors='replace')}"
            )


ROW: Final = Row((REQUESTS, TOKENS, TOKENS_TRANSLATED), beside_litellm)
