"""Behind each proxy that docs/deployment.md shows, pages outlive a server that is away: a browser
closes an EventSource for ever at any status but 200, so the proxies answer for it."""

import contextlib
import http.server
import os
import signal
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Page, Response, expect
from proxies import in_front
from system.node import Node
from test_browser import PAGE

from bench.servers.processes import free_ports

PROXIES = ["nginx", "haproxy", "caddy"]

LINES = [
    "retry: 3000",
    ": Encke is away",
]


@contextlib.contextmanager
def proxied(program: str, address: str) -> Iterator[str]:
    """The proxy, before `address`; its URL."""
    (port,) = free_ports(1)
    with in_front(program, address, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def address() -> str:
    """Where a server may listen that isn't there yet."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


def terminate(node: Node) -> None:
    """In order: its streams end with a last chunk."""
    node.stop()


def kill(node: Node) -> None:
    """At once: its streams are cut off."""
    for process in (*node.pids(), node.pid):
        os.kill(process, signal.SIGKILL)
    node.process.wait()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("end", [terminate, kill])
@pytest.mark.parametrize("program", PROXIES)
def test_hostile_a_page_outlives_a_restart(
    page: Page, address: str, program: str, end: Callable[[Node], None]
) -> None:
    """The server is away for some 10 s, in which the page asks again and again and is told to wait;
    then it comes back by itself, and gets the next message, and nothing else."""
    away: list[Response] = []

    def told(response: Response) -> None:
        if response.url.endswith("/events/123"):
            away.append(response)

    with proxied(program, address) as url, contextlib.ExitStack() as first:
        server = first.enter_context(Node(listen=address))
        html = PAGE.replace("URL", "/events/123")
        page.route(f"{url}/", lambda it: it.fulfill(body=html, content_type="text/html"))
        page.goto(f"{url}/")
        expect(page.locator("body.open")).to_be_attached()
        send(server, "before")
        expect(page.locator("li")).to_have_text(["before"])
        page.on("response", told)
        end(server)
        for _ in range(400):
            if len(away) == 4:  # the first one after 2 to 4 s, the others each after 3
                break
            page.wait_for_timeout(100)
        assert [it.status for it in away[:4]] == [200] * 4
        assert {it.headers["content-type"] for it in away} == {"text/event-stream"}
        with Node(listen=address) as server:
            server.until(lambda state: state.streams == 1, "the page is back")
            send(server, "after")
            expect(page.locator("li")).to_have_text(["before", "after"])
            page.goto("about:blank")


def send(server: Node, message: str) -> None:
    """Send it to user 123, who is connected once."""
    assert httpx.post(f"{server.url}/send/123", content=message).json() == {"delivered": 1}


@pytest.mark.parametrize("program", PROXIES)
def test_hostile_what_a_proxy_says_meanwhile(address: str, program: str) -> None:
    """To who accepts an event stream: 200, one, that ends at once and says when to come back. To
    others the truth. Nothing is kept by a cache, and nothing is a message."""
    with proxied(program, address) as url:
        for accept in ("text/event-stream", "text/event-stream, */*;q=0.1"):
            answer = httpx.get(f"{url}/events/123", headers={"Accept": accept}, timeout=30)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.text.splitlines() == LINES
            assert answer.text.endswith("\n")
            assert "\n\n" not in answer.text
        answer = httpx.get(f"{url}/events/123", timeout=30)  # Accept: */*
        assert answer.status_code in (502, 503)
        assert answer.headers.get("content-type") != "text/event-stream"
        for path in ("/send/123", "/publish/123", "/test/123"):
            answer = httpx.post(f"{url}{path}", headers={"Accept": "text/event-stream"}, timeout=30)
            assert answer.status_code in (404, 503), path


class Refusing(http.server.BaseHTTPRequestHandler):
    """Says what it's asked for: 503 to /events/503."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("program", PROXIES)
def test_hostile_what_the_server_says(program: str) -> None:
    """A server that is there and can't serve is away, too; its other refusals are passed on."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=[0.05]).start()
        try:
            with proxied(program, f"127.0.0.1:{server.server_port}") as url:
                for status in (502, 503, 504):
                    path = f"{url}/events/{status}"
                    answer = httpx.get(path, headers={"Accept": "text/event-stream"}, timeout=30)
                    assert (answer.status_code, answer.text.splitlines()) == (200, LINES)
                    assert answer.headers["content-type"] == "text/event-stream"
                    assert httpx.get(path, timeout=30).status_code in (status, 503)
                for status in (204, 400, 401, 403, 404, 429, 500):
                    answer = httpx.get(f"{url}/events/{status}", timeout=30)
                    assert answer.status_code == status
        finally:
            server.shutdown()


@pytest.mark.parametrize("program", PROXIES)
def test_hostile_what_is_refused_stays_refused(address: str, program: str) -> None:
    """A 4xx of the server's is passed on, also to who accepts an event stream: it won't change."""
    with Node(listen=address), proxied(program, address) as url:
        headers = {"Accept": "text/event-stream"}
        assert httpx.get(f"{url}/events/a%20b", headers=headers).status_code == 400
        page = {"Sec-Fetch-Site": "cross-site", **headers}
        assert httpx.get(f"{url}/events/123", headers=page).status_code == 403
