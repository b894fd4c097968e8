"""A link and one real NATS server: what is carried, what is refused, what is restored."""

import sys
import time
from pathlib import Path

import psutil
import pytest
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from reactor.turning import run_until

from bench.servers.nats import NatsServer
from encke.cluster.errors import MessageTooLarge, NotLinked, UplinkFull
from encke.cluster.uplink import RESTORED_AT_ONCE
from encke.reactor.loop import Reactor
from encke.scoreboard import NatsLink
from encke.wire.nats import NatsMessage
from encke.wire.subjects import Subjects

from .member import Join, Member
from .nats_py import NatsPy

USER = Subjects().user


# what is carried


def test_messages_reach_who_subscribed_and_nobody_else(shared: NatsServer, join: Join) -> None:
    """A message is received on the links that subscribed, in order, with its subject and sid;
    not by others, and not by the link that published it."""
    subject, other = USER(b"ada@example.org"), USER(b"2")
    sender = join(shared.url, subject)
    receiver = join(shared.url, subject)
    stranger = join(shared.url, other)
    payloads = [b"%d" % number for number in range(1000)] + [b"", b"\r\n", bytes(range(256))]
    sender.link.publish([subject] * len(payloads), payloads)
    sender.link.publish([other], [b"end"])
    assert receiver.until_received(len(payloads)) == payloads
    assert receiver.messages[0] == NatsMessage(subject, b"ada@example,org", b"0")
    assert stranger.until_received(1) == [b"end"]
    assert sender.messages == []


def test_publishing_as_any_client_would(shared: NatsServer, join: Join, peer: NatsPy) -> None:
    """What nats-py publishes is received, with the reply it asks for and its header."""
    member = join(shared.url, USER(b"1"))
    peer.do(peer.client.publish("encke.user.1", b"plain"))
    peer.do(peer.client.publish("encke.user.1", b"asking", reply="answers"))
    peer.do(peer.client.publish("encke.user.1", b"with", headers={"A": "b"}))
    assert member.until_received(3) == [b"plain", b"asking", b"with"]
    plain, asking, with_header = member.messages
    assert (plain.reply, plain.header) == (b"", b"")
    assert asking.reply == b"answers"
    assert with_header.header == b"NATS/1.0\r\nA: b\r\n\r\n"


def test_any_client_receives(shared: NatsServer, join: Join, peer: NatsPy) -> None:
    """nats-py receives what a link publishes, in order."""

    async def listen() -> None:
        await peer.client.subscribe("encke.user.*", cb=receive)
        await peer.client.flush()

    received: list[tuple[str, bytes]] = []

    async def receive(message: Msg) -> None:
        received.append((message.subject, message.data))

    peer.do(listen())
    member = join(shared.url)
    member.link.publish([USER(b"a.b"), USER(b"2")], [b"one", b"two"])
    assert member.flushed()
    peer.do(peer.client.flush())
    assert received == [("encke.user.a,b", b"one"), ("encke.user.2", b"two")]


def test_questions_and_answers(shared: NatsServer, join: Join, peer: NatsPy) -> None:
    """A link answers nats-py's request, and nats-py a link's; where nobody is, both are told."""
    member = join(shared.url, USER(b"1"), b"answers.*")

    async def ask() -> bytes:
        return (await peer.client.request("encke.user.1", b"?", timeout=5)).data

    async def answer(message: Msg) -> None:
        await message.respond(b"42")

    async def serve() -> None:
        await peer.client.subscribe("questions", cb=answer)
        await peer.client.flush()

    asking = peer.later(ask())
    member.until_received(1)
    member.link.publish([member.messages[0].reply], [b"41"])
    assert member.flushed()
    assert asking.result(timeout=10) == b"41"

    peer.do(serve())
    member.link.publish([b"questions", b"nowhere"], [b"?", b"?"], reply=b"answers.7")
    member.until_received(3)
    answered, nobody = sorted(member.messages[1:], key=lambda message: message.no_responders)
    assert (answered.payload, answered.no_responders) == (b"42", False)
    assert (nobody.payload, nobody.no_responders) == (b"", True)
    assert nobody.subject == b"answers.7"
    with pytest.raises(NoRespondersError):
        peer.do(peer.client.request("nowhere", b"?", timeout=5))


