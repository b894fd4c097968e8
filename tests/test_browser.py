"""A real browser, headless Chromium, receives messages: through nginx, across origins, bare."""

from functools import partial
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect
from proxies import in_front
from sites import site
from system.node import Node

from bench.crowd import Crowd
from bench.servers.processes import free_ports

MESSAGE = "Grüße\nan <b>alle</b>"

PAGE = """<!doctype html><meta charset="utf-8"><ul></ul><script>
const source = new EventSource('URL');
source.onopen = () => document.body.className = 'open';
source.onerror = () => document.body.className = 'error';
const show = (text) => {
    const item = document.createElement('li');
    item.textContent = text;
    document.querySelector('ul').append(item);
};
source.onmessage = (event) => show(event.data);
source.addEventListener('friend', (event) => {
    const {from, data} = JSON.parse(event.data);
    show(`${from}: ${data}`);
});
</script>"""


@pytest.fixture
def server(shared: Node) -> Node:
    """One server for all tests here."""
    return shared


def url_of(server: Node) -> str:
    host, port = server.address
    return f"http://{host}:{port}"


def send(server: Node, message: str) -> None:
    """Send it to user 123, who must be connected once."""
    answer = httpx.post(f"{url_of(server)}/send/123", content=message)
    assert answer.json() == {"delivered": 1}


def test_an_event_source_behind_nginx(server: Node, page: Page) -> None:
    """A page's EventSource gets messages of the same origin, through nginx as documented:
    at once, and as they were sent, with line breaks, UTF-8 and markup.
    """
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/"
    html = PAGE.replace("URL", "/events/123")
    page.route(url, lambda route: route.fulfill(body=html, content_type="text/html"))
    with in_front("nginx", url_of(server).removeprefix("http://"), port):
        page.goto(url)
        expect(page.locator("body.open")).to_be_attached()
        for message in ("Hello World", MESSAGE):
            send(server, message)
        expect(page.locator("li")).to_have_count(2)
        assert page.locator("li").all_text_contents() == ["Hello World", MESSAGE]
        page.goto("about:blank")
        server.until(lambda state: state.streams == 0, "the page is gone")


def test_an_event_source_of_an_allowed_origin(page: Page, tmp_path: Path) -> None:
    """--allow-origin lets pages of another origin listen."""
    with site(tmp_path) as origin, Node("--allow-origin", origin) as server:
        (tmp_path / "index.html").write_text(PAGE.replace("URL", f"{url_of(server)}/events/123"))
        page.goto(origin)
        expect(page.locator("body.open")).to_be_attached()
        send(server, MESSAGE)
        expect(page.locator("li")).to_have_count(1)
        assert page.locator("li").text_content() == MESSAGE
        page.goto("about:blank")


def test_an_event_source_of_another_origin(server: Node, page: Page, tmp_path: Path) -> None:
    """Without it they can't: the browser refuses."""
    with site(tmp_path) as origin:
        (tmp_path / "index.html").write_text(PAGE.replace("URL", f"{url_of(server)}/events/123"))
        page.goto(origin)
        expect(page.locator("body.error")).to_be_attached()
        page.goto("about:blank")


def test_an_event_source_comes_back(page: Page, tmp_path: Path) -> None:
    """A page whose server stops connects again by itself, once there is one again."""
    with site(tmp_path) as origin:
        flags = ("--allow-origin", origin, "--retry", "0.1")
        with Node(*flags) as server:
            url = url_of(server)
            (tmp_path / "index.html").write_text(PAGE.replace("URL", f"{url}/events/123"))
            page.goto(origin)
            expect(page.locator("body.open")).to_be_attached()
        expect(page.locator("body.error")).to_be_attached()
        with Node(*flags, listen=url.removeprefix("http://")) as server:
            server.until(lambda state: state.streams == 1, "the page is back")
            send(server, MESSAGE)
            expect(page.locator("li")).to_have_count(1)
            page.goto("about:blank")


