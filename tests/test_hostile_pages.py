"""What pages of other origins may do, in a real browser: headless Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from sites import site
from system.node import Node
from system.raw import send, stream

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


FORGE = """async (url) => {
    const line = '{"id": "1", "data": "forged"}\\n';
    for (const [path, body] of [['/send/1', 'forged'], ['/publish/1', 'forged'], ['/send', line]]) {
        for (const mode of ['no-cors', 'cors'])
            await fetch(url + path, {mode, method: 'POST', body}).catch(() => {});
        navigator.sendBeacon(url + path, body);
    }
    const frame = document.createElement('iframe'), form = document.createElement('form');
    frame.name = 'frame';
    Object.assign(form, {target: 'frame', method: 'POST', enctype: 'text/plain'});
    form.action = url + '/send/1';
    document.body.append(frame, form);
    form.submit();
}"""
"""All that a page's script may try to send a message without asking leave first."""

SENT = 10
"""So many messages."""

OPEN = """async (url) => {
    for (const protocol of ['test', 'events', 'stream']) {
        fetch(`${url}/${protocol}/1`, {mode: 'no-cors'}).catch(() => {});
        for (const tag of ['img', 'script', 'iframe'])
            document.body.appendChild(document.createElement(tag)).src = `${url}/${protocol}/1`;
    }
}"""
"""And to open streams that it couldn't read; each would be somebody who is there."""

OPENED = 12


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server on loopback, without a key."""
    with Node("--data", str(tmp_path_factory.mktemp("data"))) as server:
        yield server


def foreign(origin: str) -> str:
    """The same web site under another name, which is no site of this machine for a browser."""
    return origin.replace("127.0.0.1", "foreign.example")


@pytest.mark.parametrize("where", ["another port", "another site"])
def test_a_foreign_page_sends_nothing(server: Node, page: Page, origin: str, where: str) -> None:
    """What a page of another origin makes a browser send doesn't arrive; a program's does."""
    page.goto(foreign(origin) if where == "another site" else origin)
    with stream(server.address, "1") as listener:
        page.evaluate(FORGE, server.url)
        server.until(lambda now: now.bad_requests == SENT, "all is refused")
        assert send(server.address, "1", "genuine") == 1
        assert listener.chunk() == b"Recvd msg #1: 'genuine'\n"
    page.goto("about:blank")


@pytest.mark.parametrize("where", ["another port", "another site"])
def test_a_foreign_page_opens_no_stream(server: Node, page: Page, origin: str, where: str) -> None:
    """Nor is anybody there whom a page of another origin has made listen."""
    page.goto(foreign(origin) if where == "another site" else origin)
    page.evaluate(OPEN, server.url)
    server.until(lambda now: now.bad_requests >= OPENED, "all is refused")
    assert send(server.address, "1", "anybody?") == 0
    page.goto("about:blank")


def test_an_allowed_page_sends_all_that(page: Page, origin: str, tmp_path: Path) -> None:
    """If its origin is allowed, everything arrives."""
    allowed = foreign(origin)
    flags = ("--allow-origin", allowed, "--data", str(tmp_path / "data"))
    with Node(*flags) as server, stream(server.address, "1") as listener:
        page.goto(allowed)
        page.evaluate(FORGE, server.url)
        for number in range(1, SENT + 1):
            assert listener.chunk().startswith(b"Recvd msg #%d: 'forged" % number) or number == SENT
        assert server.state().bad_requests == 0
        page.goto("about:blank")


def test_a_page_whose_name_was_bent_to_here(server: Node, page: Page) -> None:
    """A page whose name suddenly means this machine (DNS rebinding) is of the same origin, says the
    browser: neither port answers to that name."""
    for host, port in (server.address, server.control):
        here, bent = (f"http://{name}:{port}" for name in (host, "foreign.example"))
        answer = page.goto(f"{bent}/test/1")
        assert answer is not None
        assert answer.status == 403
        assert "--allow-host" in answer.json()["detail"]
        status = "async (url) => (await fetch(url, {method: 'POST', body: 'forged'})).status"
        assert page.evaluate(status, f"{bent}/send/1") == 403
        page.goto(f"{here}/test" if port == server.control[1] else f"{here}/")
        assert page.evaluate(status, f"{here}/send/1") == (
            200 if port == server.address[1] else 404
        )
    with Node("--allow-host", "foreign.example") as other:
        _, port = other.address
        answer = page.goto(f"http://foreign.example:{port}/")
        assert answer is not None
        assert answer.status == 404
    page.goto("about:blank")


def test_a_foreign_page_on_the_control_port(server: Node, page: Page, origin: str) -> None:
    """The control port is as deaf to it, for what changes nothing, too."""
    page.goto(foreign(origin))
    states: list[int] = []
    page.on("response", lambda answer: states.append(answer.status))
    fetch = "(url) => fetch(url, {mode: 'no-cors'}).then(() => {})"
    for path in ("/state", "/metrics", "/users/1/subscriptions", "/"):
        page.evaluate(fetch, server.control_url + path)
    assert states == [403] * 4
    page.goto("about:blank")
