"""A gateway to which anything happens, in any order.

Clients write requests whole or in pieces, read or don't, and go in all three ways; the router
answers when it likes; time passes. After each step, what the kernel was asked to report of every
row is what the table of life says (`Server.check`), and whoever is gone is gone here too. Nobody
is told anything wrong, and in the end everybody has been told everything.
"""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from wire.protocols.test_contract import READERS

from encke.gateway import gateway
from encke.gateway.exchange import MAX_PIPELINED
from encke.gateway.heavy import POLITE_WINDOW
from encke.gateway.life import STREAM
from encke.gateway.streams import UNASKED, UNASKED_PIECE
from encke.scoreboard import Field
from encke.wire.message import Messages

from .harness import Client, get, post, running

WHO = st.integers(0, 2)
SIZES = st.sampled_from([0, 0, 3_000, 70_000])
PROTOCOL = st.sampled_from(sorted(READERS))
SHARES = st.sampled_from([1.0, 1.0, 0.5, 0.01, 0.0])
"""How much of what a client has to say it says at once; 0: one byte."""
JUNK = UNASKED - 50 * UNASKED_PIECE
"""Bytes behind a request for a stream, in no more pieces than steps of the machine."""
LATE = 30
"""Ticks in which nobody takes too long yet."""
EVERYBODY_LATE = 130 * 4
"""Ticks after which everyone has who could."""


class Asked:
    """A request, and what may be answered."""

    def __init__(
        self,
        data: bytes,
        statuses: Iterable[int] = (200, 503),
        messages: Iterable[bytes] = (),
        *,
        last: bool = False,
        stream: bytes = b"",
    ) -> None:
        self.data, self.statuses, self.messages = data, {*statuses}, list(messages)
        self.last = last or bool(stream)
        """Whether nothing is answered behind it."""
        self.stream = stream
        """The protocol of the stream that it asks for."""
        self.end = 0
        """Where it ends, in all that its client says."""


class Talk:
    """What a client and the gateway say to each other."""

    def __init__(self, client: Client, handle: int) -> None:
        self.client, self.handle = client, handle
        self.unsaid, self.said = b"", 0
        self.asked: list[Asked] = []
        self.half_closed = False
        self.age = 0
        """Ticks in which it wasn't a stream."""
        self.read = 0
        """Answers that have been found right."""

    def ask(self, asked: Asked) -> None:
        if self.asked and self.asked[-1].stream:
            return  # what comes on a stream has tests of its own
        self.unsaid += asked.data
        asked.end = self.said + len(self.unsaid)
        if not (self.asked and self.asked[-1].last):
            self.asked.append(asked)

    def say(self, share: float) -> None:
        """Write such a share of what there is to say."""
        if self.unsaid and not self.half_closed:
            said = self.client.say(self.unsaid[: max(1, int(share * len(self.unsaid)))])
            self.said += said
            self.unsaid = self.unsaid[said:]

    def may_be_junk(self) -> bool:
        """Whether it has said so much behind its request for a stream that it may have been closed
        for that, also before earlier answers were known."""
        return any(asked.stream and self.said - asked.end > JUNK for asked in self.asked)

    def check(self, told: dict[bytes, int], got: list[bytes]) -> None:
        """Each answer is that of the request at its place, and says what is true."""
        answers = self.client.answers
        assert len(answers) <= len(self.asked)
        for asked, answer in zip(self.asked[self.read :], answers[self.read :], strict=False):
            if asked.stream and answer.status == 200:
                read = READERS[asked.stream]
                body = answer.body[: answer.body.rfind(b"\n") + 1]
                messages = [it.encode() for it in read(body)] if body else []
                assert messages == got[: len(messages)]
                return
            if not answer.whole:
                return
            late = {408, 503} if self.age >= LATE else set()
            assert answer.status in asked.statuses | late
            if answer.status == 200:
                delivered = sum(told[message] for message in asked.messages)
                assert json.loads(answer.body)["delivered"] == delivered
            self.read += 1

    def check_end(self, got: list[bytes], *, open: bool) -> None:
        """It has read everything, and nothing more comes. `open`: it's a stream."""
        if self.may_be_junk() and not open:
            return
        for place, asked in enumerate(self.asked):
            if self.age >= LATE or asked.end > self.said:
                return
            if asked.stream:
                if open:
                    body = self.client.answers[place].body
                    assert [it.encode() for it in READERS[asked.stream](body or b"\n")] == got
                return
            assert place < self.read, f"request {place + 1} has no answer"
            if asked.last:
                assert self.client.ended
            if self.client.answers[place].status == 503 and len(asked.messages) > 1:
                return  # the rest of its body wasn't waited for


