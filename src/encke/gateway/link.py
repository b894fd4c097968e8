"""The router in a process of its own, over a link.

What is asked during a turn gathers here and leaves at its end as one frame of a kind.
When the link breaks, senders whose messages were under way are told that they
failed; the link is made anew at the next tick, and everyone is logged in again in
bulk. The router says READY once all gateways have done so, and only then are
messages taken again.

Invariants: frames leave in the order LOGIN, LOGOUT, SEND, so that who logs in and goes
within a turn ends up logged out; and a row that was freed and taken within one logged in,
since a LOGOUT ends its own generation only. `full` bounds what is under way.

May import: port, reactor, wire.link.
"""

import socket
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, islice, pairwise
from types import MappingProxyType

import msgspec

from ..reactor.channel import Channel
from ..reactor.loop import Reactor
from ..wire.link import (
    Ack,
    Deliver,
    Frame,
    Hello,
    LoggedIn,
    Login,
    Logout,
    Ready,
    Result,
    Send,
    Synced,
)
from ..wire.message import SEND, Messages, Order, Status, Verb
from .port import Client, Sender, Target

CUT = 1024 * 1024
"""Bytes of messages after which a SEND leaves before the turn's end."""

READ_SIZE = 1536 * 1024
"""Bytes read of the router in a turn: some 30,000 short messages. The more a turn has, the more
of them share a write, as with senders' NDJSON (requests.BULK_SIZE); but all else waits for it."""

LOGINS_A_FRAME = 10_000
"""Logins after a new link are cut into frames of so many."""


class _Batch(msgspec.Struct):
    """A SEND that gathers, or is under way: who sent how many of its messages."""

    order: Order
    senders: list[tuple[Sender, int]]
    messages: Messages
    size: int = 0

    def lanes(self) -> "array[int]":
        """Each message's, if their order is a matter of lanes."""
        lanes = array("I")
        if self.order.verb is Verb.PUBLISH:
            for sender, messages in self.senders:
                lanes.extend([sender.lane] * messages)
        return lanes


