"""The checker: load from senders, streams that listen, and a verdict on every message.

Every message is unique and says whose it is: ``sender:number:user``. Senders write down
what they were told of each; the streams write down what came. The verdict compares:

- attempted: messages sent;
- acknowledged: deliveries that senders were told of, delivered: messages that came;
- lost: acknowledged, but never came. Excused if a stream of the user died after the
  message was sent: it may have got it, and nobody can ask it any more;
- doubled: came twice on a stream, or more often than the user has streams;
- reordered: came after a later message to the same user of the same sender, who has a new
  name on each connection;
- misled: came on somebody else's stream;
- denied: came more often on living streams than the sender was told;
- missing: of several nodes, see `cluster.checker`; elsewhere there's none.

Streams have a tag: what they are told apart by. A user has one stream at a time with each tag.

A request that broke off, or was answered with 503, promises nothing: its messages may
have come or not, but not twice and to nobody else. Seeded: the same seed sends the same.
"""

import contextlib
import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, Self

from .crowd import Crowd, Stream
from .raw import Answer, Raw, post
from .servers.encke import Address
from .servers.processes import until


class Request(NamedTuple):
    """What a sender was told of the messages of one request."""

    messages: list[tuple[str, bytes]]
    """User and message."""
    began: float
    delivered: int | None
    """None: it broke off, or the router wasn't available."""
    tag: int | None = None
    """Of the streams that `delivered` counts; None: of all."""
    forwarded: int | None = None
    """How many of the messages were handed on to where other tags are; None: it isn't told."""


class Verdict(NamedTuple):
    """See the module's head."""

    attempted: int
    acknowledged: int
    delivered: int
    lost: list[bytes]
    doubled: list[bytes]
    reordered: list[bytes]
    misled: list[bytes]
    denied: list[bytes]
    missing: list[bytes]

    @property
    def broken(self) -> dict[str, list[bytes]]:
        """Promises that were broken, and by which messages."""
        return {name: it for name in self._fields[3:] if (it := getattr(self, name))}

    @property
    def is_clean(self) -> bool:
        """Whether no promise was broken."""
        return not self.broken

    def __str__(self) -> str:
        counts = [*self[:3], *map(len, self[3:])]
        text = ", ".join(f"{it} {name}" for it, name in zip(counts, self._fields, strict=True))
        examples = {name: it[:3] for name, it in self.broken.items()}
        return f"{text}; e.g. {examples}" if examples else text


class Checker:
    """Streams and senders against one server; use it as a context, then ask for the verdict.

    Of each four senders one sends NDJSON bodies of `lines` messages, the others a message
    a request; with `bulk` all send NDJSON.
    """

    def __init__(
        self, address: Address, *, seed: int, senders: int = 4, lines: int = 20, bulk: bool = False
    ) -> None:
        self.crowd = Crowd(address)
        self.crowd.polled_elsewhere = True
        self.failures: list[str] = []
        self.unavailable = 0
        """Requests answered with 503."""
        self.broken = 0
        """Requests that broke off."""
        self.pause = 0.0
        """Seconds between a sender's requests."""
        self._address = address
        self._seed = seed
        self._lines = lines
        self._bulk = bulk
        self._requests: list[Request] = []
        self._users: list[str] = []
        self._done = threading.Event()
        self._no_more_sends = threading.Event()
        self._listener = threading.Thread(target=self._guarded, args=[self._listen])
        self._senders = [
            threading.Thread(target=self._guarded, args=[partial(self._send, name)])
            for name in range(senders)
        ]

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_sending()
        self._done.set()
        self._listener.join()
        self.crowd.__exit__()

    def open(self, users: Iterable[str], tag: int = 0) -> list[Stream]:
        """Open a stream for each of `users`, of whom senders pick from now on."""
        opened = self.crowd.open(users, tag)
        known = set(self._users)
        self._users += [it.user for it in opened if it.user not in known]
        return opened

    def start_sending(self) -> None:
        """Let the senders begin."""
        for sender in self._senders:
            sender.start()

    def stop_sending(self) -> None:
        """Let the senders finish the request they are at."""
        self._no_more_sends.set()
        for sender in self._senders:
            if sender.ident is not None:
                sender.join()

    @property
    def answered(self) -> int:
        """Requests that were answered so far, with a success."""
        return sum(it.delivered is not None for it in list(self._requests))

    def until_answered(self, more: int) -> None:
        """Wait until so many more requests were answered: the load flows."""
        target = self.answered + more
        until(lambda: self.answered >= target or bool(self.failures), "senders are answered")

    def verdict(self, *, deaths_excuse: bool = True) -> Verdict:
        """Compare, once everything that was promised has had the time to come.

        Without `deaths_excuse` what was acknowledged must have come, whatever happened.
        """
        self.stop_sending()
        with contextlib.suppress(AssertionError):
            until(
                lambda: self._is_settled(self._compare(deaths_excuse)), "all that must come came", 5
            )
        return self._compare(deaths_excuse)

    def _compare(self, deaths_excuse: bool) -> Verdict:
        return compare(list(self._requests), list(self.crowd.streams), deaths_excuse=deaths_excuse)

    def _is_settled(self, verdict: Verdict) -> bool:
        """Whether nothing is waited for any more."""
        return not verdict.lost

    # threads

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.failures.append(repr(error))
            raise

    def _listen(self) -> None:
        while not self._done.is_set():
            self.crowd.poll(0.05)

    def _send(self, name: int) -> None:
        dice = random.Random(f"{self._seed} {name}")
        numbers = itertools.count()
        connections = itertools.count()
        sender = b""  # by connection: on another one the order isn't promised
        connection: Raw | None = None
        while not self._no_more_sends.is_set():
            users = self._draw(name, dice)
            began = time.monotonic()
            answer: Answer | None = None
            messages: list[tuple[str, bytes]] = []
            try:
                if connection is None:
                    connection = self._dial(name)
                    sender = b"%d.%d" % (name, next(connections))
                messages = [
                    (it, b"%b:%d:%b" % (sender, next(numbers), it.encode())) for it in users
                ]
                connection.send(self._encode(name, messages))
                answer = connection.answer()
            except (OSError, AssertionError):  # it broke off
                self.broken += 1
                _close(connection)
                connection = None
            if messages:
                self._requests.append(self._judge(name, messages, began, answer))
            if answer is not None and answer.headers.get("connection") == "close":
                _close(connection)
                connection = None
            unavailable = answer is None or answer.status == 503
            self._no_more_sends.wait(0.01 if unavailable else self.pause)
        _close(connection)

    # what differs between kinds of senders

    def _dial(self, name: int) -> Raw:
        """A connection for this sender."""
        return Raw(self._address)

    def _draw(self, name: int, dice: random.Random) -> list[str]:
        """Who gets the messages of its next request."""
        single = not self._bulk and (name % 4 or dice.random() < 0.2)
        return dice.choices(self._users, k=1 if single else self._lines)

    def _encode(self, name: int, messages: list[tuple[str, bytes]]) -> bytes:
        """The request for these messages."""
        return encoded(messages)

    def _judge(
        self, name: int, messages: list[tuple[str, bytes]], began: float, answer: Answer | None
    ) -> Request:
        """What the sender was told."""
        return Request(messages, began, self._told(answer, len(messages)))

    def _told(self, answer: Answer | None, messages: int) -> int | None:
        """How many deliveries the answer promises; None if it promises nothing."""
        if answer is None:
            return None
        if answer.status == 503:
            self.unavailable += 1
            if answer.headers.get("retry-after") not in ("1", "5"):
                self.failures.append(f"no Retry-After: {answer}")
            return None
        told = answer.json()
        delivered = told.get("delivered")
        if answer.status != 200 or not isinstance(delivered, int):
            self.failures.append(f"unexpected: {answer}")
            return None
        if told.get("accepted", messages) != messages:
            self.failures.append(f"not all were accepted: {answer}")
        return delivered


