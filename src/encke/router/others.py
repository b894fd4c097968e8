"""The other nodes of a cluster, beside the ledger: what is handed on to them, what comes from them.

Every message of this node's gateways is handed on before it's delivered here; whoever waits has all
nodes asked. What other nodes send is delivered here and answered, if that's wanted.

Invariants:
- Messages wait, in their order, while the other nodes are congested; nothing else does.
- A *ticket* is the number of a question: ours to the others (`_asked`), or theirs to us, which is
  answered in `concluded`. It's no batch number.
- The other nodes are an origin of their own, with turns as each gateway has.

Pure.
"""

from array import array
from collections import deque
from typing import Protocol

from ..hub.delivery import Sent
from ..hub.hub import Hub
from ..wire.link import Send
from ..wire.message import Messages, Order, Status, Verb

OTHER_NODES = "other nodes"
"""The origin of what comes from them."""


class OtherNodes(Protocol):
    """The other nodes of the cluster."""

    def forward(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> bytes | None:
        """Hand `messages[k]` for `ids[k]` on to them. None: all were; else a Status each, OK or
        UNFORWARDED."""

    def ask(self, verb: Verb, id: bytes, message: bytes, ticket: int) -> bool:
        """Hand one on, and ask how many of their connections get it: `Ledger.answered` is
        called later, with the ticket. False: it couldn't be handed on."""

    @property
    def congested(self) -> bool:
        """Whether nothing should be handed on for a while."""

    def logged_in(self, gateway: int, handles: "array[int]") -> None:
        """These have logged in: `Ledger.reachable` is called once the others reach them."""


class RemoteSent(Sent, kw_only=True):
    """Messages of another node."""

    ticket: int
    """Of a node that waits for their number; 0: none does."""
    size: int
    """What they count for, in bytes."""


class Others:
    """See the module's head. The ledger calls it, and lets the hub's events out afterwards."""

    def __init__(self, hub: Hub, peers: OtherNodes) -> None:
        self.peers = peers
        self.remote_bytes = 0
        """Bytes of messages of other nodes that are under way."""
        self.concluded: list[tuple[int, int | None]] = []
        """(ticket, connections) of messages of other nodes that are done with; None: it can't be
        said whom they go to. Whoever gives tickets must empty it."""
        self._hub = hub
        self._held: deque[tuple[Sent, Send]] = deque()  # until they aren't congested
        self._asked: dict[int, tuple[Sent, int]] = {}  # ticket -> message of those sent together
        self._next_ticket = 0

    def gone(self, gateway: int) -> None:
        """A gateway died: nobody waits for what it sent any more."""
        if any(sent.origin == gateway for sent, _ in self._held):
            self._held = deque(it for it in self._held if it[0].origin != gateway)

    # what gateways send

    def send(self, sent: Sent, frame: Send) -> None:
        """Hand it on, and have it delivered here; now, or once they aren't congested."""
        if self._held or self.peers.congested:
            self._held.append((sent, frame))
        else:
            self._begin(sent, frame)

    @property
    def waits(self) -> bool:
        """Whether messages wait for the other nodes; then `forward_held` is due."""
        return bool(self._held)

    def forward_held(self) -> None:
        """Go on with what had to wait, if it needn't any longer."""
        while self._held and not self.peers.congested:
            self._begin(*self._held.popleft())

    def answered(self, ticket: int, count: int | None) -> None:
        """How many connections of other nodes got a message; None: not all have said it."""
        sent, index = self._asked.pop(ticket)
        if count is None:
            sent.statuses[index] = Status.UNANSWERED
        else:
            sent.counts[index] += count
        self._hub.closed(sent)

    def _begin(self, sent: Sent, frame: Send) -> None:
        messages, order = frame.messages, frame.order
        if order.wait:
            messages = self._ask(sent, messages, order.verb)
        else:
            sent.statuses += self.peers.forward(order.verb, messages.to, messages.data) or b""
        if order.verb is Verb.PUBLISH:
            self._hub.publish(sent, messages, [(sent.origin, lane) for lane in frame.lanes])
        else:
            self._hub.send(sent, messages)

    def _ask(self, sent: Sent, messages: Messages, verb: Verb) -> Messages:
        """Ask all of them for each; returns what is left to do here."""
        sent.statuses = bytearray(len(messages.data))
        ids = messages.to.copy()
        for index, (id, message) in enumerate(zip(messages.to, messages.data, strict=True)):
            ticket = self._next_ticket = self._next_ticket + 1
            self._asked[ticket] = sent, index
            sent.open += 1
            if not self.peers.ask(verb, id, message, ticket):
                del self._asked[ticket]
                sent.open -= 1
                sent.statuses[index] = Status.UNFORWARDED
                ids[index] = b""  # nobody's id: who asks for all nodes doesn't want some
        return Messages(ids, messages.data)

    # what other nodes send

    def received(self, order: Order, messages: Messages, ticket: int) -> None:
        """With a ticket, `concluded` will say how many got them."""
        counts, size = array("I", bytes(4 * len(messages))), messages.size
        sent = RemoteSent(OTHER_NODES, counts, ticket=ticket, size=size)
        self.remote_bytes += size
        if order.verb is Verb.PUBLISH:
            # senders on other nodes aren't known: order is a publisher's
            self._hub.publish(sent, messages, messages.to)
        else:
            self._hub.send(sent, messages)

    def conclude(self, sent: Sent) -> None:
        """Messages of other nodes are done with."""
        assert isinstance(sent, RemoteSent)
        self.remote_bytes -= sent.size
        if sent.ticket:
            count = None if any(sent.statuses) else sum(sent.counts)
            self.concluded.append((sent.ticket, count))
