"""What a request took of its device's energy: shares of a counter that a made tree moves, else watts by time, else
nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import machines
import pytest
from conftest import RunningServer, Serve
from machines import FORBIDDEN, RAPL_RANGE_UJ, Machine

from inference.energy import STANDS_S, UNKNOWN, Energy, Ledger, together
from inference.telemetry.sampler import Sampler

COUNTER = "/sys/class/powercap/intel-rapl:0/energy_uj"


class Bench:
    """A laptop whose counter moves when told to, and the ledger over it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.sampler = Sampler(machine.root)
        self.sampler.start()
        self.ledger = Ledger(self.sampler)
        self.count_uj = RAPL_RANGE_UJ - 4_000_000

    def wait_for(self, device: str = "CPU") -> None:
        deadline = time.monotonic() + 30
        while self.sampler.readings().of(device) is None:
            assert time.monotonic() < deadline, "no sample came"
            time.sleep(0.01)

    def draw(self, joules: float) -> None:
        """In some time, for no counter grows at once."""
        time.sleep(0.03)
        self.count_uj = (self.count_uj + round(joules * 1e6)) % RAPL_RANGE_UJ
        self.machine.set(COUNTER, self.count_uj)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(machines.laptop(tmp_path))
    made.wait_for()
    yield made
    made.sampler.stop()


def test_a_request_alone_has_all_that_the_counter_grew_while_it_ran_and_nothing_else(bench: Bench) -> None:
    bench.draw(50)
    ticket = bench.ledger.begin("CPU", 28.0, lambda: 7)
    bench.draw(3)  # the counter begins anew after 4 J
    bench.draw(5)
    assert ticket.so_far().joules == pytest.approx(8)
    ticket.end()
    bench.draw(50)
    after = ticket.so_far()
    assert after.joules == pytest.approx(8)
    assert after.source == "measured"
    assert after.watts is not None
    assert after.watts > 0


def test_two_at_once_share_by_their_tokens_and_the_shares_add_up(bench: Bench) -> None:
    made = {"long": 0, "short": 0}
    long = bench.ledger.begin("CPU", 28.0, lambda: made["long"])
    bench.draw(1)
    made["long"] = 10
    short = bench.ledger.begin("NPU", 3.0, lambda: made["short"])  # on the same package
    bench.draw(4)
    made |= {"long": 40, "short": 10}
    short.end()
    bench.draw(2)
    long.end()
    assert short.so_far().joules == pytest.approx(1)
    assert long.so_far().joules == pytest.approx(1 + 3 + 2)


def test_where_nobody_has_a_token_yet_all_have_the_same(bench: Bench) -> None:
    one, other = (bench.ledger.begin("CPU", None, lambda: 0) for _ in range(2))
    bench.draw(6)
    one.end()
    other.end()
    assert one.so_far().joules == pytest.approx(3)
    assert other.so_far().joules == pytest.approx(3)


def test_a_counter_that_cannot_be_read_leaves_watts_by_time(tmp_path: Path) -> None:
    bench = Bench(machines.desktop(tmp_path))
    bench.wait_for()
    one, other = (bench.ledger.begin("CPU", 28.0, lambda: 0) for _ in range(2))
    nothing = bench.ledger.begin("CPU", None, lambda: 0)
    time.sleep(0.05)
    for ticket in (one, other, nothing):
        ticket.end()
    bench.sampler.stop()
    both = together((one.so_far(), other.so_far()))
    assert both.source == "estimated"
    assert both.joules is not None
    assert 28 * 0.05 * 0.6 < both.joules < 28 * 30, "the time is divided, not counted for each"
    assert nothing.so_far() == UNKNOWN
    assert together((one.so_far(), nothing.so_far())) == UNKNOWN


def test_a_counter_that_goes_meanwhile_makes_no_zero(bench: Bench) -> None:
    ticket = bench.ledger.begin("CPU", 28.0, lambda: 1)
    bench.draw(2)
    bench.machine.replace(COUNTER, FORBIDDEN)
    assert ticket.so_far().source == "estimated"
    ticket.end()
    assert bench.ledger.begin("CPU", None, lambda: 0).so_far() == UNKNOWN


