"""Train the demo model for a given time; a run can be resumed from its last checkpoint.

Start it with torchrun for one process a core: they share gradients once a step, so a core that other
work holds up costs less than threads that meet in every operation.
"""

import argparse
import json
import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import facts
import network
import samples
import torch
import vocabulary
from tokenizers import Tokenizer
from torch import distributed
from torch.nn import functional
from transformers import Qwen3ForCausalLM

Batch = tuple[torch.Tensor, torch.Tensor]
Row = tuple[list[int], int]
SHORT_ANSWER = 9  # tokens that tell all the answers apart
LONGEST_ROW = 1200
REPORT_S = 300


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of checkpoints, outside the repository"
    )
    parser.add_argument("--minutes", type=float, default=70.0)
    parser.add_argument("--vocabulary", type=int, default=2560)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch-tokens", type=int, default=1536, help="of each process")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate of AdamW")
    parser.add_argument("--muon-rate", type=float, default=0.02, help="peak learning rate of Muon")
    parser.add_argument("--short-first", type=float, default=0.9, help="share of bare questions at the start")
    parser.add_argument("--short-last", type=float, default=0.2, help="the same at the end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in --out, with a new schedule"
    )
    return parser.parse_args()


def learn_vocabulary(size: int, seed: int) -> Tokenizer:
    """The vocabulary of 12,000 drawn samples."""
    rng = random.Random(seed)
    drawn = (samples.draw(rng) for _ in range(12000))
    return vocabulary.learn((sample.prompt + sample.thought + sample.answer for sample in drawn), size)


class Encoder:
    """Samples as token ids. A fifth of the prompts are cut into smaller pieces, which teaches rare spellings.

    Most known answers are learnt by their first tokens only: the rest follows from them, and the time
    goes into questions.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.exact = tokenizer
        self.broken = Tokenizer.from_str(tokenizer.to_str())
        self.broken.model.dropout = 0.1
        self.end = tokenizer.token_to_id(vocabulary.END)

    def __call__(self, sample: samples.Sample) -> Row:
        """Ids of the prompt and the whole reply, and the length of the prompt."""
        prompt = self.exact.encode(sample.prompt).ids
        return [*prompt, *self.reply(sample), self.end], len(prompt)

    def reply(self, sample: samples.Sample) -> list[int]:
        """Ids of thought and answer."""
        return self.exact.encode(sample.thought).ids + self.exact.encode(sample.answer).ids

    def varied(self, sample: samples.Sample, rng: random.Random) -> Row:
        """As in training: prompts sometimes in small pieces, known answers mostly short."""
        prompt = (self.broken if rng.random() < 0.2 else self.exact).encode(sample.prompt).ids
        if sample.fixed and rng.random() < 0.7:
            short = self.exact.encode(sample.answer).ids[:SHORT_ANSWER]
            return prompt + self.exact.encode(sample.thought).ids + short, len(prompt)
        return [*prompt, *self.reply(sample), self.end], len(prompt)


def collate(rows: list[Row]) -> Batch:
    """Padded inputs, and targets that are -100 everywhere but in the reply."""
    width = max(len(ids) for ids, _ in rows) - 1
    inputs = torch.zeros(len(rows), width, dtype=torch.long)
    targets = torch.full((len(rows), width), -100, dtype=torch.long)
    for row, (ids, prompt) in enumerate(rows):
        inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        targets[row, prompt - 1 : len(ids) - 1] = torch.tensor(ids[prompt:])
    return inputs, targets


class Progress:
    """Share of the time that is over, and the share of short samples that goes with it."""

    def __init__(self, first: float, last: float) -> None:
        self.done = 0.0
        self.first = first
        self.last = last

    def short_share(self) -> float:
        """The share of short samples now."""
        return self.first + (self.last - self.first) * min(1.0, self.done)


def batches(encode: Encoder, rng: random.Random, batch_tokens: int, progress: Progress) -> Iterator[Batch]:
    """Endless batches of samples of like length, in random order."""
    while True:
        rows = [encode.varied(samples.draw(rng, progress.short_share()), rng) for _ in range(1000)]
        rows = sorted((row for row in rows if len(row[0]) <= LONGEST_ROW), key=lambda row: len(row[0]))
        ready: list[Batch] = []
        part: list[Row] = []
        for row in rows:
            if part and len(row[0]) * (len(part) + 1) > batch_tokens:
                ready.append(collate(part))
                part = []
            part.append(row)
        ready.append(collate(part))
        rng.shuffle(ready)
        yield from ready


def logits_and_targets(model: Qwen3ForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits at the reply's positions only: the head is the dearest matrix of a small model."""
    inputs, targets = batch
    states = model.model(input_ids=inputs).last_hidden_state
    kept = targets != -100
    return model.lm_head(states[kept]), targets[kept]


