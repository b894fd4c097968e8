"""The far end of the port: the router is a process of its own, over a link.

What is asked during a turn gathers here and leaves at its end as one frame of a kind.
When the link breaks, senders whose messages were under way are told that they
failed; the link is made anew at the next tick, and everyone is logged in again in
bulk. The router says READY once all gateways have done so, and only then are
messages taken again.

A router that says nothing for `ack_timeout` is hung: senders are told that it isn't known what
became of their messages, and others that there's no router, until it speaks again.

Invariants: frames leave in the order LOGIN, LOGOUT, SEND, so that who logs in and goes
within a turn ends up logged out; and a row that was freed and taken within one logged in,
since a LOGOUT ends its own generation only. SENDs leave in the order in which they were begun, and
nobody's message goes into one that leaves before another of theirs. `full` bounds what is under
way.
"""

from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType

import msgspec

from ..hub.limits import LARGE
from ..reactor.channel import Channel, connect
from ..reactor.loop import Reactor
from ..wire.link import (
    Ack,
    Deliver,
    Frame,
    Hello,
    LoggedIn,
    Login,
    LoginRefused,
    Logout,
    Ready,
    Result,
    Send,
    Synced,
)
from ..wire.message import NOTHING, OVERHEAD, SEND, Messages, Order, Verb
from .port import Holder, Sender, Target, targets, tell

CUT = 1024 * 1024
"""Bytes of messages after which a SEND leaves before the turn's end."""

READ_SIZE = 1536 * 1024
"""Bytes read of the router in a turn: some 30,000 short messages. The more a turn has, the more
of them share a write, as with senders' NDJSON (heavy.BYTES_A_TURN); but all else waits for it."""

LOGINS_A_FRAME = 10_000
"""Logins after a new link are cut into frames of so many."""


class _Batch(msgspec.Struct):
    """A SEND that gathers, or is under way: who sent how many of its messages."""

    order: Order
    senders: list[tuple[Sender, int]]
    messages: Messages
    size: int
    lanes: set[int] | None = None
    """Whose they are, if another SEND of this turn leaves before."""