def test_unsubscribing(shared: NatsServer, join: Join) -> None:
    """After the last logout nothing comes any more; subscribing twice is as once."""
    sender, receiver = join(shared.url), join(shared.url)
    receiver.subscribe(USER(b"1"), USER(b"2"))
    receiver.subscribe(USER(b"1"))
    sender.link.publish([USER(b"1")], [b"one"])
    assert receiver.until_received(1) == [b"one"]
    assert receiver.link.unsubscribe([USER(b"1")])
    assert receiver.flushed()
    sender.link.publish([USER(b"1"), USER(b"2")], [b"missed", b"two"])
    assert receiver.until_received(2) == [b"one", b"two"]


def test_whoever_publishes_cannot_end_a_link(shared: NatsServer, join: Join, peer: NatsPy) -> None:
    """A reply as long as a server takes, and one of odd characters, are carried like any."""
    member = join(shared.url, USER(b"u" * 128))
    for reply in ("r" * 3900, "a\x0b\x0c\x01\x7fb"):
        peer.do(peer.client.publish(USER(b"u" * 128).decode(), b"hi", reply=reply))
    assert member.until_received(2) == [b"hi", b"hi"]
    assert member.events == ["interest", "linked"]


# flush


def test_a_flush_means_that_the_server_knows(shared: NatsServer, join: Join, peer: NatsPy) -> None:
    """Whoever publishes after the flush reaches whom it was for, every time."""
    member = join(shared.url)
    for number in range(50):
        id = b"flush-%d" % number
        member.subscribe(USER(id))
        peer.do(peer.client.publish(USER(id).decode(), b"hi"))
        member.until_received(number + 1)


def test_many_flushes_share_a_ping(shared: NatsServer, join: Join, reactor: Reactor) -> None:
    """A thousand flushes of a turn are one question to the server, and all are answered, in
    order."""
    member = join(shared.url)
    results: list[int] = []
    for number in range(1000):
        assert member.link.flush(lambda _, number=number: results.append(number))  # type: ignore[misc]
    before = member.link.pending
    member.link.write()
    assert before == 0
    assert len(member.link._flushes) == 1000
    run_until(reactor, lambda: len(results) == 1000)
    assert results == list(range(1000))


# what is refused


def test_without_a_link_everything_is_refused(reactor: Reactor, join: Join) -> None:
    """Before there is a link, nothing is taken: publishing says so by an error, the others by
    False; and `interest` isn't asked."""
    member = join("nats://127.0.0.1:9", USER(b"1"), ready=False)
    with pytest.raises(NotLinked):
        member.link.publish([USER(b"1")], [b"hi"])
    assert not member.link.subscribe([USER(b"1")])
    assert not member.link.unsubscribe([USER(b"1")])
    assert not member.link.flush(lambda _: pytest.fail("called"))
    run_until(reactor, lambda: member.link.tally.failed >= 2)
    assert member.events == []
    assert member.link.pending == 0


def test_messages_that_are_too_large(tmp_path: Path, join: Join) -> None:
    """A message that the server wouldn't take is refused before it's sent, and nothing of its
    batch is; one of just that size is carried."""
    with NatsServer(tmp_path, "max_payload: 2000") as server:
        sender, receiver = join(server.url), join(server.url, USER(b"1"))
        assert sender.link.max_payload == 2000
        with pytest.raises(MessageTooLarge, match=r"2001 bytes .* 2000"):
            sender.link.publish([USER(b"1"), USER(b"1")], [b"small", b"x" * 2001])
        sender.link.publish([USER(b"1")], [b"x" * 2000])
        assert receiver.until_received(1) == [b"x" * 2000]
        assert sender.events == ["interest", "linked"]


