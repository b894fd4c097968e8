"""Questions to all nodes, against a model that knows who has to answer what."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from encke.cluster import members as members_module
from encke.cluster import questions as questions_module
from encke.cluster.members import SILENCE, Members
from encke.cluster.questions import Questions
from encke.wire.nodes import Heartbeat, Reply

TIMEOUT = 10.0
NODES = ["a" * 12, "b" * 12, "c" * 12]


class Asked:
    """A question, as the model has it."""

    def __init__(self, nodes: set[str], asked: float, until: float) -> None:
        self.owing = set(nodes)
        self.done: set[str] = set()
        self.processed = False
        self.count = 0
        self.asked = asked
        self.until = until


ANYBODY = st.sampled_from([*NODES, "d" * 12])
NUMBER = st.integers(0, 6)


class Machine(RuleBasedStateMachine):
    """A question is concluded once: with the sum of the answers, as soon as NATS has it and all
    have answered who were there and have neither left nor joined later; with None if one of them
    is lost, says that it doesn't know, or takes too long, or if NATS has complained."""

    def __init__(self) -> None:
        super().__init__()
        self.concluded: dict[int, int | None] = {}
        self.expected: dict[int, int | None] = {}
        self.model: dict[int, Asked] = {}
        self.here: set[str] = set()
        self.now = 0.0
        self.questions = Questions(TIMEOUT, self.conclude)

    def conclude(self, ticket: int, count: int | None) -> None:
        assert ticket not in self.concluded
        self.concluded[ticket] = count

    def end(self, number: int, count: int | None) -> None:
        self.expected[100 + number] = count
        del self.model[number]

    @rule(early=st.floats(0, 4))
    def ask(self, early: float) -> None:
        number, until = self.questions.next, self.now + early
        self.model[number] = Asked(self.here, self.now, until)
        self.questions.ask(100 + number, self.here, self.now, until)

    @rule(number=NUMBER, done=st.sampled_from([True, True, True, False]))
    def process(self, number: int, done: bool) -> None:
        self.questions.processed(number, done, self.now)
        if number in self.model:
            if done:
                self.model[number].processed = True
            else:
                self.end(number, None)

    @rule(number=NUMBER, node=ANYBODY, delivered=st.integers(0, 3))
    def answer(self, number: int, node: str, delivered: int) -> None:
        self.questions.answer(number, Reply(node, delivered), self.now)
        if number in self.model and node not in self.model[number].done:
            it = self.model[number]
            it.done.add(node)
            it.owing.discard(node)
            it.count += delivered

    @rule(number=NUMBER, node=ANYBODY)
    def refuse(self, number: int, node: str) -> None:
        self.questions.answer(number, Reply(node, 0, "why"), self.now)
        if number in self.model and node not in self.model[number].done:
            self.end(number, None)

    @rule(node=st.sampled_from(NODES), age=st.floats(0, 5))
    def join(self, node: str, age: float) -> None:
        if node not in self.here:
            self.here.add(node)
            self.questions.joined(node, self.now - age)
            for it in self.model.values():
                early = it.until > self.now and self.now - age < it.asked
                if (early or not it.processed) and node not in it.done:
                    it.owing.add(node)

    @rule(node=st.sampled_from(NODES))
    def leave(self, node: str) -> None:
        self.here.discard(node)
        self.questions.left(node, self.now)
        for it in self.model.values():
            it.owing.discard(node)

    @rule(node=st.sampled_from(NODES))
    def lose(self, node: str) -> None:
        self.here.discard(node)
        self.questions.lost(node)
        for number, it in list(self.model.items()):
            if node in it.owing:
                self.end(number, None)

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.questions.tick(self.now)
        self.complete()
        for number, it in list(self.model.items()):
            if self.now - it.asked >= TIMEOUT:
                self.end(number, None)

    @rule()
    def fail(self) -> None:
        self.questions.fail()
        for number in list(self.model):
            self.end(number, None)

    def complete(self) -> None:
        for number, it in list(self.model.items()):
            if it.processed and not it.owing and it.until <= self.now:
                self.end(number, it.count)

    @invariant()
    def look(self) -> None:
        self.complete()
        assert self.concluded == self.expected
        assert len(self.questions) == len(self.model)


TestQuestions = Machine.TestCase


def test_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """`full` says when no more can be asked."""
    monkeypatch.setattr(questions_module, "MAX_QUESTIONS", 2)
    questions = Questions(TIMEOUT, lambda ticket, count: None)
    for ticket in range(2):
        assert not questions.full
        questions.ask(ticket, NODES, 0, 0)
    assert questions.full
    questions.lost(NODES[0])
    assert not questions.full


# members


def heartbeat(node: str) -> Heartbeat:
    return Heartbeat(node=node, name=f"name of {node[0]}")


def test_who_speaks_is_there() -> None:
    """A node is there from its first word until it's silent for too long, or leaves."""
    members = Members()
    assert members.heard(heartbeat(NODES[0]), 0)
    assert members.heard(heartbeat(NODES[1]), 1)
    assert not members.heard(heartbeat(NODES[0]), 2)
    assert set(members.nodes) == set(NODES[:2])
    assert members.silent(1 + SILENCE) == []
    assert members.silent(1.1 + SILENCE) == [NODES[1]]
    members.left(NODES[0])
    members.left(NODES[2])
    assert len(members) == 0
    assert members.heard(heartbeat(NODES[1]), 9)


def test_who_could_not_listen_calls_nobody_lost() -> None:
    """After a pause of our own everyone has another SILENCE to speak."""
    members = Members()
    members.heard(heartbeat(NODES[0]), 0)
    members.forgive(100)
    assert members.silent(100 + SILENCE) == []
    assert members.silent(100.1 + SILENCE) == [NODES[0]]


def test_not_more_than_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number nobody is taken notice of; those who are there still are."""
    monkeypatch.setattr(members_module, "MAX_MEMBERS", 2)
    members = Members()
    assert [members.heard(heartbeat(node), 0) for node in NODES] == [True, True, False]
    members.heard(heartbeat(NODES[0]), 1)
    assert len(members) == 2
