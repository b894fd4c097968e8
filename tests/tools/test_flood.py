"""encke flood: what it makes of bytes, and of its plan. Whole floods: test_flood_runs."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from encke.errors import BadSettings
from encke.tools.flood.addresses import Listed, Numbered, headers, request
from encke.tools.flood.plan import ALL_IN_FLIGHT, Plan, Spread, spread
from encke.tools.flood.queue import TICK, Queue
from encke.tools.flood.streams import FREE, HEAD, OVER, BadStream, Reason, Streams
from encke.tools.load.histogram import Histogram

# ---- the meaning of bytes --------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: "
TEXT = OK + b"text/html\r\n\r\n"
EVENTS = OK + b"text/event-stream; charset=utf-8\r\n\r\n"
CLOSED = b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n"
NOW = 2_000_000
"""Nanoseconds at which everything arrives; what is stamped with t=1000000 took 1 ms."""


class Read:
    """What a stream came to, cut into these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.violations: list[str] = []
        self.latency = Histogram()
        self.tally = memoryview(bytearray(8)).cast("I")
        self.sums = memoryview(bytearray(16)).cast("Q")
        self.streams = Streams(2, self.latency, self.tally, self._violated, self.sums)
        self.streams.take(7, 1)
        self.streams.phase[7] = HEAD
        self.bad: Reason | None = None
        for piece in pieces:
            try:
                self.streams.feed(7, piece, NOW)
            except BadStream as error:
                self.bad = error.reason
                break

    @property
    def messages(self) -> int:
        assert list(self.tally) == [0, self.streams.messages]
        return self.streams.messages

    @property
    def all(self) -> tuple[int, int, list[str], Reason | None, int, list[int]]:
        """All that must not depend on the cuts."""
        phase = self.streams.phase[7] if self.bad is None else FREE
        latencies = self.latency.count
        return self.messages, latencies, self.violations, self.bad, phase, list(self.sums)

    def _violated(self, stream: int, detail: str) -> None:
        assert stream == 1
        self.violations.append(detail)


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def recvd(number: int, message: bytes) -> bytes:
    return chunk(b"Recvd msg #%d: '%b'\n" % (number, message))


def stamped(sender: int, sequence: int, text: bytes = b"") -> bytes:
    return b"t=1000000 s=%d.%d %b" % (sender, sequence, text)


def published(key: int, text: bytes = b"") -> bytes:
    return b"t=1000000 p=%d %b" % (key, text)


texts = st.one_of(
    st.binary(max_size=30),
    st.binary(min_size=90, max_size=300),
    st.builds(stamped, st.integers(0, 3), st.integers(1, 5), st.binary(max_size=150)),
    st.builds(published, st.integers(0, 3), st.binary(max_size=150)),
)
bodies = st.one_of(
    st.builds(
        lambda chunks, end: TEXT + b"".join(chunks) + end,
        st.lists(
            st.one_of(
                st.builds(recvd, st.integers(0, 9), texts),
                st.builds(chunk, texts.filter(bool), st.sampled_from([b"", b";a=b", b" "])),
            )
        ),
        st.sampled_from(
            [b"", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"0\r\n\r\n1", b"x\r\n", b"5\r\n"]
        ),
    ),
    st.builds(
        lambda lines, cuts: EVENTS + b"".join(map(chunk, filter(None, lines))) + cuts,
        st.lists(
            st.builds(
                lambda field, text, end: field + text.replace(b"\r", b"") + end,
                st.sampled_from([b"", b"data: ", b"data:", b"data", b": ", b"id: 1\ndata: "]),
                texts,
                st.sampled_from([b"", b"\n", b"\n\n", b"\r\n\r\n", b"\n\n\n"]),
            )
        ),
        st.sampled_from([b"", b"0\r\n\r\n", b"1\r\n"]),
    ),
    st.builds(lambda lines: CLOSED + b"\n".join(lines), st.lists(texts)),
    st.binary(max_size=300),
)


