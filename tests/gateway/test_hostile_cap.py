"""As many connections as may be, and more."""

import re
from collections.abc import Iterator

import pytest

from encke.gateway.cap import RESERVE
from encke.gateway.life import IDLE, LOGGING_IN, NEW
from encke.scoreboard import Field
from encke.settings import RESERVED_FILES

from .harness import Client, Server, get, post, running

CAPACITY = 4


@pytest.fixture
def server() -> Iterator[Server]:
    with running(capacity=CAPACITY) as server:
        yield server


def fill(server: Server, idle: int = 0) -> list[Client]:
    """Take every place: by streams, and by so many who sleep between two requests. No other gateway
    has room."""
    streams = [server.stream(b"%d" % number) for number in range(CAPACITY - idle)]
    for _ in range(idle):
        asleep = server.connect()
        asleep.say(get(b"/"))
        asleep.take_all()
        assert server.state(asleep) == IDLE
    server.others_full = True
    server.tick()
    return streams


def events(path: bytes, accept: bytes = b"text/event-stream") -> bytes:
    return get(path).replace(b"\r\n\r\n", b"\r\nAccept: %b\r\n\r\n" % accept)


def test_senders_get_in(server: Server) -> None:
    fill(server)
    sender = server.connect()
    sender.say(post(b"/send/1", b"x"))
    server.router.answer()
    sender.take_all()
    assert sender.answers[0].status == 200
    assert server.state(sender) == IDLE


def test_who_asks_for_a_stream_is_told(server: Server) -> None:
    fill(server)
    late = server.connect()
    late.say(get(b"/test/late"))
    late.take_all()
    assert late.answers[0].status == 503
    assert b"--max-connections" in late.answers[0].body
    assert b"\r\nRetry-After: 10\r\n" in late.raw
    assert late.ended
    server.tick()
    assert server.row[Field.STREAMS_REFUSED] == server.row[Field.UNAVAILABLE] == 1


@pytest.mark.parametrize("accept", [b"text/event-stream", b"*/*, Text/Event-Stream;q=0.9"])
def test_an_event_source_comes_back(server: Server, accept: bytes) -> None:
    """It's told when, at random so that not all come at once; and no event, not even an empty
    one."""
    fill(server)
    waits = set()
    for _ in range(5):
        late = server.connect()
        late.say(events(b"/events/late", accept))
        late.take_all()
        assert late.answers[0].status == 200
        assert b"\r\nContent-Type: text/event-stream; charset=utf-8\r\n" in late.raw
        assert b"\r\nRetry-After: " in late.raw
        found = re.fullmatch(rb": .*--max-connections.*\nretry: (\d+)\n", late.answers[0].body)
        assert found is not None
        waits.add(int(found[1]))
        assert late.ended
    assert len(waits) > 1
    assert all(10_000 <= wait <= 20_000 for wait in waits)


def test_who_sleeps_takes_no_stream_from_anybody(server: Server) -> None:
    """There's room for streams as long as there are fewer than may be, and senders keep their
    connections."""
    fill(server, idle=2)
    asleep = [it for it in server.clients if server.state(it) == IDLE]
    server.stream(b"new")
    pending = server.connect()
    pending.say(get(b"/test/newer"))
    assert server.state(pending) == LOGGING_IN
    late = server.connect()
    late.say(get(b"/test/late"))
    late.take_all()
    assert late.answers[0].status == 503
    assert [server.state(it) for it in asleep] == [IDLE, IDLE]