def test_a_counter_that_stands_still_is_no_measured_zero(bench: Bench) -> None:
    bench.draw(1)
    ticket = bench.ledger.begin("CPU", 28.0, lambda: 7)
    time.sleep(STANDS_S + 0.1)
    ticket.end()
    told = ticket.so_far()
    assert told.source == "estimated"
    assert told.joules is not None
    assert told.joules > 28 * STANDS_S / 2


def test_several_answers_are_measured_only_where_all_of_them_are() -> None:
    measured, estimated = Energy(joules=1.0, source="measured"), Energy(joules=2.0, source="estimated")
    assert together((measured, measured)) == Energy(joules=2.0, source="measured")
    assert together((measured, estimated)) == Energy(joules=3.0, source="estimated")
    assert together(()) == UNKNOWN


# --- over HTTP ------------------------------------------------------------------------------------------------


@pytest.fixture
def powered(tmp_path: Path, serve: Serve) -> Iterator[RunningServer]:
    """A server on a laptop that draws 20 W, whose counter begins anew after the first 4 J."""
    machine = machines.laptop(tmp_path / "machine")
    start, began, stop = int(machine.path(COUNTER).read_text()), time.monotonic(), threading.Event()

    def draw() -> None:
        while not stop.wait(0.002):
            machine.set(COUNTER, (start + round(20e6 * (time.monotonic() - began))) % RAPL_RANGE_UJ)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield serve(NPU_PROXY_SYSFS_ROOT=str(machine.root))
    finally:
        stop.set()
        thread.join()


def chat(server: RunningServer, **body: object) -> httpx.Response:
    asked = {"model": "demo", "messages": [{"role": "user", "content": "How do I pull a model?"}]} | body
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer


def test_whole_replies_tell_their_joules_and_streams_tell_them_in_the_log(powered: RunningServer) -> None:
    deadline = time.monotonic() + 30
    thermal = {"CPU": {"energy": {"value": None}}}
    while thermal["CPU"]["energy"]["value"] is None:
        assert time.monotonic() < deadline, "the counter was never read"
        thermal = httpx.get(f"{powered.url}/thermal", trust_env=False).json()["devices"]
        time.sleep(0.1)
    chat(powered)  # loads
    began = time.monotonic()
    answer = chat(powered, max_tokens=60)
    took_s = time.monotonic() - began
    assert answer.headers["X-NPU-Proxy-Energy-Source"] == "measured"
    joules = float(answer.headers["X-NPU-Proxy-Energy-J"])
    assert 0 < joules < 20 * took_s * 1.3 + 0.2
    text = {"model": "all-minilm", "input": ["a", "b"]}
    vectors = httpx.post(f"{powered.url}/v1/embeddings", json=text, timeout=60, trust_env=False)
    assert vectors.headers["X-NPU-Proxy-Energy-Source"] == "measured"
    streamed = chat(powered, stream=True, max_tokens=60)
    assert "X-NPU-Proxy-Energy-J" not in streamed.headers
    lines = [line for line in powered.log().splitlines() if "-> openai.chat" in line]
    assert all("energy_source=measured" in line for line in lines), lines
    assert "energy_j=0.000" not in lines[-1]
    both = chat(powered, n=2, max_tokens=20)
    assert both.headers["X-NPU-Proxy-Energy-Source"] == "measured"


def test_a_machine_that_tells_nothing_estimates_and_says_so(server: RunningServer, tmp_path: Path) -> None:
    answer = chat(server, max_tokens=20)
    readable = Path("/sys/class/powercap/intel-rapl:0/energy_uj").exists()
    assert answer.headers["X-NPU-Proxy-Energy-Source"] == ("measured" if readable else "estimated")
    assert float(answer.headers["X-NPU-Proxy-Energy-J"]) > 0
