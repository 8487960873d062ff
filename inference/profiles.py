"""What was measured of each model on each backend: prefill rate, TPOT, load time, watts, joules a token.

From real traffic, as medians of the last SAMPLES requests. A request that ran beside others counts for what it is: so
the next one will run. What would spoil a figure is left out:

    prefill   only of tokens that were read anew (`inference.prefix_memory`), and of prompts that had MOST_KNOWN of
              their tokens in the cache not at all. Short prompts are slow by the token, and an NPU reads a short one as
              long as a long one: so the rate for a prompt is that of prompts of its length, once there are ENOUGH
    TPOT      between the first token and the last one; so an answer of one token says nothing
    energy    only what was measured, never watts times time; J/token not of answers below LEAST_TOKENS, whose prompt
              was the greater part
    length    of answers that ended by themselves or at a limit, not of those whose reader left

A median bears what slips through. Figures belong to the files of a model (its load key): a model that was replaced
starts anew.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from inference.types import ModelSpec

SAMPLES: Final = 20
LENGTHS: Final = 50
"""Answers whose median length is what the next one is expected to have."""
ENOUGH: Final = 3
"""Requests after which a figure is used."""
LONGEST_EXPECTED: Final = 256
LEAST_TOKENS: Final = 8
MOST_KNOWN: Final = 0.5


class Figure:
    """The median of what was seen last."""

    def __init__(self, values: Iterable[float] = (), most: int = SAMPLES) -> None:
        self.values: deque[float] = deque(values, maxlen=most)
        self.median: float | None = statistics.median(self.values) if self.values else None

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def known(self) -> float | None:
        """None before there are ENOUGH."""
        return self.median if len(self.values) >= ENOUGH else None

    def add(self, value: float) -> None:
        self.values.append(value)
        self.median = statistics.median(self.values)


class Generated(Struct, frozen=True, kw_only=True):
    """One answer, as it ran."""

    read_tokens: int
    """Of the prompt, those that were read: not from the prefix cache."""
    prompt_tokens: int
    prefill_s: float
    completion_tokens: int
    decode_s: float
    """From the first token to the last."""
    joules: float | None = None
    """Its own share, measured; None: unknown or estimated."""
    watts: float | None = None
    """What its device or package drew meanwhile, whoever used it; measured."""


class Samples(Struct, frozen=True, kw_only=True):
    """All that is known of a model on a backend, as it is kept over a restart."""

    key: str
    backend: str
    name: str
    prefill: tuple[tuple[int, float], ...] = ()
    """Tokens that were read, and at how many by the second."""
    tpot_s: tuple[float, ...] = ()
    load_s: tuple[float, ...] = ()
    joules_per_token: tuple[float, ...] = ()
    watts: tuple[float, ...] = ()


class Measured(Struct, frozen=True, kw_only=True):
    """What people are shown of a model on a backend: medians, and of how many requests each. None is unknown."""

    model: str
    """The name under which it was asked for last."""
    prefill_tokens_per_s: float | None
    prefill_count: int
    tpot_s: float | None
    tpot_count: int
    load_s: float | None
    load_count: int
    joules_per_token: float | None
    joules_count: int
    watts: float | None
    watts_count: int
    used: bool
    """By the router: there are enough of them."""


class Profile:
    """Of one model on one backend."""

    def __init__(self, samples: Samples) -> None:
        self.key, self.backend, self.name = samples.key, samples.backend, samples.name
        self.prefill = Figure(rate for _, rate in samples.prefill)
        self.tpot_s = Figure(samples.tpot_s)
        self.load_s = Figure(samples.load_s)
        self.joules_per_token = Figure(samples.joules_per_token)
        self.watts = Figure(samples.watts)
        self._lengths: deque[int] = deque((tokens for tokens, _ in samples.prefill), maxlen=SAMPLES)
        self._by_length: dict[int, Figure] = {}
        for tokens, rate in samples.prefill:
            self._like(tokens).add(rate)

    def read(self, tokens: int, seconds: float) -> None:
        rate = tokens / seconds
        self.prefill.add(rate)
        self._lengths.append(tokens)
        self._like(tokens).add(rate)

    def rate_for(self, tokens: int) -> float | None:
        """Of prompts of about this length, else of all; None before there are enough."""
        like = self._by_length.get(tokens.bit_length())
        return (like.known if like is not None else None) or self.prefill.known

    def expected_s(self, tokens: int, expected_output: float) -> float | None:
        """From the hand-over to the last token; None before enough was measured."""
        rate, tpot_s = self.rate_for(tokens), self.tpot_s.known
        if rate is None or (tpot_s is None and expected_output > 1):
            return None
        return tokens / rate + (tpot_s or 0.0) * expected_output

    def measured(self) -> Measured:
        return Measured(
            model=self.name,
            prefill_tokens_per_s=self.prefill.median,
            prefill_count=self.prefill.count,
            tpot_s=self.tpot_s.median,
            tpot_count=self.tpot_s.count,
            load_s=self.load_s.median,
            load_count=self.load_s.count,
            joules_per_token=self.joules_per_token.median,
            joules_count=self.joules_per_token.count,
            watts=self.watts.median,
            watts_count=self.watts.count,
            used=self.prefill.known is not None,
        )

    def samples(self) -> Samples:
        return Samples(
            key=self.key, backend=self.backend, name=self.name,
            prefill=tuple(zip(self._lengths, self.prefill.values, strict=True)),
            tpot_s=tuple(self.tpot_s.values), load_s=tuple(self.load_s.values),
            joules_per_token=tuple(self.joules_per_token.values), watts=tuple(self.watts.values),
        )  # fmt: skip

    def _like(self, tokens: int) -> Figure:
        return self._by_length.setdefault(tokens.bit_length(), Figure())


def key_of(spec: ModelSpec) -> str:
    """A model's files and how they are loaded; its name where only other servers have it."""
    return spec.name if spec.remote else spec.load_key


