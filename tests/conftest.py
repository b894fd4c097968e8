"""What tests of several rooms share. A running server is a `system.node.Node`."""

import fcntl
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from system.node import PATIENCE, Node

from bench.servers.postgres import Postgres, missing
from encke.reactor.loop import Reactor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TESTS = Path(__file__).parent


@pytest.fixture
def server() -> Iterator[Node]:
    """A server of this test alone, with default settings; fails if it leaves a process behind."""
    with Node() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests that leave it running."""
    if reason := missing():
        pytest.skip(reason)
    with Postgres() as server:
        yield server


RESOLVED = "MAP foreign.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""What names mean for the browser."""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A real browser, headless Chromium, which reaches nothing but this machine, also as
    `foreign.example`; what is expected of a page is waited for, but not forever."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[  # beside what Playwright itself gives to keep it from the network
                "--disable-quic",
                "--disable-sync",
                "--no-proxy-server",
                f"--host-resolver-rules={RESOLVED}",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """An empty page; every wait on it is bounded."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    yield page
    page.close()


@pytest.fixture(scope="module")
def lasting() -> Iterator[Node]:
    """A server with default settings for all tests of a file."""
    with Node() as server:
        yield server


@pytest.fixture
def shared(lasting: Node) -> Iterator[Node]:
    """That server for a test that leaves it as it was: fails if somebody is still connected."""
    yield lasting
    lasting.until(lambda it: (it.connections, it.users) == (0, 0), "all clients are gone")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Among the workers of ``pytest -n``, a test marked `alone` has the machine to itself.

    Each test holds the room, together with others or alone; who waits for it stands in the
    door, so that the next test can't get in before.
    """
    alone = item.get_closest_marker("alone") is not None
    door, room = os.open(TESTS / "conftest.py", os.O_RDONLY), os.open(TESTS, os.O_RDONLY)
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)
    finally:
        # unlocked, not only closed: a child that a test forked may have them still
        for held in (door, room):
            fcntl.flock(held, fcntl.LOCK_UN)
            os.close(held)


@pytest.fixture(autouse=True)
def reactors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes the reactors that a test has made, once all else of it is closed: thousands of tests
    share one process, and it has only so many descriptors."""
    made: list[Reactor] = []
    make = Reactor.__init__

    def remember(reactor: Reactor) -> None:
        make(reactor)
        made.append(reactor)

    monkeypatch.setattr(Reactor, "__init__", remember)
    yield
    for reactor in made:
        reactor.close()
