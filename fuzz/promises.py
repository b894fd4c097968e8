"""What a decoder is held to, whatever it decodes.

- No exception but the one that its docstring names.
- The same comes out however the bytes are cut (`ways`).
- What is kept of unfinished input is bounded (`bounded`).

How an input is cut depends on the input alone, so an input that breaks a decoder once
breaks it again.
"""

import random
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

LIMIT = 1024
"""For what the decoders keep: small, so that inputs reach it."""

READ = 512
"""Bytes of one read, where a read's size matters."""

SLACK = 8 * 1024
"""Bytes of memory that may come and go for other reasons than what a decoder keeps."""


class Broken(AssertionError):
    """A promise that doesn't hold."""


def hold(promise: bool, what: str) -> None:
    """Raise Broken if `promise` doesn't hold."""
    if not promise:
        raise Broken(what[:1000])


def rng_of(data: bytes) -> random.Random:
    """Randomness that depends on the input alone."""
    return random.Random(zlib.crc32(data))


def ways(data: bytes) -> list[Sequence[bytes]]:
    """`data` cut in several ways: some large pieces, many small ones."""
    rng = rng_of(data)
    few = [0, *sorted(rng.choices(range(len(data) + 1), k=rng.randint(1, 4))), len(data)]
    step = 1 if len(data) <= READ else rng.randint(2, 64)
    return [
        [data[a:b] for a, b in pairwise(few)],
        [data[i : i + step] for i in range(0, len(data), step)],
    ]


def bounded(data: bytes, filler: Sequence[bytes], feed: Callable[[bytes], object]) -> None:
    """Hold that after `data` no filler makes `feed` keep more than LIMIT and one read.

    Measured for one input in 8: it takes long. `feed` must drop what it gets out.
    """
    rng = rng_of(data)
    if rng.randrange(8):
        return
    piece = (rng.choice(filler) * READ)[:READ]
    tracemalloc.start()
    try:
        feed(data)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2 * (LIMIT + SLACK) // READ):
            feed(piece)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    hold(kept <= LIMIT + READ + SLACK, f"{kept} bytes kept of {piece[:8]!r}...")