class LinkedRouter:
    """A port.Router over a Unix socket."""

    users = 0
    counts: Mapping[int, int] = MappingProxyType({})

    def __init__(self, reactor: Reactor, path: str, gateway: int, window: int) -> None:
        self._reactor = reactor
        self._path = path
        self._gateway = gateway
        self._window = window
        self._channel: Channel | None = None
        self._next_batch = 0
        self._gathering: dict[Order, _Batch] = {}
        self._under_way: dict[int, _Batch] = {}
        self._bytes_under_way = 0
        self.full = False
        self._login_ids: list[bytes] = []
        self._login_handles = array("Q")
        self._logout_handles = array("Q")
        self.available = False
        self.client: Client

    def login(self, handle: int, id: bytes) -> None:
        if self._channel is not None:
            self._login_handles.append(handle)
            self._login_ids.append(id)

    def logout(self, handle: int) -> None:
        if self._channel is not None:
            self._logout_handles.append(handle)

    def send(self, sender: Sender, messages: Messages, order: Order = SEND) -> None:
        if not self.available:
            sender.failed(len(messages))
            return
        batch = self._gathering.get(order)
        if batch is None:
            batch = self._gathering[order] = _Batch(order, [], Messages([], []))
        size = messages.size
        batch.senders.append((sender, len(messages)))
        batch.messages.to += messages.to
        batch.messages.data += messages.data
        batch.size += size
        self._bytes_under_way += size
        self.full = self._bytes_under_way >= self._window
        if batch.size >= CUT:
            self._send_gathered(order)

    def flush(self) -> None:
        channel = self._channel
        if channel is None:
            return
        if self._login_handles:
            channel.send(Login(self._login_handles, self._login_ids))
            self._login_handles, self._login_ids = array("Q"), []
        if self._logout_handles:
            channel.send(Logout(self._logout_handles))
            self._logout_handles = array("Q")
        for order in tuple(self._gathering):
            self._send_gathered(order)
        channel.flush()

    def tick(self) -> None:
        if self._channel is None:
            self._connect()

    def _send_gathered(self, order: Order) -> None:
        assert self._channel is not None
        batch = self._gathering.pop(order)
        number = self._next_batch = (self._next_batch + 1) & 0xFFFFFFFF
        self._channel.send(
            Send(
                number,
                batch.messages.to,
                batch.messages.data,
                order.verb,
                order.wait,
                batch.lanes(),
            )
        )
        batch.messages = Messages([], [])
        self._under_way[number] = batch

    def _connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(self._path)
        except OSError:
            connection.close()  # the supervisor is about to start a router, or to end
            return
        channel = self._channel = Channel(
            self._reactor, connection, self._received, self._lost, READ_SIZE
        )
        channel.send(Hello(self._gateway))
        handles, ids = array("Q"), []
        for handle, id in self.client.logins():
            handles.append(handle)
            ids.append(id)
            if len(ids) == LOGINS_A_FRAME:
                channel.send(Login(handles, ids))
                handles, ids = array("Q"), []
        if ids:
            channel.send(Login(handles, ids))
        channel.send(Synced())

    def _received(self, frames: list[Frame]) -> None:
        for frame in frames:
            match frame:
                case Deliver():
                    self._deliver(frame)
                case Result():
                    self._settle(frame)
                case LoggedIn():
                    self.client.logged_in(frame.handles)
                case Ready():
                    self.available = True
                case _:
                    pass  # a frame that only gateways send
        if self.full and self._bytes_under_way < self._window:
            self._make_room()

    def _deliver(self, frame: Deliver) -> None:
        targets: Sequence[Target] = frame.handles
        if len(frame.handles) > len(frame.messages):  # someone has several connections here
            ends = accumulate(frame.counts, initial=0)
            targets = [frame.handles[start:end] for start, end in pairwise(ends)]
        _, missed = self.client.deliver(Messages([], frame.messages, frame.publishers), targets)
        assert self._channel is not None
        # leaves after the turn's writes
        self._channel.send(Ack(frame.batch, array("I", chain.from_iterable(missed.items()))))

    def _settle(self, frame: Result) -> None:
        batch = self._under_way.pop(frame.batch, None)
        if batch is None:
            return  # sent before the link broke: it has failed
        self._bytes_under_way -= batch.size
        if frame.statuses:
            self._settle_each(batch, frame)
            return
        start = 0
        for sender, messages in batch.senders:
            if messages == 1:
                delivered = frame.counts[start]
            else:
                delivered = sum(frame.counts[start : start + messages])
            start += messages
            sender.settled(messages, delivered, messages)

    def _settle_each(self, batch: _Batch, frame: Result) -> None:
        """Tell the senders of a batch in which not all is OK, or of a node in a cluster."""
        outcomes = zip(frame.counts, frame.statuses, strict=True)
        for sender, messages in batch.senders:
            settled = delivered = forwarded = 0
            failures: dict[Status, int] = {}
            for count, status in islice(outcomes, messages):
                if status == Status.OK or (status == Status.UNFORWARDED and count):
                    settled += 1
                    delivered += count
                    forwarded += status == Status.OK
                else:
                    failures[Status(status)] = failures.get(Status(status), 0) + 1
            if settled:
                sender.settled(settled, delivered, forwarded)
            for why, failed in failures.items():
                sender.failed(failed, why)

    def _lost(self) -> None:
        """The router died: what was under way has failed, what was gathering too."""
        self._channel = None
        self.available = False
        batches = [*self._under_way.values(), *self._gathering.values()]
        self._under_way, self._gathering = {}, {}
        self._bytes_under_way = 0
        self._login_handles, self._login_ids = array("Q"), []
        self._logout_handles = array("Q")
        for batch in batches:
            for sender, messages in batch.senders:
                sender.failed(messages)
        self._make_room()

    def _make_room(self) -> None:
        self.full = False
        self.client.resume()
