"""What pages of other origins may do, in a real browser: headless Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from sites import site
from system.node import Node

ASK = """async ([url, method, type, body]) => {
    const headers = type ? {'Content-Type': type} : {};
    const answer = await fetch(url, {method, headers, body, credentials: 'include'});
    return [answer.status, await answer.json()];
}"""
"""A request that a browser asks leave for first (a preflight), and what the page reads of it."""

LISTEN = """(url) => new Promise((resolve) => {
    const source = new EventSource(url, {withCredentials: true});
    source.onmessage = (event) => { source.close(); resolve(event.data); };
    source.onerror = () => { source.close(); resolve('error'); };
})"""


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """A web site of another origin."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    with site(tmp_path) as origin:
        yield origin


def begin(page: Page, listen: str, server: Node) -> None:
    """Let it listen; what comes will be window.came."""
    page.evaluate(f"() => {{ window.came = ({listen})('{server.url}/events/1'); }}")


def test_an_allowed_page_sends_and_reads(page: Page, origin: str) -> None:
    """A page of an allowed origin may send what browsers ask leave for, with cookies, and reads
    what it's answered, mistakes too."""
    with Node("--allow-origin", f"https://other.example,{origin}") as server:
        page.goto(origin)
        json = "application/json"
        assert page.evaluate(ASK, [f"{server.url}/send/1", "POST", json, "{}"]) == [
            200, {"delivered": 0},
        ]  # fmt: skip
        status, said = page.evaluate(ASK, [f"{server.url}/send", "POST", json, "no line"])
        assert (status, said["status"], said["line"]) == (400, 400, 1)
        status, said = page.evaluate(ASK, [f"{server.url}/send/a%20b", "POST", json, "x"])
        assert (status, said["status"]) == (400, 400)
        page.goto("about:blank")


def test_an_allowed_page_listens_with_cookies(page: Page, origin: str) -> None:
    """EventSource withCredentials works, for that's what names the origin in the answer."""
    with Node("--allow-origin", origin) as server:
        page.goto(origin)
        begin(page, LISTEN, server)
        server.until(lambda now: now.streams == 1, "it listens")
        assert page.evaluate(ASK, [f"{server.url}/send/1", "POST", "", "hello"]) == [
            200, {"delivered": 1},
        ]  # fmt: skip
        assert page.evaluate("window.came") == "hello"
        page.goto("about:blank")


def test_with_all_origins_cookies_are_not_sent(page: Page, origin: str) -> None:
    """Where every page may listen, none may with a user's cookies: the browser sees to it."""
    with Node("--allow-origin", "*") as server:
        page.goto(origin)
        assert page.evaluate(f"({LISTEN})('{server.url}/events/1')") == "error"
        anonymous = LISTEN.replace("withCredentials: true", "withCredentials: false")
        begin(page, anonymous, server)
        server.until(lambda now: now.streams == 1, "it listens")
        page.goto("about:blank")