def compare(
    requests: list[Request], streams: list[Stream], *, deaths_excuse: bool = True
) -> Verdict:
    """The verdict on what senders were told and what came on these streams."""
    came = Came(streams)
    lost: list[bytes] = []
    denied: list[bytes] = []
    for request in requests:
        arrived = excused = alive = elsewhere = 0
        for user, message in request.messages:
            there = came.streams.get(message, [])
            if len(there) > len({it.tag for it in came.by_user[user]}):
                came.doubled.append(message)
            counted = [it for it in there if request.tag in (None, it.tag)]
            arrived += len(counted)
            alive += sum(not it.ended_at for it in counted)
            elsewhere += len(counted) < len(there)
            if deaths_excuse:
                excused += sum(
                    it.ended_at >= request.began and it not in there
                    for it in came.by_user[user]
                    if request.tag in (None, it.tag)
                )
        if request.delivered is not None:
            if arrived + excused < request.delivered:
                lost.append(request.messages[0][1])
            if alive > request.delivered:
                denied.append(request.messages[0][1])
        if request.forwarded is not None and elsewhere > request.forwarded:
            denied.append(request.messages[0][1])
    return Verdict(
        attempted=sum(len(it.messages) for it in requests),
        acknowledged=sum(it.delivered or 0 for it in requests),
        delivered=sum(map(len, came.streams.values())),
        lost=lost,
        doubled=came.doubled,
        reordered=came.reordered,
        misled=came.misled,
        denied=denied,
        missing=[],
    )


class Came:
    """What came on these streams."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        self.by_user: dict[str, list[Stream]] = defaultdict(list)
        """Whose they are."""
        self.streams: dict[bytes, list[Stream]] = defaultdict(list)
        """By message: where it came."""
        self.doubled: list[bytes] = []
        self.reordered: list[bytes] = []
        self.misled: list[bytes] = []
        for stream in streams:
            self.by_user[stream.user].append(stream)
            self._take(stream)

    def _take(self, stream: Stream) -> None:
        last: dict[bytes, int] = defaultdict(lambda: -1)
        for message in list(stream.messages):
            sender, number, user = message.split(b":", 2)
            if user.decode() != stream.user:
                self.misled.append(message)
            if stream in self.streams[message]:
                self.doubled.append(message)
                continue
            if int(number) < last[sender]:
                self.reordered.append(message)
            last[sender] = max(last[sender], int(number))
            self.streams[message].append(stream)


def _close(connection: Raw | None) -> None:
    if connection is not None:
        connection.close()


def encoded(messages: list[tuple[str, bytes]], query: str = "") -> bytes:
    """The request for one message, or for many."""
    if len(messages) == 1:
        user, message = messages[0]
        return post(f"/send/{user}{query}", message)
    lines = (b'{"id": "%b", "data": "%b"}\n' % (user.encode(), it) for user, it in messages)
    return post(f"/send{query}", b"".join(lines))
