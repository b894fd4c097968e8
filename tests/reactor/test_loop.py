"""The event loop, with real descriptors, signals and clocks."""

import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from encke.reactor.loop import EXCLUSIVE, GONE, IN, MAX_EVENTS, OUT, Reactor

from .turning import run_until


class Pipes:
    """Pipes that are closed at the end of the test."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def __call__(self, data: bytes = b"") -> tuple[int, int]:
        """A pipe's ends for reading and writing, with `data` in it."""
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._open += ends
        os.write(ends[1], data)
        return ends

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipes]:
    pipes = Pipes()
    yield pipes
    pipes.close()


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


def test_a_callback_is_called_while_there_is_something_to_read(
    reactor: Reactor, pipe: Pipes
) -> None:
    """Level-triggered: who reads one byte a turn is called for every one."""
    fd, _ = pipe(b"abc")
    got: list[bytes] = []
    reactor.add(fd, IN, lambda _: got.append(os.read(fd, 1)))
    run_until(reactor, lambda: len(got) == 3)
    assert got == [b"a", b"b", b"c"]


def test_a_callback_gets_the_events(reactor: Reactor) -> None:
    """The callback is told what is ready, also an end that it didn't ask for."""
    ours, theirs = socket.socketpair()
    with ours:
        seen: list[int] = []
        reactor.add(ours.fileno(), IN | OUT, seen.append)
        run_until(reactor, lambda: bool(seen))
        assert seen == [OUT]
        theirs.close()
        run_until(reactor, lambda: len(seen) > 1)
        assert seen[-1] & IN
        assert seen[-1] & GONE


def test_change(reactor: Reactor) -> None:
    """What is waited for can be changed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen: list[int] = []
        reactor.add(ours.fileno(), IN, seen.append)
        reactor.change(ours.fileno(), OUT)
        run_until(reactor, lambda: bool(seen))
        assert seen == [OUT]


@pytest.mark.parametrize("count", [2, 5, MAX_EVENTS - 1])
def test_who_was_removed_is_not_called_in_the_same_turn(
    reactor: Reactor, pipe: Pipes, count: int
) -> None:
    """All are ready in one turn; the first to be called removes the others."""
    fds = [pipe(b"x")[0] for _ in range(count)]
    called: list[int] = []

    def serve(fd: int) -> None:
        called.append(fd)
        for other in fds:
            if other != fd:
                reactor.remove(other)
                os.close(other)
                os.dup2(fd, other)  # as if another descriptor had got the number

    for fd in fds:
        reactor.add(fd, IN, lambda _, fd=fd: serve(fd))  # type: ignore[misc]
    run_until(reactor, lambda: bool(called))
    assert len(called) == 1


def test_removing_twice_is_removing(reactor: Reactor, pipe: Pipes) -> None:
    """Removing what isn't there does nothing."""
    fd, _ = pipe(b"x")
    reactor.add(fd, IN, lambda _: pytest.fail("called"))
    reactor.remove(fd)
    reactor.remove(fd)
    reactor.remove(999)
    turns: list[None] = []
    reactor.every(0.0, lambda: turns.append(None))
    run_until(reactor, lambda: len(turns) > 2)


def test_a_callback_may_add(reactor: Reactor, pipe: Pipes) -> None:
    """A callback that adds a descriptor, its own number too, is heard of it."""
    first, _ = pipe(b"x")
    second, _ = pipe(b"y")
    got: list[bytes] = []

    def begin(_: int) -> None:
        got.append(os.read(first, 1))
        reactor.add(second, IN, lambda _: got.append(os.read(second, 1)))

    reactor.add(first, IN, begin)
    run_until(reactor, lambda: got == [b"x", b"y"])


def test_a_crowd_is_served(reactor: Reactor, pipe: Pipes) -> None:
    """More descriptors than one turn reports are all served, in the next turns."""
    got: set[int] = set()
    fds = [pipe(b"x")[0] for _ in range(3 * MAX_EVENTS)]

    def serve(fd: int) -> None:
        os.read(fd, 1)
        got.add(fd)

    for fd in fds:
        reactor.add(fd, IN, lambda _, fd=fd: serve(fd))  # type: ignore[misc]
    run_until(reactor, lambda: got == set(fds))


def test_hooks_run_after_the_callbacks(reactor: Reactor, pipe: Pipes) -> None:
    """At the end of a turn, after all its callbacks and ticks, the hooks run, in order."""
    order: list[str] = []
    for name in ("callback 1", "callback 2"):
        fd, _ = pipe(b"x")
        reactor.add(fd, IN, lambda _, name=name: order.append(name))  # type: ignore[misc]
    reactor.every(0.0, lambda: order.append("tick"))
    reactor.after_turn(lambda: order.append("hook 1"))
    reactor.after_turn(lambda: order.append("hook 2"))
    run_until(reactor, lambda: True)
    assert sorted(order[:2]) == ["callback 1", "callback 2"]
    assert order[2:] == ["tick", "hook 1", "hook 2"]


