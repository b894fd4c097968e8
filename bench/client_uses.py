"""How programs share one `encke.connect()`: each way sends so often, and says what failed.

Threads, event loops, a fork, workers that are forked (as Celery's are), and the handlers of Django
and FastAPI, in their own processes (`client_sites`).
"""

import asyncio
import contextlib
import http.client
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import encke

from .client_sites import awaiting, plain
from .servers.processes import accepts, free_ports, until

THREADS = 32
WORKERS = 4

AT_ONCE = 8
"""Requests to a web application."""

EACH = 10
"""Sends of one request, or of a task of a worker."""

Use = Callable[[str, int], list[str]]
"""(the server's URL, how often) -> what failed."""


def _lines(told: Iterator[str]) -> list[str]:
    return [line for text in told for line in text.splitlines()]


def _threads(url: str, sends: int) -> list[str]:
    with encke.connect(url) as server, ThreadPoolExecutor(THREADS) as threads:
        share = [sends // THREADS + (n < sends % THREADS) for n in range(THREADS)]
        return _lines(threads.map(partial(plain, server), share))


def _tasks(url: str, sends: int) -> list[str]:
    with encke.connect(url) as server, ThreadPoolExecutor(THREADS) as threads:
        return _lines(threads.map(partial(plain, server), [1] * sends))


def _loops(url: str, sends: int) -> list[str]:
    def one(server: encke.Connection, count: int) -> str:
        return asyncio.run(awaiting(server, count))

    with encke.connect(url) as server, ThreadPoolExecutor(AT_ONCE) as threads:
        return _lines(threads.map(partial(one, server), [EACH] * (sends // EACH)))


_server: encke.Connection | None = None
"""Made before the workers are forked, as an application's module does it."""


def _task(count: int) -> str:
    assert _server is not None
    return plain(_server, count) or asyncio.run(awaiting(_server, count))


def _workers(url: str, sends: int) -> list[str]:
    global _server
    with encke.connect(url) as _server:
        _server.send("nobody", "x")  # so there is a connection to inherit
        context = multiprocessing.get_context("fork")
        with context.Pool(WORKERS) as pool:
            told = pool.map(_task, [EACH] * (sends // EACH // 2), chunksize=1)
            pool.close()  # so that they end by themselves: they have our handlers of signals
            pool.join()
        return _lines(iter([*told, plain(_server, 1)]))


@contextlib.contextmanager
def _site(kind: str, url: str) -> Iterator[int]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.client_sites", kind, str(port), url]
    with subprocess.Popen(command) as process:
        try:
            until(lambda: accepts(port) or process.poll() is not None, f"{kind} listens")
            yield port
        finally:
            process.terminate()


def _ask(port: int, path: str, count: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", f"/{path}?sends={count}")
        answer = connection.getresponse()
        text = answer.read().decode()
    return text if answer.status == 200 else f"{answer.status} {text[:200]!r}"


def _web(kind: str, path: str, url: str, sends: int) -> list[str]:
    with _site(kind, url) as port, ThreadPoolExecutor(AT_ONCE) as threads:
        return _lines(threads.map(partial(_ask, port, path), [EACH] * (sends // EACH)))


USES: dict[str, Use] = {
    f"{THREADS} threads": _threads,
    "thread pool, a task a send": _tasks,
    "event loops that come and go": _loops,
    "forked workers, as Celery's": _workers,
    "Django, WSGI, def": partial(_web, "django-wsgi", "plain"),
    "Django, WSGI, async def": partial(_web, "django-wsgi", "awaiting"),
    "Django, ASGI, def": partial(_web, "django-asgi", "plain"),
    "Django, ASGI, async def": partial(_web, "django-asgi", "awaiting"),
    "FastAPI, def": partial(_web, "fastapi", "plain"),
    "FastAPI, async def": partial(_web, "fastapi", "awaiting"),
}
