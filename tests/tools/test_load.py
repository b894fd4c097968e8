"""What the load tools share: histogram, stamp, tallies, board, addresses."""

import math
import struct
from array import array
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.errors import BadSettings
from encke.tools.load.board import Board
from encke.tools.load.histogram import HIGHEST, LOWEST, SIZE, Histogram, duration
from encke.tools.load.kernel import listening_queues
from encke.tools.load.stamp import (
    PREFIX,
    SENDERS,
    first_sender,
    key,
    publication,
    said,
    stamp,
)
from encke.tools.load.summary import durations
from encke.tools.load.tallies import sums, tallies
from encke.tools.load.target import source, target

DURATIONS = st.lists(st.integers(LOWEST, HIGHEST), min_size=1, max_size=200)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


# ---- the histogram ---------------------------------------------------------------------


@given(DURATIONS, st.floats(0, 1))
def test_quantiles_are_at_most_2_percent_off(values: list[int], share: float) -> None:
    """A quantile is that of the exact values, give or take the histogram's resolution."""
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert filled(values).quantile(share) == pytest.approx(exact, rel=0.011)


@given(DURATIONS, DURATIONS)
def test_merged_is_as_if_recorded_in_one(one: list[int], other: list[int]) -> None:
    """Histograms of several processes add up to that of all durations."""
    merged = filled(one)
    merged.merge(filled(other))
    assert merged.cells == filled(one + other).cells
    assert merged.count == len(one) + len(other)


@given(st.lists(st.integers(-10, 10**15)))
def test_its_size_is_fixed(values: list[int]) -> None:
    """Whatever is recorded, also what is beyond its ends, is counted, in the same memory."""
    histogram = filled(values)
    assert histogram.count == len(values) == sum(count for _, count in histogram.coarse())
    assert len(histogram.cells) == SIZE


def test_beyond_the_ends() -> None:
    """What is too short or too long to be told apart is told as the end."""
    assert filled([-5, 0, 1]).quantile(1) == pytest.approx(LOWEST, rel=0.011)
    assert filled([HIGHEST * 100]).quantile(1) == pytest.approx(HIGHEST, rel=0.03)


def test_empty() -> None:
    """Without durations all figures are 0."""
    assert Histogram().quantile(0.99) == 0
    assert durations(Histogram()).max == 0
    assert list(Histogram().drawing()) == []


def test_it_lies_in_any_buffer() -> None:
    """A histogram in shared memory is seen by whoever maps it; the size must fit."""
    row = Board(2, SIZE).row(1)
    Histogram(row).record(5_000_000)
    assert Histogram(row).count == 1
    with pytest.raises(ValueError, match="steps"):
        Histogram(array("Q", [0]))


def test_summary() -> None:
    """Figures are in milliseconds; a drawing shows steps and counts."""
    histogram = filled([1_500_000] * 99 + [80_000_000])
    figures = durations(histogram)
    assert figures.count == 100
    assert figures.p50 == pytest.approx(1.5, rel=0.02)
    assert figures.max == pytest.approx(80, rel=0.02)
    assert figures.histogram[0] == (2.0, 99)
    assert str(figures).startswith("p50 1.51 ms")
    assert "99" in next(iter(histogram.drawing()))
    assert duration(2.5e9) == "2.5 s"


# ---- the rest --------------------------------------------------------------------------


@given(st.integers(1, 4096), st.integers(1, 10**9 - 1), st.integers(1, 10**9 - 1))
def test_a_stamp_is_read_again(number: int, sequence: int, at: int) -> None:
    """What generate writes flood reads, alone and in the article's stream, within PREFIX."""
    sender = first_sender() + number
    written = stamp(sender, sequence)
    for message, n in ((written, None), (b"Recvd msg #%d: '%b" % (at, written), b"%d" % at)):
        found = said(message, 0, PREFIX)
        assert found is not None
        assert found[1] == n
        assert (int(found[3]), int(found[4])) == (sender, sequence)


@pytest.mark.parametrize("message", [b"", b"Hello", b"t=1 s=2", b"t= s=1.2", b"Recvd msg #x: '"])
def test_no_stamp(message: bytes) -> None:
    """Any other message is no error, and has no stamp."""
    found = said(message)
    assert found is not None
    assert found.groups() == (None, None, None, None, None)