def test_a_server_that_takes_nothing_fills_the_buffer(
    tmp_path: Path, join: Join, reactor: Reactor
) -> None:
    """While NATS doesn't read, publishing is taken up to the limit, then refused; what was
    taken arrives once it reads again, whole and in order."""
    with NatsServer(tmp_path) as server:
        receiver = join(server.url, USER(b"1"), silence=60.0)
        sender = join(server.url, silence=60.0, buffer=1024 * 1024)
        taken = 0
        with server.stopped(), pytest.raises(UplinkFull, match="bytes wait"):
            while taken < 1000:
                sender.link.publish([USER(b"1")], [b"%06d" % taken + b"x" * 65536])
                taken += 1
                sender.link.write()
        assert sender.link.full
        assert 1024 * 1024 <= sender.link.pending < 1024 * 1024 + 70_000
        received = receiver.until_received(taken)
        assert [int(payload[:6]) for payload in received] == list(range(taken))
        run_until(reactor, lambda: not sender.link.full)
        sender.link.publish([USER(b"1")], [b"more"])
        receiver.until_received(taken + 1)


def test_interest_beyond_all_bounds_ends_the_link(tmp_path: Path, join: Join) -> None:
    """SUBs aren't refused, but neither may they fill the memory: at four times the limit the
    link is made anew, and the interest of then is restored."""
    with NatsServer(tmp_path) as server:
        member = join(server.url, silence=60.0, buffer=1024 * 1024)
        subjects = [USER(b"%d" % number) for number in range(50_000)]
        with server.stopped():
            for _ in range(10):
                member.link.subscribe(subjects)
                member.link.unsubscribe(subjects)
                member.link.write()
                if member.link.state is NatsLink.AWAY:
                    break
        assert "doesn't keep up" in member.events[-1]
        member.subjects = {USER(b"1"): None}
        member.until_ready()
        assert member.events[-2:] == ["interest", "linked"]
        sender = join(server.url)
        sender.link.publish([USER(b"1")], [b"hi"])
        assert member.until_received(1) == [b"hi"]


# loss and restoration


def test_all_interest_is_restored_before_the_link_is_ready(tmp_path: Path, join: Join) -> None:
    """After the server was killed and started anew, it knows all subjects at the moment the
    link says that it is ready."""
    with NatsServer(tmp_path) as server:
        subjects = [USER(b"%d" % number) for number in range(3 * RESTORED_AT_ONCE + 1)]
        member = join(server.url, *subjects)
        known: list[int] = []
        member.linked = lambda: known.append(server.subscriptions())  # type: ignore[method-assign]
        own = server.subscriptions() - len(subjects)
        server.end()
        member.until_away()
        assert member.events[-1].startswith("lost: ")
        with pytest.raises(NotLinked):
            member.link.publish([USER(b"1")], [b"hi"])
        server.start()
        member.until_ready()
        assert known == [own + len(subjects)]


def test_logins_and_logouts_while_interest_is_restored(
    tmp_path: Path, join: Join, reactor: Reactor
) -> None:
    """Who logs out while all are being restored isn't subscribed to, who logs in is, and who
    does both is."""
    with NatsServer(tmp_path) as server:
        subjects = [USER(b"%d" % number) for number in range(4 * RESTORED_AT_ONCE)]
        leaver, comer, both = subjects[-1], USER(b"new"), subjects[-2]
        member = join(server.url, *subjects, ready=False)
        run_until(reactor, lambda: member.link.state is NatsLink.RESTORING)
        for subject in (leaver, both):
            del member.subjects[subject]
            assert member.link.unsubscribe([subject])
        for subject in (comer, both):
            member.subjects[subject] = None
            assert member.link.subscribe([subject])
        assert member.link.state is NatsLink.RESTORING
        member.until_ready()
        sender = join(server.url)
        sender.link.publish(
            [leaver, comer, both, subjects[0]], [b"leaver", b"comer", b"both", b"end"]
        )
        assert member.until_received(3) == [b"comer", b"both", b"end"]


def test_who_waits_for_a_flush_hears_of_the_loss(
    tmp_path: Path, join: Join, reactor: Reactor
) -> None:
    """A flush that can't be answered any more says so, whether it was asked or not yet."""
    with NatsServer(tmp_path) as server:
        member = join(server.url)
        results: list[bool] = []
        with server.stopped():
            member.link.flush(results.append)
            member.link.write()
            member.link.flush(results.append)
            member.link.write()
            server.end()
            run_until(reactor, lambda: len(results) == 2)
        assert results == [False, False]


