"""The seeds of the fuzzers, replayed, and a short run of each from them."""

from pathlib import Path

import pytest

from fuzz.decoders import DECODERS
from fuzz.engine import SEEDS, Decoder, Finding, fuzz, seeds_of
from fuzz.promises import hold

SEEDS_BY_DECODER = [(decoder, path) for decoder in DECODERS for path in seeds_of(decoder.name)]

every = pytest.mark.parametrize("decoder", DECODERS, ids=lambda each: each.name)


@pytest.mark.parametrize(
    ("decoder", "path"),
    SEEDS_BY_DECODER,
    ids=[f"{decoder.name}-{path.name}" for decoder, path in SEEDS_BY_DECODER],
)
def test_seed(decoder: Decoder, path: Path) -> None:
    """Each seed, among them all that ever broke a decoder, keeps its promises."""
    decoder.check(path.read_bytes())


@every
def test_a_short_run(decoder: Decoder) -> None:
    """A few hundred inputs made of the seeds break nothing."""
    run = fuzz(decoder, seeds(decoder), executions=400)
    assert run.executions == 400
    assert run.finding is None, run.finding


@every
def test_a_run_can_be_repeated(decoder: Decoder) -> None:
    """The same seed makes the same inputs, another seed others."""

    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []

        def check(data: bytes) -> None:
            seen.append(data)

        fuzz(decoder._replace(check=check), seeds(decoder), seed=seed, executions=200)
        return seen

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)


def test_every_directory_of_seeds_has_its_decoder() -> None:
    """No seed lies where nothing replays it."""
    directories = {path.name for path in SEEDS.iterdir() if path.is_dir()}
    assert directories == {decoder.name for decoder in DECODERS}


def test_a_broken_decoder_is_found_out() -> None:
    """A fault that takes a rare input is found, and the input made small."""

    def check(data: bytes) -> bool:
        hold(b"{]" not in data, "found")
        return b"{" in data

    found = fuzz(Decoder("x", check, [b"{", b"]"]), [b"hello" * 20], executions=50_000).finding
    assert isinstance(found, Finding)
    assert found.data == b"{]"
    assert str(found.error) == "found"


def seeds(decoder: Decoder) -> list[bytes]:
    return [path.read_bytes() for path in seeds_of(decoder.name)]
