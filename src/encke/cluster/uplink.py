"""A node's one link to NATS: connected, kept alive, made anew, and never silently lost.

::

    AWAY --a pause--> CONNECTING --PONG--> RESTORING --all interest is in place--> READY
      ^                    |                   |                                     |
      +--------------------+----- an error, an end, or silence ----------------------+

CONNECTING is the dialer's part. Then the owner is asked for its whole interest, which is sent
in slices, each once the server has processed the one before; after the last one the owner's probes
show that it may publish; then the link is READY, and the owner is told.

Invariants:
- Nothing is dropped in silence: what isn't taken is refused (`publish` raises, `subscribe`
  says False), and who asked with `flush` is told whether the server has processed it all.
- A turn's work is bounded: bytes read, subjects restored. So is what waits to be written:
  messages by `NatsOptions.buffer`; if what can't be refused goes beyond it, the link ends.
- Bytes leave in the order in which they were given, at the end of the turn.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, cast

from .. import log
from ..errors import FrameError
from ..reactor.loop import Reactor
from ..scoreboard import NatsLink
from ..wire import nats
from ..wire.nats import Decoder, Err, Info, NatsMessage, Operation, Ping, Pong
from .complaints import Complaints
from .connection import NatsConnection
from .dialer import Accepted, Dialer, Failed
from .errors import MessageTooLarge, NotLinked, UplinkError, UplinkFull
from .flushes import Flushes
from .options import NatsOptions
from .owner import UplinkOwner, UplinkTally
from .retries import Retries
from .servers import Pool, parse

if TYPE_CHECKING:
    from .tls import Context

TICK = 0.1
"""Seconds between looks at the clock."""

ASK_AFTER = 0.5
"""Seconds, at most, without a word from the server after which it's asked whether it lives."""

RESTORED_AT_ONCE = 5000
"""Subjects: some 2 ms of work here, 15 ms in the server."""

OVERFLOW = 4
"""How many times the buffer's limit may wait in all: with SUBs and UNSUBs, which aren't
refused since the owner couldn't do without. Beyond, the link is made anew, with all interest."""

ABOUT_MESSAGES = ("Permissions Violation for Publish", "Invalid Publish Subject")
"""How complaints of messages begin; whoever asks us for an answer at a subject that is not
allowed causes them. All others leave in doubt who is subscribed to."""

_denied = re.compile(r'Permissions Violation for Publish to "(.*)"').match


