"""The engine: inputs out of seeds, as long as the decoder keeps its promises.

Inputs are mutated, spliced and joined seeds. An input that makes a decoder behave as
none before (its `Outcome` is new) joins the seeds, so the search goes on from there: a
poor man's coverage, which needs no instrumentation and works with every Python.

Invariant: the inputs depend on seeds and random seed only, so a run can be repeated.
"""

import random
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

Outcome = Hashable
"""How a decoder behaved, from outside: kinds of events, errors; not the data."""

MAX_SIZE = 8 * 1024
"""Longest input: room for several requests, short enough to be fed byte by byte."""

MAX_CORPUS = 2000
"""Inputs kept, seeds included."""

TOO_SLOW = 10.0
"""Seconds for one input. Usual is a millisecond; the rest is for a machine that is busy."""

SEEDS = Path(__file__).parent / "seeds"


class Decoder(NamedTuple):
    """Something that reads bytes: `check` raises if `data` breaks one of its promises."""

    name: str
    check: Callable[[bytes], Outcome]
    tokens: Sequence[bytes]
    """What its inputs are made of; inserted by mutation."""


class Finding(NamedTuple):
    """An input that breaks a decoder, and how."""

    data: bytes
    error: Exception


class Run(NamedTuple):
    """What fuzzing one decoder came to."""

    executions: int
    seconds: float
    outcomes: int
    finding: Finding | None


class TooSlow(Exception):
    """An input took so long that it could hold up a server."""


def seeds_of(name: str) -> list[Path]:
    """The files with the seeds of decoder `name`."""
    return sorted(path for path in (SEEDS / name).iterdir() if path.name[0] != ".")


def fuzz(
    decoder: Decoder,
    seeds: Iterable[bytes],
    *,
    seed: int = 0,
    seconds: float = float("inf"),
    executions: int | None = None,
) -> Run:
    """Feed `decoder` for so many seconds, or so many executions, or until it breaks."""
    mutator = Mutator(random.Random(f"{decoder.name} {seed}"), decoder.tokens)
    corpus = list(seeds)
    outcomes: set[Outcome] = set()
    began = time.monotonic()
    count = 0
    finding = None
    while finding is None and count != executions and time.monotonic() - began < seconds:
        data = corpus[count] if count < len(corpus) else mutator.mutate(corpus)
        count += 1
        outcome = attempt(decoder, data)
        if isinstance(outcome, Finding):
            finding = smaller(decoder, outcome)
        elif outcome not in outcomes:
            outcomes.add(outcome)
            if len(corpus) < MAX_CORPUS:
                corpus.append(data)
    return Run(count, time.monotonic() - began, len(outcomes), finding)


def attempt(decoder: Decoder, data: bytes) -> Outcome | Finding:
    """What becomes of `data`."""
    began = time.monotonic()
    try:
        outcome = decoder.check(data)
        if time.monotonic() - began > TOO_SLOW:
            raise TooSlow(f"{len(data)} bytes took more than {TOO_SLOW} s")
    except Exception as error:  # noqa: BLE001 - whatever it is, it's what is looked for
        return Finding(data, error)
    return outcome


def smaller(decoder: Decoder, finding: Finding, attempts: int = 2000) -> Finding:
    """A smaller input that breaks the decoder in the same way, found by leaving parts out."""
    size = len(finding.data) // 2
    while size and attempts > 0:
        start = 0
        while start < len(finding.data) and attempts > 0:
            attempts -= 1
            left = finding.data[:start] + finding.data[start + size :]
            outcome = attempt(decoder, left)
            if isinstance(outcome, Finding) and type(outcome.error) is type(finding.error):
                finding = outcome
            else:
                start += size
        size = min(size // 2, len(finding.data))
    return finding


class Mutator:
    """Makes inputs that are like those it's given, but wrong in places."""

    def __init__(self, rng: random.Random, tokens: Sequence[bytes]) -> None:
        self._rng = rng
        self._tokens = tokens
        self._changes = (
            self._flip, self._put, self._insert, self._remove, self._repeat, self._number,
            self._token, self._token, self._swap,
        )  # fmt: skip

    def mutate(self, corpus: Sequence[bytes]) -> bytes:
        """A new input, made of one or two of `corpus`."""
        rng = self._rng
        data = bytearray(rng.choice(corpus))
        match rng.randrange(6):
            case 0:  # splice
                other = rng.choice(corpus)
                data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :]
            case 1:  # join
                data += rng.choice(corpus)
        for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
            rng.choice(self._changes)(data)
        return bytes(data[:MAX_SIZE])

    def _range(self, data: bytearray) -> tuple[int, int]:
        start = self._rng.randint(0, len(data))
        return start, min(len(data), start + self._rng.choice((1, 1, 2, 4, 8, 32, 128)))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)

    def _put(self, data: bytearray) -> None:
        if data:
            byte = self._rng.choice(b'\0\x01\t\n\r "%+,-./019:;AZ[\\]az{}\x7f\x80\xc3\xed\xff')
            data[self._rng.randrange(len(data))] = byte

    def _insert(self, data: bytearray) -> None:
        place = self._rng.randint(0, len(data))
        data[place:place] = self._rng.randbytes(self._rng.choice((1, 1, 2, 4)))

    def _remove(self, data: bytearray) -> None:
        start, end = self._range(data)
        del data[start:end]

    def _repeat(self, data: bytearray) -> None:
        start, end = self._range(data)
        data[start:start] = data[start:end] * self._rng.choice((1, 1, 2, 8, 64, 1024))
        del data[MAX_SIZE:]

    def _swap(self, data: bytearray) -> None:
        start, end = self._range(data)
        part = data[start:end]
        del data[start:end]
        place = self._rng.randint(0, len(data))
        data[place:place] = part

    def _number(self, data: bytearray) -> None:
        """A 32-bit number of the machine, at its limits or near what was there."""
        if len(data) >= 4:
            place = self._rng.randrange(len(data) - 3)
            now = int.from_bytes(data[place : place + 4], "little")
            number = self._rng.choice((0, 1, now - 1, now + 1, now * 2, 2**31, 2**32 - 1))
            data[place : place + 4] = (number % 2**32).to_bytes(4, "little")

    def _token(self, data: bytearray) -> None:
        start, end = self._range(data)
        if self._rng.random() < 0.5:
            end = start
        data[start:end] = self._rng.choice(self._tokens)
