"""Messages that all nodes are to answer: how many connections got each of them.

A question is answered in full once NATS has taken it, and every node has answered that was there
by then: each of them once, or it has left on purpose. If one of them is lost, or time is up,
nobody can say how many connections got it.

Who has just joined doesn't know yet who is there. What it asks meanwhile is not complete
before it must have heard of everyone (`until`), and waits for those who were there.

Invariants: at most MAX_QUESTIONS are open. Each is concluded once.
"""

from collections.abc import Callable, Collection

import msgspec

from ..wire.nodes import Reply

MAX_QUESTIONS = 65_536
"""Open ones: some 700 bytes each."""


class _Question(msgspec.Struct, gc=False):
    ticket: int
    asked: float
    until: float
    """Not complete before."""
    waits: set[str]
    """Nodes that are to answer."""
    answered: set[str]
    processed: bool = False
    """Whether NATS has it: whoever was there before has been heard of."""
    count: int = 0


class Questions:
    """Those that are open. Times are seconds of one clock that doesn't go back."""

    def __init__(self, timeout: float, conclude: Callable[[int, int | None], None]) -> None:
        """`conclude` gets a question's ticket, and how many connections got the message: None,
        if that can't be known."""
        self._timeout = timeout
        self._conclude = conclude
        self._open: dict[int, _Question] = {}  # by number, in the order of asking
        self._early: dict[int, _Question] = {}  # those that aren't complete before a time
        self._next = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether no more can be asked now."""
        return len(self._open) >= MAX_QUESTIONS

    @property
    def next(self) -> int:
        """The number that the next question will have."""
        return self._next + 1

    def ask(self, ticket: int, nodes: Collection[str], now: float, until: float) -> None:
        """One more is asked, of `nodes`; it isn't complete before `until`."""
        self._next += 1
        question = _Question(ticket, now, until, set(nodes), set())
        self._open[self._next] = question
        if until > now:
            self._early[self._next] = question
        self._look(self._next, question, now)

    def processed(self, number: int, done: bool, now: float) -> None:
        """NATS has processed question `number`; or not, or it has complained: nobody knows which
        nodes got it."""
        question = self._open.get(number)
        if question is None:
            return
        if not done:
            self._close(number, None)
            return
        question.processed = True
        self._look(number, question, now)

    def answer(self, number: int, answer: Reply, now: float) -> None:
        """A node answers question `number`."""
        question = self._open.get(number)
        if question is None or answer.node in question.answered:
            return
        if answer.error:
            self._close(number, None)
            return
        question.answered.add(answer.node)
        question.waits.discard(answer.node)
        question.count += answer.delivered
        self._look(number, question, now)

    def joined(self, node: str, since: float) -> None:
        """A node is heard of that has been there since then."""
        for number, question in self._open.items():
            early = number in self._early and since < question.asked
            if (early or not question.processed) and node not in question.answered:
                question.waits.add(node)

    def left(self, node: str, now: float) -> None:
        """A node has gone on purpose: it answered whatever it got."""
        for number, question in list(self._open.items()):
            if node in question.waits:
                question.waits.discard(node)
                self._look(number, question, now)

    def lost(self, node: str) -> None:
        """A node is gone: what it owes an answer to can't be known any more."""
        for number, question in list(self._open.items()):
            if node in question.waits:
                self._close(number, None)

    def tick(self, now: float) -> None:
        """See what has become complete by time, and what has taken too long."""
        for number, question in list(self._early.items()):
            if question.until <= now:
                del self._early[number]
                self._look(number, question, now)
        overdue = []
        for number, question in self._open.items():
            if now - question.asked < self._timeout:
                break
            overdue.append(number)
        for number in overdue:
            self._close(number, None)

    def fail(self) -> None:
        """No answer can come any more."""
        for number in list(self._open):
            self._close(number, None)

    def _look(self, number: int, question: _Question, now: float) -> None:
        if question.processed and not question.waits and question.until <= now:
            self._close(number, question.count)

    def _close(self, number: int, count: int | None) -> None:
        question = self._open.pop(number, None)
        self._early.pop(number, None)
        if question is not None:
            self._conclude(question.ticket, count)