class Uplink:
    """One; `start` it. Create it after the owner's own `after_turn` hooks, or `write`."""

    def __init__(self, reactor: Reactor, options: NatsOptions, owner: UplinkOwner) -> None:
        """Raises BadSettings if a URL or a file is of no use."""
        servers = parse(options.servers, tls=options.tls)
        self._reactor = reactor
        self._options = options
        self._owner = owner
        self._pool = Pool(servers)
        self._tls_context: Context | None = None
        if any(server.tls for server in servers):
            from . import tls

            self._tls_context = tls.context(options)
        # the attempt, or the connection
        self.state = NatsLink.AWAY
        self.server = servers[0]
        """The one that we are at, or tried last."""
        self.max_payload = 0
        """Bytes of a message that the server takes."""
        self._dialer: Dialer | None = None
        self._connection: NatsConnection | None = None
        self._decoder = Decoder()
        self._interest: Iterator[bytes] = iter(())
        self._restored = 0
        self._gathered: list[bytes] = []  # leaves at the end of the turn
        self._gathered_size = 0
        self._flushes = Flushes()
        # the clock's
        now = self._ticked = time.monotonic()
        self._since = now  # of the state
        self._heard = now  # the server's last bytes
        self._held = False
        self._retries = Retries(options.retry_limit)
        # complaints
        self._complaint = ""
        self._last_words = ""  # what it complained of since the last PONG: maybe why it ends
        self._complaints = Complaints("nats-error")
        self.tally = UplinkTally()
        reactor.after_turn(self.write)
        reactor.every(TICK, self._tick)

    def start(self) -> None:
        """Make the first attempt."""
        self._attempt()

    def close(self) -> None:
        """Write what the kernel takes, and end the link for good; the owner isn't called, but
        for flushes."""
        self.write()
        if self.state is not NatsLink.CLOSED:
            self._reset(NatsLink.CLOSED)

    # what the owner does with a link

    @property
    def pending(self) -> int:
        """Bytes that wait for NATS to take them."""
        waiting = self._connection.pending if self._connection is not None else 0
        return waiting + self._gathered_size

    @property
    def unwritten(self) -> int:
        """Bytes that the kernel didn't take; a turn follows when it does."""
        return self._connection.pending if self._connection is not None else 0

    @property
    def written(self) -> int:
        """Bytes that the kernel has taken on this connection."""
        return self._connection.written if self._connection is not None else 0

    @property
    def held(self) -> bool:
        """Whether nothing is read from the server; see `hold`."""
        return self._held

    def hold(self, held: bool) -> None:
        """With True read nothing more, until False: what comes waits at the server, which in time
        slows down those who send it. It's for moments: a server ends who doesn't read."""
        if self._connection is not None and held != self._held:
            self._held = held
            self._connection.read(not held)

    def unheard(self, now: float) -> float:
        """Seconds since the server's last word; it's asked for one after ASK_AFTER."""
        return now - self._heard

    @property
    def full(self) -> bool:
        """Whether `publish` would raise UplinkFull."""
        return self.pending >= self._options.buffer

    def publish(
        self, subjects: Sequence[bytes], payloads: Sequence[bytes], reply: bytes = b""
    ) -> None:
        """Publish `payloads[k]` to `subjects[k]`, all or nothing; answers go to `reply`.

        Raises NotLinked unless the link is READY, UplinkFull if too much is waiting, and
        MessageTooLarge if the server wouldn't take one of them.
        """
        if self.state is not NatsLink.READY:
            raise NotLinked("There is no link to NATS.")
        if self.full:
            raise UplinkFull(f"{self.pending} bytes wait for NATS server {self.server}.")
        largest = max(map(len, payloads), default=0)
        if largest > self.max_payload:
            raise MessageTooLarge(
                f"A message of {largest} bytes is larger than the {self.max_payload} that NATS "
                "takes; max_payload in its configuration raises that."
            )
        self._gather(nats.publish(subjects, payloads, reply))

    def offer(self, subject: bytes, payload: bytes) -> None:
        """Publish one, if that's possible: who waits for it finds out by time if it isn't."""
        with contextlib.suppress(UplinkError):
            self.publish((subject,), (payload,))

    def subscribe(self, subjects: Iterable[bytes]) -> bool:
        """Subscribe to `subjects`; False if there's no connection, and `interest` will be asked
        on the next one. Subscribing twice is the same as once."""
        if self.state not in (NatsLink.RESTORING, NatsLink.READY):
            return False
        self._gather(nats.subscribe(subjects))
        return True

    def unsubscribe(self, subjects: Iterable[bytes]) -> bool:
        """Undo `subscribe`; False as there."""
        if self.state not in (NatsLink.RESTORING, NatsLink.READY):
            return False
        self._gather(nats.unsubscribe(subjects))
        return True

    def flush(self, done: Callable[[bool], None]) -> bool:
        """Call `done` once the server has processed all that was written before.

        Asked in the same turn as a subscription, it gets False if the server refused that,
        or one that others asked for meanwhile, or the link was lost before; else True.
        `flush` says False, and `done` isn't called, if there's no connection.
        """
        if self.state not in (NatsLink.RESTORING, NatsLink.READY):
            return False
        self._flushes.add(done)
        return True

    def write(self) -> None:
        """Hand what has gathered to the kernel. Called at the end of each turn."""
        connection = self._connection
        if connection is None:
            return
        if self._flushes.due():
            self._gather(nats.PING)
        if self._gathered:
            connection.write(b"".join(self._gathered))
            self._gathered.clear()
            self._gathered_size = 0
            connection.flush()
        if self.pending > OVERFLOW * self._options.buffer:
            self._drop(f"the server doesn't keep up: {self.pending} bytes wait for it")

    def _gather(self, data: bytes) -> None:
        self._gathered.append(data)
        self._gathered_size += len(data)

    # making a connection

    def _attempt(self) -> None:
        self._enter(NatsLink.CONNECTING)
        self.server = self._pool.next()
        self._dialer = Dialer(
            self._reactor, self._options, self._tls_context, self.server, self._dialed
        )

    def _dialed(self, outcome: Accepted | Failed) -> None:
        self._dialer = None
        if isinstance(outcome, Failed):
            self._drop(outcome.reason, refused=outcome.refused)
            return
        self._connection, self._decoder = outcome.connection, outcome.decoder
        self._connection.received, self._connection.closed = self._received, self._ended
        self._heard = time.monotonic()
        self._introduced(outcome.info)
        self._enter(NatsLink.RESTORING)
        self._restored = 0
        self._interest = iter(self._owner.interest())
        self._restore(processed=True)
        self._handle(outcome.events)

    def _restore(self, processed: bool) -> None:
        """Send the next slice of interest, the one before having been `processed`."""
        if self.state is not NatsLink.RESTORING:
            return  # lost meanwhile
        if not processed:
            self._refuse("the server refused a subscription")
            return
        subjects = list(islice(self._interest, RESTORED_AT_ONCE))
        if subjects:
            self._restored += len(subjects)
            self._gather(nats.subscribe(subjects))
            self.flush(self._restore)
            return
        self._gather(nats.publish(*self._owner.probes()))
        self.flush(self._tried)

    def _tried(self, processed: bool) -> None:
        """The server has processed the probes, and has taken them all, or not."""
        if self.state is not NatsLink.RESTORING:
            return  # lost meanwhile
        if not processed:
            self._refuse("the server refused what a node publishes")
            return
        log.info(
            "nats-ready",
            server=self.server,
            subscriptions=self._restored,
            seconds=f"{time.monotonic() - self._since:.3f}",
        )
        self._enter(NatsLink.READY)
        self.tally.linked += 1
        self._owner.linked()

    # what the server says

    def _received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        try:
            events = self._decoder.feed(data)
        except FrameError as error:
            self._drop(f"what came is not the NATS protocol: {error}")
            return
        self._handle(events)

    def _handle(self, events: Sequence[Operation]) -> None:
        if set(map(type, events)) == {NatsMessage}:
            self._owner.received(cast(list[NatsMessage], events))
            return
        connection = self._connection
        messages: list[NatsMessage] = []
        for event in events:
            if self._connection is not connection:
                return  # lost, or closed by the owner
            if isinstance(event, NatsMessage):
                messages.append(event)
                continue
            if messages:
                self._owner.received(messages)
                messages = []
            match event:
                case Pong():
                    self._pong()
                case Ping():
                    self._gather(nats.PONG)
                case Info():
                    self._introduced(event)
                case Err():
                    self._complain(event.text)
        if messages and self._connection is connection:
            self._owner.received(messages)

    def _introduced(self, info: Info) -> None:
        self.max_payload = info.max_payload
        self._pool.learn(info.connect_urls, self.server)
        if info.ldm:
            log.info("nats-lame-duck", server=self.server)

    def _pong(self) -> None:
        if not self._flushes.pinged:
            self._drop("a PONG came that answers nothing")
            return
        self._last_words = ""
        self._flushes.pong()

    def _complain(self, text: str) -> None:
        """-ERR: the server may end the connection after it, or not."""
        denied = _denied(text)
        ours = denied is not None and self._owner.owns(denied[1].encode())
        if ours or not text.startswith(ABOUT_MESSAGES):
            self._flushes.complained()
        self._complaint = self._last_words = text
        self.tally.complaints += 1
        self._complaints.add(server=self.server, error=text)
        if ours and self.state is NatsLink.READY:
            self._refuse("the server refused a message")

    # losing a connection

    def _refuse(self, what: str) -> None:
        """The server won't have something of ours."""
        self._complaints.forget()  # since it's in the reason
        self._drop(f"{what}: {self._complaint}", refused=True)

    def _ended(self, reason: str) -> None:
        if self._last_words:
            self._complaints.forget()  # since it's in the reason
            reason = f"{reason}: {self._last_words}"
        self._drop(reason)

    def _drop(self, reason: str, *, refused: bool = False) -> None:
        """End the attempt or the connection, and plan the next attempt.

        `refused` says that the server is there but won't have us: there's no hurry then.
        """
        was_ready = self.state is NatsLink.READY
        if was_ready:
            self.tally.lost += 1
        else:
            self.tally.failed += 1
        pause = self._retries.failed(
            ready_for=time.monotonic() - self._since if was_ready else 0.0,
            servers=len(self._pool),
            refused=refused,
        )
        say = log.error if refused else log.warning
        what = "nats-lost" if was_ready else "nats-unreachable"
        say(what, server=self.server, reason=reason, retry_in=f"{pause:.1f}")
        self._reset(NatsLink.AWAY)
        if was_ready:
            self._owner.lost(reason)

    def _reset(self, state: NatsLink) -> None:
        """Forget the attempt or the connection; those who wait for a flush hear of it."""
        if self._dialer is not None:
            self._dialer.cancel()
            self._dialer = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._complaints.tell()
        self._last_words = ""
        self._held = False
        self._interest = iter(())
        self._gathered.clear()
        self._gathered_size = 0
        waiting = self._flushes.reset()
        self._enter(state)
        for done in waiting:
            done(False)

    def _enter(self, state: NatsLink) -> None:
        self.state = state
        self._since = time.monotonic()

    # the clock

    def _tick(self) -> None:
        now = time.monotonic()
        silence = self._options.silence
        if now - self._ticked > silence / 2 + TICK:  # it's we who were stopped: ask anew
            self._heard = now
        if self._held:  # it's we who don't listen
            self._heard = now
        self._ticked = now
        match self.state:
            case NatsLink.AWAY if now >= self._retries.at:
                self._attempt()
            case NatsLink.CONNECTING if self._dialer is not None:
                self._dialer.tick()
            case NatsLink.RESTORING | NatsLink.READY:
                if now - self._heard > silence:
                    self._drop(f"the server has been silent for {silence:g} s")
                elif now - self._heard > min(silence / 3, ASK_AFTER) and not self._flushes.pinged:
                    self._gather(nats.PING)
                    self._flushes.pinged = True
        self._complaints.tick()