@given(bodies, st.data())
def test_any_split_gives_the_same(body: bytes, data: st.DataObject) -> None:
    """However a stream is cut, the same messages, latencies, violations and errors are found."""
    whole = Read(body).all
    assert Read(*(body[at : at + 1] for at in range(len(body)))).all == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert Read(*pieces).all == whole


@given(st.lists(texts, max_size=20), st.integers(1, 50))
@example([b"x" * 100_000, b"", b"y"], 1000)
def test_messages_are_counted(messages: list[bytes], size: int) -> None:
    """Each chunk of the article's stream is a message; the next one's beginning is none."""
    body = TEXT + b"".join(recvd(n, message) for n, message in enumerate(messages, 1))
    body += b"20\r\nRecvd msg"
    read = Read(*(body[at : at + size] for at in range(0, len(body), size)))
    assert (read.messages, read.bad) == (len(messages), None)
    stamp = re.compile(rb"t=\d{1,19} (s=\d{1,18}\.\d{1,9}|p=\d{1,19})(?!\d)")
    assert read.latency.count == sum(bool(stamp.match(message)) for message in messages)


def test_nothing_is_kept_between_messages() -> None:
    """A stream at rest costs its row; one that was cut a short beginning, however long it is."""
    message = recvd(1, b"x" * 100_000)
    read = Read(TEXT, message)
    assert read.streams.halves == 0
    for cut in (1, 2, 50, 1000, len(message) - 1):
        read = Read(TEXT, message[:cut])
        assert sum(map(len, read.streams._rests.values())) < 150
    read.streams.free(7)
    assert read.streams.halves == 0


def test_what_an_event_is() -> None:
    """Comments, retry and id alone are no message; several data lines are one."""
    said = [
        b": heartbeat\n\n", b"retry: 2000\n\n", b"retry: 2000\n", b":\n", b"id: 1\n\n",
        b"event: x\n\n", b"\n", b"data: one\n\n", b"data: one\ndata: two\n\n",
        b"id: 7\ndata\n\n", b"data:\r\n\r\n", b"data: never ended\n",
    ]  # fmt: skip
    assert Read(EVENTS + b"".join(map(chunk, said))).messages == 4
    assert Read(EVENTS + chunk(b"".join(said))).messages == 4
    assert Read(EVENTS.replace(b"Transfer-Encoding", b"X") + b"".join(said)).messages == 4


def test_what_a_line_is() -> None:
    """Of a body that ends with the connection each line is a message; empty ones aren't."""
    assert Read(CLOSED + b"one\n\r\n\ntwo\r\n" + b"x" * 5000 + b"\nnot ended").messages == 3


@pytest.mark.parametrize(
    ("numbers", "violations"),
    [
        ([1, 2, 3], []),
        ([2], ["message #2 came where #1 was due"]),
        ([1, 3, 4], ["message #3 came where #2 was due"]),
        ([1, 1, 2], ["message #1 came where #2 was due"]),
    ],
)
def test_verify_numbers(numbers: list[int], violations: list[str]) -> None:
    """`Recvd msg #N` counts up from 1, by one; else it's told what was due."""
    assert Read(TEXT, *(recvd(n, b"x") for n in numbers)).violations == violations


@pytest.mark.parametrize(
    ("stamps", "violations"),
    [
        ([(5, 1), (5, 2), (5, 3)], 0),
        ([(5, 1), (5, 3)], 1),  # lost
        ([(5, 1), (5, 2), (5, 2)], 1),  # doubled
        ([(5, 1), (5, 3), (5, 2), (5, 4)], 3),  # in another order
        ([(5, 8), (5, 9), (6, 1), (6, 2), (5, 10)], 0),  # two senders, from any number on
    ],
)
def test_verify_senders(stamps: list[tuple[int, int]], violations: int) -> None:
    """A sender's messages to a user count up; another sender's first may have any number."""
    chunks = [recvd(n, stamped(*stamp)) for n, stamp in enumerate(stamps, 1)]
    assert len(Read(TEXT, *chunks).violations) == violations
    events = [chunk(b"data: %b\n\n" % stamped(*stamp)) for stamp in stamps]
    assert len(Read(EVENTS, *events).violations) == violations