@pytest.mark.parametrize("why", ["full", "too many"])
def test_an_event_source_waits_for_room(page: Page, tmp_path: Path, why: str) -> None:
    """A page that finds the server full, or its user with too many streams, is told to come back,
    and does; also one of another origin, which must be allowed to read that."""
    limit = "--max-connections" if why == "full" else "--connections-per-user"
    with (
        site(tmp_path) as origin,
        Node("--gateways", "1", "--allow-origin", origin, limit, "2") as server,
    ):
        with Crowd(server.address) as crowd:
            crowd.open(["123", "123"])
            server.until(lambda state: state.streams == 2, "there is no room")
            (tmp_path / "index.html").write_text(
                PAGE.replace("URL", f"{url_of(server)}/events/123")
            )
            page.goto(origin)
            server.until(lambda state: state.streams_refused == 1, "it is told")
            expect(page.locator("body.error, body.open")).to_be_attached()
        server.until(lambda state: state.streams == 1, "it is back", 60)
        send(server, MESSAGE)
        expect(page.locator("li")).to_have_count(1)
        assert page.locator("li").text_content() == MESSAGE
        page.goto("about:blank")


def test_the_stream_of_the_article_in_a_browser(server: Node, page: Page) -> None:
    """/test/123 opened in a browser shows each message as it comes."""
    page.goto(f"{url_of(server)}/test/123", wait_until="commit")
    server.until(lambda state: state.streams == 1, "the page is open")
    for number, message in enumerate(("Hello World", "again"), 1):
        send(server, message)
        expect(page.locator("body")).to_contain_text(f"Recvd msg #{number}: '{message}'")
    page.close()
    server.until(lambda state: state.streams == 0, "the page is gone")


def test_friends_in_a_page(page: Page, tmp_path: Path) -> None:
    """What a friend publishes comes with their id; nothing comes from who isn't one."""
    (tmp_path / "page").mkdir()
    with (
        site(tmp_path / "page") as origin,
        Node("--allow-origin", origin, "--data", str(tmp_path / "data")) as server,
    ):
        friends = "http://{}:{}/users/123/subscriptions/456".format(*server.control)
        publish = partial(httpx.post, f"{url_of(server)}/publish/456")
        stream = f"{url_of(server)}/events/123"
        (tmp_path / "page/index.html").write_text(PAGE.replace("URL", stream))
        page.goto(origin)
        expect(page.locator("body.open")).to_be_attached()
        assert httpx.put(friends).status_code == 201
        assert publish(content=MESSAGE).json() == {"delivered": 1}
        assert httpx.delete(friends).status_code == 204
        assert publish(content="gone").json() == {"delivered": 0}
        send(server, "last")
        expect(page.locator("li")).to_have_count(2)
        assert page.locator("li").all_text_contents() == [f"456: {MESSAGE}", "last"]
        page.goto("about:blank")


FORGE = """async (control) => {
    const types = ['text/plain', 'application/x-ndjson', 'text/tab-separated-values', ''];
    const change = `${control}/users/123/subscriptions/456`, many = `${control}/subscriptions`;
    for (const mode of ['cors', 'no-cors']) {
        for (const method of ['PUT', 'DELETE', 'POST'])
            await fetch(change, {mode, method}).catch(() => {});
        for (const type of types) {
            const body = new Blob(['123\\t456\\n'], {type});
            await fetch(many, {mode, method: 'POST', body}).catch(() => {});
            navigator.sendBeacon(many, body);
        }
    }
}"""
"""All that a page's script may try."""


def test_a_foreign_page_makes_no_friends(page: Page, tmp_path: Path) -> None:
    """Nothing that a page of another origin sends to the control port changes anything."""
    with site(tmp_path) as origin, Node("--data", str(tmp_path / "data")) as server:
        (tmp_path / "index.html").write_text("<!doctype html>")
        control = "http://{}:{}".format(*server.control)
        page.goto(origin)
        page.evaluate(FORGE, control)
        page.goto("about:blank")
        assert httpx.get(f"{control}/users/123/subscriptions").json()["count"] == 0