class Machine(RuleBasedStateMachine):
    """Clients, a gateway, its router, and the time."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        for name, size in (("ROOM", 10_000), ("SLICE", 20_000)):  # a few messages are too large
            self.stack.enter_context(patch.object(gateway, name, size))
        self.server = self.stack.enter_context(running())
        self.router = self.server.router
        self.talks: dict[int, Talk] = {}
        self.number = 0

    @initialize(drains=st.booleans())
    def begin(self, drains: bool) -> None:
        self.drains = drains

    def message(self, size: int = 0) -> bytes:
        """A message like no other."""
        self.number += 1
        return b"%d:" % self.number + b"x" * size

    def ask(self, who: int, share: float, *asked: Asked) -> None:
        talk = self.talks.get(who)
        if talk is None:
            client = self.server.connect()
            handle = self.server.connections.columns.handle[client.fd]
            talk = self.talks[who] = Talk(client, handle)
        for each in asked:
            talk.ask(each)
        talk.say(share)
        self.check()

    def check(self) -> None:
        """After each step."""
        self.server.settle()
        self.server.check()
        if not self.router.full and self.router.under_way < POLITE_WINDOW:
            # else nobody looks at those who send much
            handles = {self.server.connections.columns.handle[fd] for fd in self.server.rows}
            assert handles <= {talk.handle for talk in self.talks.values()}
        for talk in self.talks.values():
            talk.check(self.router.told, self.router.got[talk.handle])

    # what clients say

    @rule(who=WHO, share=SHARES, how=st.sampled_from(["", "", "chunked", "close"]), size=SIZES)
    def send(self, who: int, share: float, how: str, size: int) -> None:
        message = self.message(size)
        data = post(b"/send/a", message, b"Connection: close\r\n" if how == "close" else b"")
        if how == "chunked":
            head = b"POST /send/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            data = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(message), message)
        self.ask(who, share, Asked(data, messages=[message], last=how == "close"))

    @rule(who=WHO, share=SHARES, sizes=st.lists(SIZES, min_size=2, max_size=4))
    def send_many(self, who: int, share: float, sizes: list[int]) -> None:
        messages = [self.message(size) for size in sizes]
        lines = [b'{"id": "a", "data": "%b"}\n' % it for it in messages]
        self.ask(who, share, Asked(post(b"/send", b"".join(lines)), messages=messages))

    @rule(who=WHO, share=SHARES)
    def send_very_many_at_once(self, who: int, share: float) -> None:
        messages = [self.message() for _ in range(MAX_PIPELINED + 1)]
        requests = [Asked(post(b"/send/a", it), messages=[it]) for it in messages]
        self.ask(who, share, *requests)

    @rule(who=WHO, share=SHARES, what=st.sampled_from(["nowhere", "nowhere, long", "nonsense"]))
    def err(self, who: int, share: float, what: str) -> None:
        data = b"nonsense\r\n\r\n"
        if what != "nonsense":
            data = post(b"/nowhere", b"x" * 10 if "long" in what else b"")
        self.ask(who, share, Asked(data, {400, 404, 501}, last=what != "nowhere"))

    @rule(who=WHO, share=SHARES, protocol=PROTOCOL, old=st.booleans())
    def listen(self, who: int, share: float, protocol: bytes, old: bool) -> None:
        data = get(b"/%b/a" % protocol, b"1.0" if old else b"1.1")
        self.ask(who, share, Asked(data, {200, 503}, stream=protocol))

    @rule(protocol=PROTOCOL)
    def all_listen(self, protocol: bytes) -> None:
        for who in range(3):
            self.listen(who, 1.0, protocol, old=False)
        self.say_yes()

    @rule(who=WHO, share=SHARES)
    def go_on(self, who: int, share: float) -> None:
        self.ask(who, share)

    # what else they do

    @rule(who=WHO, size=st.sampled_from([1, 1_000, 1 << 20]))
    def read(self, who: int, size: int) -> None:
        if who in self.talks:
            self.talks[who].client.take(size)
            self.check()

    @rule(who=WHO, cut=st.sampled_from([0, 3, 20]))
    def half_close(self, who: int, cut: int) -> None:
        """Maybe in the middle of a request's body, or of its head."""
        talk = self.talks.get(who)
        if talk is not None:
            if cut and not talk.unsaid:
                talk.client.say(post(b"/send/a", b"12345")[:-cut])
            talk.half_closed = True
            talk.client.end_writing()
            self.check()

    @rule(who=WHO)
    def go(self, who: int) -> None:
        """With a reset, if there is something that it hasn't read."""
        talk = self.talks.pop(who, None)
        if talk is not None:
            talk.client.close()
            self.check()

    # what the router and the clock do

    @rule()
    def say_yes(self) -> None:
        self.router.say_yes()
        self.check()

    @precondition(lambda self: self.router.asked)
    @rule()
    def say_no(self) -> None:
        self.router.say_no()
        self.check()

    @rule(count=st.sampled_from([1, 10, 1000]))
    def answer(self, count: int) -> None:
        for _ in range(min(count, len(self.router.sent))):
            self.router.answer()
        self.check()

    @precondition(lambda self: self.router.sent)
    @rule()
    def fail(self) -> None:
        self.router.fail()
        self.check()

    @rule(size=SIZES)
    def deliver(self, size: int) -> None:
        """A message that was sent elsewhere."""
        self.router.deliver(b"a", self.message(size))
        self.check()

    @rule()
    def deliver_late(self) -> None:
        """To those who have just gone."""
        gone = list(self.router.reached - self.router.here.keys())
        messages = Messages([b"a"] * len(gone), [b"late"] * len(gone))
        missed = dict.fromkeys(range(len(gone)), 1)
        assert self.server.gateway.deliver(messages, gone) == (0, missed, None)

    @rule()
    def be_full(self) -> None:
        self.router.full = True

    @precondition(lambda self: self.router.full)
    @rule()
    def resume(self) -> None:
        self.router.resume()
        self.check()

    @rule(count=st.sampled_from([1, 3, EVERYBODY_LATE]))
    def wait(self, count: int) -> None:
        for talk in self.talks.values():
            if self.server.state(talk.client) < STREAM:
                talk.age += count
        self.server.tick(count)
        self.check()

    def teardown(self) -> None:
        """In the end all is said, answered and read; then the clients go, or the gateway does."""
        with self.stack:
            for who, talk in self.talks.items():
                if not talk.half_closed:
                    self.send(who, 1.0, "", 0)
            before: object = None
            while before != (before := self.progress()):
                if self.router.full:
                    self.router.resume()
                self.router.say_yes()
                self.check()
                self.answer(1 << 20)
                for talk in self.talks.values():
                    talk.say(1.0)
                    talk.client.take_all()
                self.check()
            slow = 0
            for talk in self.talks.values():
                assert talk.client.ended or not talk.half_closed
                open = talk.handle in self.router.here
                if open or talk.handle not in self.router.reached:
                    talk.check_end(self.router.got[talk.handle], open=open)
                else:  # what waited for it is lost
                    slow += not (talk.half_closed or talk.may_be_junk())
            self.server.tick()
            assert slow <= self.server.row[Field.SLOW_CLIENTS]
            if self.drains:
                self.server.gateway.drain()
                self.check()

    def progress(self) -> object:
        """What changes as long as anything does, also of those who have gone."""
        return (
            len(self.router.sent),
            len(self.router.told),
            [
                (len(it.unsaid), len(it.client.answers), len(it.client.raw), it.client.ended)
                for it in self.talks.values()
            ],
        )


TestMachine = pytest.mark.timeout(600)(Machine.TestCase)
# it takes 5 s; but if it fails, Hypothesis looks for the shortest way there for minutes
TestMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