def test_ticks_come_about_when_due(reactor: Reactor) -> None:
    """A tick comes after its time and again, without anything else happening."""
    began = time.monotonic()
    at: list[float] = []
    reactor.every(0.02, lambda: at.append(time.monotonic() - began))
    run_until(reactor, lambda: len(at) == 4)
    assert all(when >= 0.02 * (k + 1) for k, when in enumerate(at))


def test_the_soonest_of_several_counts(reactor: Reactor) -> None:
    """Who needs another turn has it in time, whatever others ask for afterwards."""
    began = time.monotonic()
    turns = 0

    def ask() -> None:
        nonlocal turns
        turns += 1
        reactor.again(0.01)
        reactor.again(30)

    reactor.after_turn(ask)
    ask()
    run_until(reactor, lambda: turns == 5)
    assert time.monotonic() - began < 5


def test_a_late_tick_does_not_come_in_a_burst(reactor: Reactor, pipe: Pipes) -> None:
    """After a turn that took many periods, the ticks that were missed aren't made up for."""
    fd, _ = pipe(b"x")
    period = 0.01
    ticks: list[float] = []

    def dawdle(_: int) -> None:
        os.read(fd, 1)
        until = time.monotonic() + 20 * period
        while time.monotonic() < until:
            pass

    reactor.add(fd, IN, dawdle)
    reactor.every(period, lambda: ticks.append(time.monotonic()))
    run_until(reactor, lambda: len(ticks) == 12)
    soon = [tick for tick in ticks if tick < ticks[0] + 2 * period]
    assert len(soon) <= 4  # the late one, perhaps one at once, and those that are due


def test_a_busy_loop_ticks(reactor: Reactor, pipe: Pipes) -> None:
    """Ticks come also while some descriptor is ready in every turn."""
    fd, _ = pipe(b"x")
    ticks: list[None] = []
    reactor.add(fd, IN, lambda _: None)
    reactor.every(0.01, lambda: ticks.append(None))
    run_until(reactor, lambda: len(ticks) == 2)


def test_stop_ends_the_turn_properly(reactor: Reactor, pipe: Pipes) -> None:
    """After `stop` the turn goes on to its end: what has gathered is written."""
    done: list[str] = []

    def stop(_: int) -> None:
        done.append("callback")
        reactor.stop()

    for _ in range(2):
        reactor.add(pipe(b"x")[0], IN, stop)
    reactor.after_turn(lambda: done.append("hook"))
    reactor.run()
    assert done == ["callback", "callback", "hook"]


@pytest.fixture
def signals() -> Iterator[None]:
    """The handlers of before, and no wake-up descriptor, once the test is over."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("signals")
def test_a_signal_wakes_the_loop(reactor: Reactor) -> None:
    """A signal's callback runs at once although nothing else is ready, again and again."""
    got: list[float] = []
    reactor.on_signal(signal.SIGUSR1, lambda: got.append(time.monotonic()))
    for number in (1, 2, 3):
        began = time.monotonic()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        run_until(reactor, lambda number=number: len(got) == number)  # type: ignore[misc]
        assert got[-1] - began < 5


@pytest.mark.usefixtures("signals")
def test_a_signal_that_came_before_is_not_lost(reactor: Reactor) -> None:
    """A signal that came before the loop ran has had its callback, which may stop it."""
    reactor.on_signal(signal.SIGUSR1, reactor.stop)
    os.kill(os.getpid(), signal.SIGUSR1)
    reactor.run()


@pytest.mark.usefixtures("signals")
def test_a_flood_of_signals_blocks_nothing(reactor: Reactor) -> None:
    """More signals than the wake-up pipe holds do no harm, and are as good as one."""
    got: list[None] = []
    reactor.on_signal(signal.SIGUSR1, lambda: got.append(None))
    for _ in range(70_000):
        signal.raise_signal(signal.SIGUSR1)
    assert not got, "a callback ran in the middle of something"
    turns: list[None] = []
    reactor.every(0.0, lambda: turns.append(None))
    run_until(reactor, lambda: len(turns) > 3)
    assert len(got) == 1


def test_exclusive(reactor: Reactor) -> None:
    """A shared listener can be waited on by one of several loops only, and is served."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepted: list[socket.socket] = []
        reactor.add(
            listener.fileno(), IN | EXCLUSIVE, lambda _: accepted.append(listener.accept()[0])
        )
        Reactor().add(listener.fileno(), IN | EXCLUSIVE, lambda _: None)
        with socket.create_connection(listener.getsockname()):
            run_until(reactor, lambda: len(accepted) == 1)
        accepted[0].close()


def test_exclusive_cannot_be_changed(reactor: Reactor) -> None:
    """The kernel refuses to change such a registration: a pause removes it and adds it anew."""
    calls: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        reactor.add(fd, IN | EXCLUSIVE, calls.append)
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            reactor.change(fd, IN | EXCLUSIVE)
        with socket.create_connection(listener.getsockname()):
            reactor.remove(fd)
            turns: list[None] = []
            reactor.every(0.0, lambda: turns.append(None))
            run_until(reactor, lambda: len(turns) > 2)
            assert calls == []
            reactor.add(fd, IN | EXCLUSIVE, calls.append)
            run_until(reactor, lambda: calls != [])
        reactor.remove(fd)