def test_who_sleeps_longest_goes_first(server: Server) -> None:
    """Once the reserve is used up as well; who has sent something meanwhile stays."""
    fill(server)
    asleep = [server.connect() for _ in range(RESERVE)]
    for each in asleep:
        each.say(get(b"/"))
    server.tick(8)
    lately = asleep.pop(0)
    lately.take_all()
    lately.say(get(b"/"))
    lately.take_all()
    for number in range(RESERVE // 4):
        server.connect().say(get(b"/"))
        assert sum(server.state(it) == IDLE for it in server.clients) == RESERVE, number
    assert not lately.ended
    for each in asleep:
        each.take_all()
    assert sum(it.ended for it in asleep) == RESERVE // 4


def test_who_sends_stays_however_many_come(server: Server) -> None:
    """Who dribbles a request hasn't sent anything, and makes room."""
    fill(server)
    sender, dribbler = server.connect(), server.connect()
    head = post(b"/send/1", b"x")
    for number in range(3 * RESERVE):
        newcomer = server.connect()
        newcomer.say(get(b"/"))
        if number % 8 == 7:
            server.tick()
            sender.say(head)
            server.router.answer()
            sender.take_all()
            if number < len(head):
                dribbler.say(head[number : number + 1])
    dribbler.take_all()
    assert [it.status for it in sender.answers] == [200] * (3 * RESERVE // 8)
    assert not sender.ended
    assert dribbler.ended


def test_the_reserve_is_for_who_has_something_to_say(server: Server) -> None:
    """Once it's used up too, who says nothing makes room for who does; streams never do."""
    streams = fill(server)
    silent = [server.connect() for _ in range(RESERVE)]
    half = silent[0]
    half.say(b"POST /send/1 HT")
    server.tick()
    for number in range(3 * RESERVE):
        sender = server.connect()
        sender.say(post(b"/send/1", b"%d" % number))
        assert len(server.rows) <= CAPACITY + RESERVE
        server.router.answer()
        sender.take_all()
        assert sender.answers[0].status == 200
        if number % 8 == 7:
            server.tick()
    assert all(server.state(it) != NEW for it in streams)
    for stream in streams:
        stream.take_all()
        assert not stream.ended


def test_a_crowd_that_says_nothing(server: Server) -> None:
    """They make room for each other, and no more are open than may be."""
    fill(server)
    for _ in range(5):
        server.clients += [Client(server) for _ in range(RESERVE)]  # as many as the door holds
        server.settle()
        assert len(server.rows) == CAPACITY + RESERVE
        server.tick()
    server.tick()
    sender = server.connect()
    sender.say(post(b"/send/1", b"x"))
    server.router.answer()
    sender.take_all()
    assert sender.answers[0].status == 200


def test_who_came_just_now_stays_for_a_tick(server: Server) -> None:
    """Time enough to say something. All but one, or who does so all the time would keep others
    out; the others wait at the door."""
    fill(server)
    first = [server.connect() for _ in range(RESERVE)]
    second = [Client(server) for _ in range(RESERVE)]
    server.clients += second
    server.settle()
    for each in first + second:
        each.say(post(b"/send/1", b"x"))
    server.settle()
    assert len(server.router.sent) == RESERVE
    while server.router.sent:
        server.router.answer()
    server.settle()
    for each in first:
        each.take_all()
    assert sum(bool(it.answers) for it in first) == RESERVE - 1
    assert [it.ended for it in first] == [True] + [False] * (RESERVE - 1)
    server.tick(2)
    while server.router.sent:
        server.router.answer()
    for each in second:
        each.take_all()
    assert all(it.answers for it in second)


def test_nobody_can_make_room(server: Server) -> None:
    """Where all are busy, newcomers wait at the door until one isn't."""
    fill(server)
    busy = [server.connect() for _ in range(RESERVE)]
    for each in busy:
        each.say(post(b"/send/1", b"x"))
    late = Client(server)
    server.clients.append(late)
    server.tick()
    assert len(server.rows) == CAPACITY + RESERVE
    late.send(post(b"/send/1", b"y"))
    server.router.answer()
    server.tick(2)  # who sleeps now goes for the newcomer
    assert len(server.rows) == CAPACITY + RESERVE
    while server.router.sent:
        server.router.answer()
    server.settle()
    late.take_all()
    assert late.answers[0].status == 200


def test_other_gateways_have_room(server: Server) -> None:
    """Newcomers are left to them."""
    fill(server)
    server.others_full = False
    server.tick()
    server.clients.append(Client(server))
    server.tick(3)
    assert len(server.rows) == CAPACITY


def test_room_again(server: Server) -> None:
    """Streams are let in again as soon as one has gone."""
    streams = fill(server)
    streams[0].close()
    server.settle()
    again = server.connect()
    again.say(get(b"/test/again"))
    assert server.state(again) == LOGGING_IN


def test_the_reserve_has_its_descriptors() -> None:
    assert RESERVED_FILES - RESERVE >= 64