@pytest.mark.parametrize("keys", [[], [3], [2**63 - 1] * 3, [1, 2, 3]])
def test_sums_of_keys(keys: list[int]) -> None:
    """The keys of publications are summed up for their stream, modulo 2^64, in the article's
    stream and as a friend's event; no number is due next."""
    article = [recvd(n, published(key)) for n, key in enumerate(keys, 1)]
    event = b'event: friend\ndata: {"from":"17","data":"%b"}\n\n'
    events = [chunk(event % published(key, b"Hello")) for key in keys]
    for read in (Read(TEXT, *article), Read(EVENTS, *events)):
        assert list(read.sums) == [0, sum(keys) % 2**64]
        assert (read.messages, read.violations, read.latency.count) == (len(keys), [], len(keys))


def test_latency_is_that_of_the_whole_message() -> None:
    """The time is taken when the last byte has come, from a stamp that came long before."""
    read = Read(TEXT, recvd(1, stamped(1, 1, b"x" * 1000))[:500])
    assert read.latency.count == 0
    read.streams.feed(7, recvd(1, stamped(1, 1, b"x" * 1000))[500:], 5_000_000)
    assert read.latency.quantile(1) == pytest.approx(4_000_000, rel=0.02)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Reason.STATUS),
        (b"HTTP/1.1 503 \r\n\r\n", Reason.STATUS),
        (b"HTTP/1.1 200 OK\r\nRetry-After: 10\r\nContent-Length: 2\r\n\r\n:\n", Reason.STATUS),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello", Reason.PROTOCOL),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Reason.PROTOCOL),
        (b"x" * 20_000, Reason.PROTOCOL),
        (TEXT + b"5\r\nHelloWorld", Reason.PROTOCOL),
        (TEXT + b"-5\r\nHello", Reason.PROTOCOL),
        (TEXT + b"5" * 300, Reason.PROTOCOL),
        (TEXT + b"0\r\n\r\nmore", Reason.PROTOCOL),
    ],
)
def test_bad_streams(head: bytes, reason: Reason) -> None:
    """What is no stream, or breaks off its framing, is told by reason."""
    assert Read(head).bad is reason


def test_heads() -> None:
    """An interim answer is passed over; a last chunk is the end."""
    assert (
        Read(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + TEXT + recvd(1, b"x")).messages == 1
    )
    assert Read(TEXT + b"0\r\n\r\n").streams.phase[7] == OVER


def test_a_stream_begins_anew() -> None:
    """Opened again, a stream counts from 1; its tally goes on."""
    read = Read(TEXT, recvd(1, stamped(5, 1)), recvd(2, stamped(5, 2)))
    read.streams.free(7)
    read.streams.take(2000, 1)  # another descriptor, beyond the rows so far
    read.streams.phase[2000] = HEAD
    read.streams.feed(2000, TEXT + recvd(1, stamped(5, 9)), NOW)
    assert (read.violations, read.messages) == ([], 3)


# ---- plans -----------------------------------------------------------------------------


PORTS = 14_116


@given(st.integers(1, 1_000_000), st.integers(1064, 100_000), st.just(0) | st.integers(100, 30_000))
def test_spread(streams: int, files: int, per_process: int) -> None:
    """Each stream has one herd; none has more than files and ports allow; few are in flight."""
    spreading = spread(Plan(per_process=per_process), streams, files, PORTS)
    ranges = [spreading.share(herd, streams) for herd in range(spreading.herds)]
    assert ranges[0].start == 0
    assert all(one.stop == next.start for one, next in pairwise(ranges))
    assert ranges[-1].stop == streams
    shares = list(map(len, ranges))
    assert max(shares) <= min(files - 64, 20_000, per_process or streams)
    assert min(shares) >= 1
    assert spreading.sources or streams <= PORTS
    assert max(shares) <= PORTS * max(1, spreading.sources)
    assert spreading.in_flight == 1 or spreading.in_flight * spreading.herds <= ALL_IN_FLIGHT
    assert spreading.at_once == min(8, spreading.herds)
    assert spreading.first_in_flight * spreading.at_once <= ALL_IN_FLIGHT
    assert spreading.first_in_flight >= spreading.in_flight