class FarRouter:
    """A port.Router over a Unix socket."""

    users = 0
    counts: Mapping[int, int] = MappingProxyType({})

    def __init__(
        self, reactor: Reactor, path: str, gateway: int, window: int, patience: int
    ) -> None:
        """`patience`: ticks that the router may be silent."""
        self._reactor = reactor
        self._path = path
        self._gateway = gateway
        self._window = window
        self._patience = patience
        self._silent = 0  # ticks since the router has said anything
        self._ready = False  # it has said so
        self._channel: Channel | None = None
        self._next_batch = 0
        self._gathering: dict[Order, _Batch] = {}
        self._under_way: dict[int, _Batch] = {}
        self.under_way = 0
        self.full = False
        self._login_ids: list[bytes] = []
        self._login_handles = array("Q")
        self._logout_handles = array("Q")
        self.available = False
        self.holder: Holder

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
        data = messages.data
        size = sum(map(len, data)) + OVERHEAD * len(data)  # Messages.size, without a call
        gathering = self._gathering
        if gathering:
            if size >= LARGE:  # it may take several turns: nobody else waits for its answer
                self._send_gathered()
            elif len(gathering) > 1:
                self._keep_order(sender.lane, order)
        batch = gathering.get(order)
        if batch is None:
            lanes = {sender.lane} if gathering else None
            batch = gathering[order] = _Batch(order, [(sender, len(data))], messages, size, lanes)
        else:
            batch.senders.append((sender, len(data)))
            batch.messages.to += messages.to
            batch.messages.data += data
            batch.size += size
        self.under_way += size
        self.full = self.under_way >= self._window
        if size >= LARGE or batch.size >= CUT:
            self._send_gathered()

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
        if self._gathering:
            self._send_gathered()
        if channel.frames:
            channel.flush()

    def tick(self) -> None:
        if self._channel is None:
            self._connect()
            return
        self._silent += 1
        if self._silent > self._patience:
            self.available = False
            for batch in self._under_way.values():
                _fail(batch)
            if self.full:
                self._make_room()  # nobody waits for it: they're told

    def _keep_order(self, lane: int, order: Order) -> None:
        """A message of `lane` is about to join those of `order`, beside other SENDs: if one that
        leaves later has some of the same lane, all leave now."""
        later = False
        for batch in self._gathering.values():
            if later and batch.lanes is not None and lane in batch.lanes:
                self._send_gathered()
                return
            if batch.order == order:
                later = True
                if batch.lanes is not None:
                    batch.lanes.add(lane)

    def _send_gathered(self) -> None:
        """What gathered leaves, and is under way."""
        channel = self._channel
        assert channel is not None
        for order, batch in self._gathering.items():
            number = self._next_batch = (self._next_batch + 1) & 0xFFFFFFFF
            lanes = array("I")
            if order.verb is Verb.PUBLISH:
                for sender, messages in batch.senders:
                    lanes.extend([sender.lane] * messages)
            channel.send(Send(number, batch.messages, order, lanes))
            batch.messages = NOTHING  # the frame has them
            self._under_way[number] = batch
        self._gathering.clear()

    def _connect(self) -> None:
        connection = connect(self._path)
        if connection is None:
            return  # the supervisor is about to start a router, or to end
        channel = self._channel = Channel(
            self._reactor, connection, self._received, self._lost, READ_SIZE
        )
        channel.send(Hello(self._gateway))
        handles, ids = array("Q"), []
        for handle, id in self.holder.logins():
            handles.append(handle)
            ids.append(id)
            if len(ids) == LOGINS_A_FRAME:
                channel.send(Login(handles, ids))
                handles, ids = array("Q"), []
        if ids:
            channel.send(Login(handles, ids))
        channel.send(Synced())

    def _received(self, frames: list[Frame]) -> None:
        channel = self._channel
        assert channel is not None
        self._silent = 0
        self.available = self._ready
        for frame in frames:
            if isinstance(frame, Deliver):
                to: Sequence[Target] = frame.handles
                if len(to) != len(frame.counts):  # somebody has several connections here
                    to = targets(frame.counts, frame.handles)
                delivered, missed, late = self.holder.deliver(frame.messages, to)
                if late is None:
                    names = array("I", chain.from_iterable(missed.items()))
                    channel.send(Ack(frame.batch, names))  # leaves after the turn's writes
                else:
                    late.wait(delivered, missed, partial(self._written_late, channel, frame.batch))
            elif isinstance(frame, Result):
                batch = self._under_way.pop(frame.batch, None)
                if batch is not None:  # else it has failed: the link broke in between
                    self.under_way -= batch.size
                    _settle(batch, frame.counts, frame.statuses)
            elif isinstance(frame, LoggedIn):
                self.holder.logged_in(frame.handles)
            elif isinstance(frame, LoginRefused):
                self.holder.refused(frame.handles)
            elif isinstance(frame, Ready):
                self.available = self._ready = True
        if self.full and self.under_way < self._window:
            self._make_room()

    def _written_late(
        self, channel: Channel, batch: int, _delivered: int, missed: dict[int, int]
    ) -> None:
        """A large delivery is done with."""
        if channel is self._channel:  # else who wants to know is gone
            channel.send(Ack(batch, array("I", chain.from_iterable(missed.items()))))

    def _lost(self) -> None:
        """The router died: what was under way has failed, what was gathering too."""
        self._channel = None
        self.available = self._ready = False
        self._silent = 0
        batches = [*self._under_way.values(), *self._gathering.values()]
        self._under_way, self._gathering = {}, {}
        self.under_way = 0
        self._login_handles, self._login_ids = array("Q"), []
        self._logout_handles = array("Q")
        for batch in batches:
            _fail(batch)
        self._make_room()

    def _make_room(self) -> None:
        self.full = False
        self.holder.resume()


def _fail(batch: _Batch) -> None:
    """Tell those who sent them that it isn't known what became of their messages."""
    senders, batch.senders = batch.senders, []
    for sender, messages in senders:
        sender.failed(messages)


def _settle(batch: _Batch, counts: Sequence[int], statuses: bytes) -> None:
    """Tell those who sent them what became of their messages."""
    start = 0
    for sender, messages in batch.senders:
        end = start + messages
        if statuses:  # not all is OK, or it's a node in a cluster
            tell(sender, counts[start:end], statuses[start:end], 1)
        elif messages == 1:
            sender.settled(1, counts[start], 1)
        else:
            sender.settled(messages, sum(counts[start:end]), messages)
        start = end
