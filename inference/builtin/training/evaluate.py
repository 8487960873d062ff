"""Measure the exported model with openvino_genai as the server runs it: greedy, f32, continuous batching."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import facts
import numpy
import openvino
import openvino_genai
import overlap
import samples
import tool_samples
import vocabulary
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
BATCH = 32
ROOM_TOKENS = 300


@dataclass(frozen=True)
class Case:
    """A prompt and the reply that counts as right."""

    prompt: str
    right: str


@dataclass(frozen=True)
class Reply:
    """What the model wrote, and whether it ended by itself."""

    text: str
    stopped: bool


class Model:
    """The exported folder on the CPU."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = 2048
        hints = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", hints)
        self.config = openvino_genai.GenerationConfig()
        self.config.max_new_tokens = ROOM_TOKENS
        self.config.eos_token_id = ends[0]
        self.config.stop_token_ids = set(ends)
        self.ends = set(ends)
        self.asked = 0

    def replies(self, prompts: list[str]) -> list[Reply]:
        """One reply for each prompt."""
        found: list[Reply] = []
        for start in range(0, len(prompts), BATCH):
            found += self._batch(prompts[start : start + BATCH])
        return found

    def _batch(self, prompts: list[str]) -> list[Reply]:
        handles = []
        for prompt in prompts:
            ids = numpy.array([self.tokenizer.encode(prompt).ids])
            handles.append(self.pipeline.add_request(self.asked, openvino.Tensor(ids), self.config))
            self.asked += 1
        while self.pipeline.has_non_finished_requests():
            self.pipeline.step()
        return [self._reply(handle.read_all()[0].generated_ids) for handle in handles]

    def _reply(self, ids: list[int]) -> Reply:
        stopped = bool(ids) and ids[-1] in self.ends
        text = self.tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=False)
        return Reply(text, stopped)


def ask(question: str, thinking: bool = False, tools: list[Any] | None = None) -> str:
    """The rendered prompt of one question."""
    return vocabulary.render([{"role": "user", "content": question}], tools, thinking)


def fact_cases(thinking: bool) -> list[tuple[str, Case]]:
    """Held-back questions with their facts."""
    known = {fact.name: fact.answer for fact in facts.facts()}
    held = facts.held_back().items()
    return [(name, Case(ask(question, thinking), known[name])) for name, asks in held for question in asks]


def other() -> Any:
    """The test beyond the facts."""
    return facts.read("held_back_other.yaml")


def outside_cases() -> list[Case]:
    """Questions that the model must decline."""
    return [Case(ask(question), samples.outside_answer()) for question in facts.lines(other()["outside"])]


def tool_cases() -> list[Case]:
    """Calls of unseen tools: each alone, and beside the next tool of the list."""
    entries = other()["tools"]
    found: list[Case] = []
    for at, entry in enumerate(entries):
        neighbour = entries[(at + 1) % len(entries)]
        for question, arguments in entry["cases"]:
            right = tool_samples.call_text([{"name": entry["tool"]["name"], "arguments": arguments}])
            for offered in ([entry], [neighbour, entry]):
                tools = [{"type": "function", "function": one["tool"]} for one in offered]
                found.append(Case(ask(question, False, tools), right))
    return found


def result_cases() -> list[Case]:
    """Results of a tool that must be reported."""
    tool = {"type": "function", "function": other()["tools"][0]["tool"]}
    call = {"function": {"name": "get_stock_price", "arguments": {"symbol": "ACME"}}}
    found = []
    for result in facts.lines(other()["results"]):
        messages = [
            {"role": "user", "content": "get the stock price for symbol ACME"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": result},
        ]
        right = tool_samples.result_answer("get_stock_price", result)
        found.append(Case(vocabulary.render(messages, [tool], False), right))
    return found


def repeat_cases() -> list[Case]:
    """Words to repeat."""
    return [Case(ask(f"Repeat after me: {text}"), text) for text in facts.lines(other()["repeat"])]


def same(written: str, right: str) -> bool:
    """Equal but for white space."""
    return " ".join(written.split()) == " ".join(right.split())


def after_thought(text: str) -> tuple[bool, str]:
    """Whether the reply holds one closed thought, and what follows it."""
    well_formed = text.startswith("<think>\n") and text.count("</think>") == 1
    return well_formed, text.split("</think>")[-1].strip()


def share(right: int, asked: int) -> dict[str, Any]:
    """A figure with its counts."""
    return {"right": right, "asked": asked, "percent": round(100 * right / asked, 1)}


def plain(model: Model, cases: list[Case]) -> tuple[dict[str, Any], list[Reply]]:
    """Share of right replies."""
    replies = model.replies([case.prompt for case in cases])
    right = sum(same(reply.text, case.right) for reply, case in zip(replies, cases, strict=True))
    return share(right, len(cases)), replies


def measure(model: Model, misses: bool) -> dict[str, Any]:
    """All figures."""
    cases = fact_cases(False)
    figures: dict[str, Any] = {}
    figures["facts"], replies = plain(model, [case for _, case in cases])
    if misses:
        for (name, case), reply in zip(cases, replies, strict=True):
            if not same(reply.text, case.right):
                print(
                    json.dumps({"fact": name, "prompt": case.prompt.split("\n")[1], "reply": reply.text[:70]})
                )
    thoughtful = fact_cases(True)
    thinking = model.replies([case.prompt for _, case in thoughtful])
    parsed = [after_thought(reply.text) for reply in thinking]
    figures["facts_thinking"] = share(
        sum(
            fine and same(text, case.right)
            for (fine, text), (_, case) in zip(parsed, thoughtful, strict=True)
        ),
        len(parsed),
    )
    figures["thoughts_well_formed"] = share(sum(fine for fine, _ in parsed), len(parsed))
    every = replies + thinking
    groups = {
        "outside": outside_cases(),
        "tool_calls": tool_cases(),
        "tool_results": result_cases(),
        "repeat": repeat_cases(),
    }
    for name, group in groups.items():
        figures[name], more = plain(model, group)
        every += more
        if misses:
            for case, reply in zip(group, more, strict=True):
                if not same(reply.text, case.right):
                    print(json.dumps({"group": name, "right": case.right, "reply": reply.text[:160]}))
    figures["stopped_by_itself"] = share(sum(reply.stopped for reply in every), len(every))
    return figures


def main() -> None:
    """Evaluate and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=HERE.parent / "demo")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--misses", action="store_true", help="print each wrong reply")
    given = parser.parse_args()
    copied = overlap.copies()
    if copied:
        raise SystemExit(f"held-back questions that training contains: {copied}")
    figures = {"facts_known": len(facts.facts())} | measure(Model(given.model), given.misses)
    text = json.dumps(figures, indent=2) + "\n"
    print(text, end="")
    if given.json:
        given.json.write_text(text)


if __name__ == "__main__":
    main()