def test_herds_take_turns_at_a_rate() -> None:
    """With a rate all herds open from the beginning."""
    spreading = spread(Plan(rate=100), 200_000, 1_064, PORTS)
    assert spreading.at_once == spreading.herds == 200
    assert spreading.first_in_flight == spreading.in_flight


@pytest.mark.parametrize("herds", [1, 6, 51])
def test_events_gather_only_where_many_come(herds: int) -> None:
    """It depends on the rate of all herds together; the more there are, the longer is the pause."""
    spreading = Spread(herds, 60, herds, at_once=8, first_in_flight=60)
    assert not spreading.gathers(19_000 / herds)
    assert spreading.gathers(21_000 / herds)
    assert spreading.pause == pytest.approx(herds * 0.4e-3)


def test_spread_of_churn() -> None:
    """Who leaves by FIN keeps a port for a minute; so churn takes more source addresses."""
    assert spread(Plan(), PORTS, 20_000, PORTS).sources == 0
    assert spread(Plan(churn=PORTS / 30), PORTS, 20_000, PORTS).sources == 2


def test_spread_without_files() -> None:
    """Where a process may open hardly any file, that's said."""
    with pytest.raises(BadSettings, match="ulimit"):
        spread(Plan(), 10, 64, PORTS)


def test_queue() -> None:
    """New streams come in order; those put back when they're due, not before, each once."""
    queue = Queue(3)
    assert [queue.pop(0.0) for _ in range(4)] == [0, 1, 2, None]
    assert queue.next_due(0.0) is None
    for stream, when in ((0, 5.0), (1, 6.0), (2, 5.0)):
        queue.put(stream, when)
    assert len(queue) == 3
    assert queue.pop(4.9) is None
    assert queue.next_due(4.0) == pytest.approx(1, abs=2 * TICK)
    soon = 5.0 + 2 * TICK
    assert {queue.pop(soon), queue.pop(soon)} == {0, 2}
    assert queue.pop(soon) is None
    assert (len(queue), queue.pop(7.0), len(queue)) == (1, 1, 0)


def test_numbered_addresses() -> None:
    """`{}` is the user id, wherever it stands."""
    addresses = Numbered("http://127.0.0.1:8000/a/{}?b", 10, 3)
    assert [addresses[stream][1] for stream in range(len(addresses))] == [
        b"/a/10?b", b"/a/11?b", b"/a/12?b",
    ]  # fmt: skip
    asked = request(*addresses[0], headers(["X-Key: y"]))
    assert asked.startswith(b"GET /a/10?b HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert asked.endswith(b"\r\nX-Key: y\r\n\r\n")
    with pytest.raises(BadSettings, match="user id"):
        Numbered("http://127.0.0.1:8000/a", 1, 2)


def test_listed_addresses(tmp_path: Path) -> None:
    """A line is an address; empty lines and blanks around one don't count."""
    file = tmp_path / "urls"
    file.write_text("http://127.0.0.1:1/a\r\n\n  http://127.0.0.1:2/b/c \nhttp://127.0.0.1:1/d")
    addresses = Listed(str(file))
    assert [(server.address[1], path) for server, path in map(addresses.__getitem__, range(3))] == [
        (1, b"/a"), (2, b"/b/c"), (1, b"/d"),
    ]  # fmt: skip
    assert len(Listed(str(file), 2)) == 2
    with pytest.raises(BadSettings, match="has 3 addresses"):
        Listed(str(file), 4)


@pytest.mark.parametrize(
    ("content", "complaint"), [("", "empty"), ("http://127.0.0.1:1/a\n/b\n", "line 2")]
)
def test_bad_lists(tmp_path: Path, content: str, complaint: str) -> None:
    """What is wrong with a file is said with the number of the line."""
    file = tmp_path / "urls"
    file.write_text(content)
    with pytest.raises(BadSettings, match=complaint):
        Listed(str(file))
    with pytest.raises(BadSettings, match="No such file"):
        Listed(str(tmp_path / "none"))
