"""Measured times over HTTP: the emulated NPU beside the CPU, first in the chain, then by score on the same data."""

from __future__ import annotations

import httpx
import pytest
from conftest import RunningServer, Serve

MACHINE = {"NPU_PROXY_NPU_EMULATION": "true", "NPU_PROXY_MAX_PROMPT_LEN": "1024"}


def on(device: str) -> dict[str, str]:
    return {"X-Target-Backend": device, "X-Target-Strict": "true"}


def ask(
    server: RunningServer, text: str, wish: dict[str, str] | None = None, tokens: int = 4
) -> httpx.Response:
    body = {
        "model": "demo", "messages": [{"role": "user", "content": text}], "stream": False,
        "options": {"num_predict": tokens, "temperature": 0},
    }  # fmt: skip
    answer = httpx.post(f"{server.url}/api/chat", json=body, headers=wish, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer


def facts(answer: httpx.Response) -> tuple[str, str]:
    return answer.headers["X-NPU-Proxy-Routed-Device"], answer.headers["X-NPU-Proxy-Route-Reason"]


def estimate_ms(server: RunningServer, device: str) -> float:
    """Of the device when it is compared with nobody."""
    answer = ask(server, "and now?", on(device))
    return float(answer.headers["X-Estimated-Latency-Ms"])


@pytest.mark.slow
def test_the_chain_keeps_to_a_slower_npu_and_the_score_leaves_it_after_a_restart_too(serve: Serve) -> None:
    server = serve(**MACHINE)
    for device in ("NPU", "CPU"):
        for count in range(9):  # their median bears that others work on this machine too
            assert facts(ask(server, f"question {count}", on(device))) == (device, "target")
    assert estimate_ms(server, "NPU") > estimate_ms(server, "CPU"), "padded to 1,024 tokens"
    for count in range(12):  # the table of the router's tests has the hundred
        answer = ask(server, f"short prompt {count}", tokens=1)
        assert facts(answer) == ("NPU", "within_npu_limit")
    server.stop()

    again = serve(NPU_PROXY_DATA_DIR=str(server.data_dir), NPU_PROXY_ROUTING="measured", **MACHINE)
    for device in ("NPU", "CPU"):  # both are loaded again
        ask(again, "load", on(device))
    answer = ask(again, "which one is quicker?")
    assert facts(answer) == ("CPU", "measured_faster")
    assert 0 < float(answer.headers["X-Estimated-Latency-Ms"]) != 1200, (
        "measured, not what is assumed of a CPU"
    )


def test_a_device_without_a_profile_makes_all_be_compared_by_start_values(serve: Serve) -> None:
    server = serve(NPU_PROXY_DEVICE="AUTO", **MACHINE)
    for count in range(3):
        ask(server, f"question {count}", on("CPU"))
    answer = ask(server, "which one?")
    assert answer.headers["X-NPU-Proxy-Route-Reason"] == "preferred"
    assert float(answer.headers["X-Estimated-Latency-Ms"]) >= 800, "assumed of an NPU or a CPU"