def optimisers(model: Qwen3ForCausalLM, rate: float, muon_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest."""
    inner = [value for name, value in model.named_parameters() if value.ndim == 2 and "embed" not in name]
    rest = [
        value for name, value in model.named_parameters() if not (value.ndim == 2 and "embed" not in name)
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.Muon(inner, lr=muon_rate, weight_decay=0.1, momentum=0.95),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    for optimiser in found:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return found


def accuracy(model: Qwen3ForCausalLM, encode: Encoder) -> tuple[int, int]:
    """Of one held-back question for each fact: those whose whole answer is the greedy one, and all. Watching only."""
    known = {fact.name: fact.answer for fact in facts.facts()}
    rows = [
        encode(
            samples.Sample(
                vocabulary.render([{"role": "user", "content": ask}], None, False), "", known[name]
            )
        )
        for name, asks in facts.held_back().items()
        for ask in asks[:1]
    ]
    right = 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(rows), 64):
            inputs, targets = collate(rows[start : start + 64])
            best = model(input_ids=inputs).logits.argmax(-1)
            right += int(((best == targets) | (targets == -100)).all(1).sum())
    return right, len(rows)


class Run:
    """The state of a training run and its checkpoint."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.step = 0
        given.out.mkdir(parents=True, exist_ok=True)
        vocabulary_file = given.out / "tokenizer.json"
        if not given.resume and int(os.environ.get("RANK", "0")) == 0:
            learn_vocabulary(given.vocabulary, given.seed).save(str(vocabulary_file))
        if distributed.is_initialized():
            distributed.barrier()
        self.tokenizer = Tokenizer.from_file(str(vocabulary_file))
        self.model = network.build(self.tokenizer.get_vocab_size(), given.layers, given.hidden)
        self.optimisers = optimisers(self.model, given.rate, given.muon_rate)
        if given.resume:
            self._load()
        self.mean = {name: value.detach().clone() for name, value in self.model.named_parameters()}

    def _load(self) -> None:
        state = torch.load(self.given.out / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.step = state["step"]

    def average(self, decay: float) -> None:
        """Take this step's weights into the running mean, which is what gets shipped."""
        with torch.no_grad():
            names, values = zip(*self.model.named_parameters(), strict=True)
            torch._foreach_lerp_(
                [self.mean[name] for name in names], [value.detach() for value in values], 1 - decay
            )

    def checkpoint(self, with_mean: Qwen3ForCausalLM) -> None:
        """Write the resumable state and the Hugging Face folder of the mean."""
        file = self.given.out / "checkpoint.pt"
        torch.save({"model": self.model.state_dict(), "step": self.step}, file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)
        network.save(with_mean, self.tokenizer, self.given.out / "hf")

    def averaged(self) -> Qwen3ForCausalLM:
        """A model with the mean weights."""
        model = network.build(self.tokenizer.get_vocab_size(), self.given.layers, self.given.hidden)
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_(self.mean[name])
        return model.eval()


def schedule(done: float, steps: int) -> float:
    """Share of the peak rate: 60 steps of warm-up, then a cosine over the time given."""
    return min(1.0, (steps + 1) / 60) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def share_gradients(model: Qwen3ForCausalLM) -> None:
    """Replace each process's gradients by the mean of all."""
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))


def agreed(value: float) -> float:
    """The first process's value, so that all stop at the same step."""
    if not distributed.is_initialized():
        return value
    box = torch.tensor([value])
    distributed.broadcast(box, 0)
    return float(box)


def one_step(run: Run, batch: Batch, share: float) -> float:
    """Forward, backward, update; the loss."""
    with torch.autocast("cpu", torch.bfloat16):
        logits, targets = logits_and_targets(run.model, batch)
    loss = functional.cross_entropy(logits.float(), targets)
    loss.backward()
    share_gradients(run.model)
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    for optimiser in run.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share
        optimiser.step()
        optimiser.zero_grad()
    return float(loss.detach())


def report(run: Run, started: float, tokens: int, loss: float, encode: Encoder) -> None:
    """One JSON line, and a checkpoint."""
    model = run.averaged()
    right, asked = accuracy(model, encode)
    spent = time.monotonic() - started
    line = {
        "step": run.step,
        "minutes": round(spent / 60, 1),
        "tokens_per_s": round(tokens / spent),
        "loss": round(loss, 4),
    }
    print(json.dumps(line | {"held_back_right": right, "held_back": asked}), flush=True)
    run.checkpoint(model)


def train(run: Run, encode: Encoder, rank: int) -> None:
    """Steps until the time is over; the first process reports."""
    given = run.given
    started = reported = time.monotonic()
    first, tokens, loss = run.step, 0, 0.0
    rng = random.Random(given.seed + run.step + 7919 * rank)
    progress = Progress(given.short_first, given.short_last)
    for batch in batches(encode, rng, given.batch_tokens, progress):
        progress.done = agreed((time.monotonic() - started) / (given.minutes * 60))
        if progress.done >= 1:
            break
        current = one_step(run, batch, schedule(progress.done, run.step - first))
        loss = current if not loss else 0.98 * loss + 0.02 * current
        run.average(min(0.996, (run.step - first + 1) / (run.step - first + 10)))
        run.step += 1
        tokens += batch[0].numel()
        if rank == 0 and time.monotonic() - reported > REPORT_S:
            report(run, started, tokens, loss, encode)
            reported = time.monotonic()
    if rank == 0:
        report(run, started, tokens, loss, encode)


def main() -> None:
    """Train, alone or as one of torchrun's processes."""
    given = options()
    rank = int(os.environ.get("RANK", "0"))
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    run = Run(given)
    if rank == 0:
        print(
            json.dumps({"parameters": network.parameters(run.model), "facts": len(facts.facts())}), flush=True
        )
    train(run, Encoder(run.tokenizer), rank)
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