class Profiles:
    """All of them. Event loop only, but `of`, which any thread may call."""

    def __init__(self) -> None:
        self._profiles: dict[tuple[str, str], Profile] = {}
        self._lengths: dict[str, Figure] = {}
        self._changed: set[tuple[str, str]] = set()
        self._longer: set[str] = set()

    # --- what was seen ----------------------------------------------------------------------------------------------

    def generated(self, spec: ModelSpec, backend: str, seen: Generated) -> None:
        profile = self._profile(spec, backend)
        if seen.prefill_s > 0 and seen.read_tokens > (1 - MOST_KNOWN) * seen.prompt_tokens:
            profile.read(seen.read_tokens, seen.prefill_s)
        if seen.completion_tokens > 1 and seen.decode_s > 0:
            profile.tpot_s.add(seen.decode_s / (seen.completion_tokens - 1))
        if seen.completion_tokens >= LEAST_TOKENS and seen.joules is not None:
            profile.joules_per_token.add(seen.joules / seen.completion_tokens)
        if seen.watts is not None:
            profile.watts.add(seen.watts)

    def answered(self, spec: ModelSpec, completion_tokens: int) -> None:
        """An answer that ended by itself or at a limit had so many tokens."""
        key = key_of(spec)
        self._lengths.setdefault(key, Figure(most=LENGTHS)).add(completion_tokens)
        self._longer.add(key)

    def embedded(self, spec: ModelSpec, backend: str, tokens: int, seconds: float) -> None:
        """Texts that were not known from before: so many tokens took so long in the worker."""
        if tokens > 0 and seconds > 0:
            self._profile(spec, backend).read(tokens, seconds)

    def loaded(self, spec: ModelSpec, backend: str, seconds: float) -> None:
        self._profile(spec, backend).load_s.add(seconds)

    # --- what is expected -------------------------------------------------------------------------------------------

    def find(self, spec: ModelSpec, backend: str) -> Profile | None:
        return self._profiles.get((key_of(spec), backend))

    def expected_output(self, spec: ModelSpec, max_tokens: int | None) -> float:
        """Tokens: what was asked for, the median of the last answers, or LONGEST_EXPECTED, whichever is least."""
        lengths = self._lengths.get(key_of(spec))
        usual = LONGEST_EXPECTED if lengths is None or lengths.known is None else lengths.known
        asked = max_tokens if max_tokens is not None and max_tokens > 0 else LONGEST_EXPECTED
        return min(asked, usual, LONGEST_EXPECTED)

    def of(self, backend: str) -> tuple[Measured, ...]:
        """Every model that was measured there."""
        found = [profile for (_, at), profile in tuple(self._profiles.items()) if at == backend]
        return tuple(profile.measured() for profile in found)

    # --- over a restart ---------------------------------------------------------------------------------------------

    def restore(self, samples: Iterable[Samples], lengths: Iterable[tuple[str, Iterable[float]]]) -> None:
        """What an earlier server kept. Goes behind what this one has seen meanwhile: nothing, at the start."""
        for one in samples:
            self._profiles.setdefault((one.key, one.backend), Profile(one))
        for key, values in lengths:
            self._lengths.setdefault(key, Figure(values, LENGTHS))

    def take_changed(self) -> tuple[tuple[Samples, ...], dict[str, tuple[float, ...]]]:
        """What is to be kept and was not taken since it changed: samples, and lengths of answers by key."""
        changed = tuple(self._profiles[key].samples() for key in self._changed)
        lengths = {key: tuple(self._lengths[key].values) for key in self._longer}
        self._changed.clear()
        self._longer.clear()
        return changed, lengths

    def not_kept(self, samples: Iterable[Samples], lengths: Iterable[str]) -> None:
        """They are to be taken again."""
        self._changed |= {(one.key, one.backend) for one in samples}
        self._longer |= set(lengths)

    def _profile(self, spec: ModelSpec, backend: str) -> Profile:
        key = (key_of(spec), backend)
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = Profile(Samples(key=key[0], backend=backend, name=spec.name))
        profile.name = spec.name
        self._changed.add(key)
        return profile