@given(st.integers(1, 4096), st.integers(1, 2**32 - 1))
def test_a_publication_is_read_again(number: int, publication_number: int) -> None:
    """Its key is found in the article's stream and in a friend's event, within PREFIX."""
    due = key(first_sender() + number, publication_number)
    written = publication(due)
    article = b"Recvd msg #999999999: '%b" % written
    event = b'{"from":"%b","data":"%b"}' % (b"x" * 34, written)
    for message in (written, article, event):
        found = said(message, 0, PREFIX)
        assert found is not None
        assert found[3] is found[4] is None
        assert int(found[5]) == due


def test_keys_differ() -> None:
    """No two publications of a run have the same key, and keys use all of their 63 bits."""
    run = first_sender()
    keys = {key(run + sender, number) for sender in range(4) for number in range(1, 5_000)}
    assert len(keys) == 4 * 4_999
    bits = [sum(it >> bit & 1 for it in keys) / len(keys) for bit in range(64)]
    assert bits[63] == 0
    assert all(0.48 < share < 0.52 for share in bits[:63])


def test_board() -> None:
    """Each row is its process's; columns are summed over all."""
    board = Board(3, 4)
    for number in range(3):
        board.row(number)[2] = number + 1
    assert board.total(2) == 6
    assert board.column(2) == [1, 2, 3]
    assert board.total(1) == 0


def test_tallies_are_in_the_file(tmp_path: Path) -> None:
    """The file has a 32-bit little-endian number a user, at once, and nothing of before."""
    file = tmp_path / "counts"
    file.write_bytes(b"x" * 100)
    counts = tallies(3, str(file))
    counts[1] += 7
    assert file.read_bytes() == struct.pack("<3I", 0, 7, 0)


def test_sums_are_in_the_file(tmp_path: Path) -> None:
    """The same with 64-bit numbers."""
    file = tmp_path / "sums"
    kept = sums(2, str(file))
    kept[1] += 2**64 - 1
    assert file.read_bytes() == struct.pack("<2Q", 0, 2**64 - 1)


def test_tallies_in_no_such_directory(tmp_path: Path) -> None:
    """A file that can't be written is said before anything begins."""
    with pytest.raises(BadSettings, match="No such file"):
        tallies(3, str(tmp_path / "none" / "counts"))


def test_target() -> None:
    """An address gives server, host header and path; the port is 80 if none is named."""
    assert target("http://127.0.0.1:8000/test/{}").address == ("127.0.0.1", 8000)
    there = target("http://127.0.0.1")
    assert (there.address[1], there.host, there.path) == (80, b"127.0.0.1", b"/")
    assert there.loopback
    six = target("http://[::1]:81/a?b")
    assert (six.address, six.host, six.path) == (("::1", 81), b"[::1]:81", b"/a?b")
    assert not six.loopback


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1", "https://a/", "http:///x", "http://a:b/", "http://a:0/", "http://a/ x",
            "http://a/\r\nx", "http://u@a/", "http://no.such.host.invalid/"],
)  # fmt: skip
def test_no_target(url: str) -> None:
    """What is no http:// address, or known to nobody, is refused with a sentence."""
    with pytest.raises(BadSettings):
        target(url)


@given(st.integers(1, 4_194_304), st.integers(0, 1000))
def test_sources_are_loopback_and_differ(run: int, number: int) -> None:
    """Each process of a run has a source address of its own on this machine."""
    first, second = source(run, number), source(run, number + 1)
    assert first != second
    for address in (first, second):
        parts = [int(part) for part in address.split(".")]
        assert parts[0] == 127
        assert 1 <= parts[1] <= 254
        assert 0 <= parts[2] <= 255
        assert 1 <= parts[3] <= 250


def test_listening_queues() -> None:
    """The kernel's counters can be read, and only grow."""
    before = listening_queues()
    assert min(listening_queues().since(before)) >= 0


def test_runs_that_begin_together_have_their_own_senders() -> None:
    """Else a receiver would take two senders for one, and their messages for disordered ones."""
    firsts = sorted(first_sender() for _ in range(1000))
    assert all(after - before >= SENDERS for before, after in pairwise(firsts))