def test_a_server_that_hangs_is_found_out(tmp_path: Path, join: Join) -> None:
    """SIGSTOP: nothing ends, but within the time of silence the link is lost, and publishing
    is refused; when the server goes on, the link is made again."""
    with NatsServer(tmp_path) as server:
        member = join(server.url, USER(b"1"), silence=0.9)
        with server.stopped():
            began = time.monotonic()
            member.until_away()
            took = time.monotonic() - began
            assert 0.5 < took < 3
            assert member.events[-1] == "lost: the server has been silent for 0.9 s"
            with pytest.raises(NotLinked):
                member.link.publish([USER(b"1")], [b"hi"])
        member.until_ready()
        assert member.events.count("linked") == 2


def test_silence_alone_is_not_death(shared: NatsServer, join: Join, reactor: Reactor) -> None:
    """With nothing to carry for several times the silence, the link stays: it asks."""
    member = join(shared.url, silence=0.5)
    ticks: list[None] = []
    reactor.every(0.1, lambda: ticks.append(None))
    run_until(reactor, lambda: len(ticks) == 15)
    assert member.events == ["interest", "linked"]


def test_a_pause_of_our_own_is_not_the_servers(
    shared: NatsServer, join: Join, reactor: Reactor
) -> None:
    """A process that was stopped itself for longer than the silence keeps its link."""
    member = join(shared.url, silence=0.5)
    time.sleep(0.8)  # it is what is tested: nothing turns
    ticks: list[None] = []
    reactor.every(0.1, lambda: ticks.append(None))
    run_until(reactor, lambda: len(ticks) == 6)
    assert member.events == ["interest", "linked"]


def test_who_falls_behind_is_cut_off_and_comes_back(
    tmp_path: Path, join: Join, reactor: Reactor
) -> None:
    """A node that doesn't read is dropped by the server at its limit. It learns of it, and
    joins again: what was lost was lost with a notice."""
    with NatsServer(tmp_path, "max_pending: 1MB\nmax_payload: 500KB") as server:
        behind = join(server.url, USER(b"1"), silence=60.0)
        other = Member(Reactor(), behind.link._options)
        other.until_ready()
        sent = 0
        while "Slow Consumer" not in server.said:  # only `other` turns
            assert sent < 1000
            other.link.publish([USER(b"1")], [b"x" * 400_000])
            assert other.flushed()
            sent += 1
        run_until(reactor, lambda: behind.link.tally.linked == 2)
        assert len(behind.messages) < sent
        assert behind.events[2].startswith("lost: ")
        assert behind.link.tally.lost == 1
        other.link.publish([USER(b"1")], [b"again"])
        assert other.flushed()
        run_until(reactor, lambda: behind.payloads()[-1] == b"again")
        other.link.close()


def test_closing(shared: NatsServer, join: Join, reactor: Reactor) -> None:
    """What was published before `close` leaves; then all is refused, and nobody is called."""
    sender, receiver = join(shared.url), join(shared.url, USER(b"1"))
    results: list[bool] = []
    sender.link.publish([USER(b"1")], [b"last"])
    sender.link.flush(results.append)
    sender.link.close()
    sender.link.close()
    assert results == [False]
    assert receiver.until_received(1) == [b"last"]
    assert sender.link.state is NatsLink.CLOSED
    assert not sender.link.subscribe([USER(b"1")])
    with pytest.raises(NotLinked):
        sender.link.publish([USER(b"1")], [b"hi"])
    ticks: list[None] = []
    reactor.every(0.1, lambda: ticks.append(None))
    run_until(reactor, lambda: len(ticks) == 3)
    assert sender.events == ["interest", "linked"]


def test_a_hundred_thousand_users(tmp_path: Path, join: Join) -> None:
    """Their interest is restored within seconds, at some hundred bytes each in the server."""
    users = 100_000
    with NatsServer(tmp_path) as server:
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        began = time.monotonic()
        member = join(
            server.url, *(USER(b"%d" % (10**9 + number)) for number in range(users)), silence=10.0
        )
        seconds = time.monotonic() - began
        bytes_each = (process.memory_info().rss - before) / users
        sys.stdout.write(f"{users} users in {seconds:.2f} s, {bytes_each:.0f} bytes each in NATS")
        assert server.subscriptions() >= users
        assert seconds < 5
        assert bytes_each < 3000
        assert member.flushed()
