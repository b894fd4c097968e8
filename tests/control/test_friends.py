"""Managing friends over HTTP, in a real store."""

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import msgspec
import pytest
from system.node import memory

from bench.servers.postgres import Postgres
from bench.servers.processes import PATIENCE, until
from encke.control.store_thread import WAITING
from encke.errors import StoreError
from encke.friends import opening
from encke.friends.opening import open_store
from encke.friends.store import Page, Store
from encke.scoreboard import CONTROL, Field, State
from encke.settings import Settings
from encke.wire.subscriptions import LINE_LIMIT, REPORTED

from .alone import Alone
from .test_app import assert_problem
from .test_hostile import GROWTH

TSV = {"Content-Type": "text/tab-separated-values"}
NDJSON = {"Content-Type": "application/x-ndjson; charset=utf-8"}


def put(control: Alone, subscriber: str, publisher: str) -> httpx.Response:
    return control.client.put(f"/users/{subscriber}/subscriptions/{publisher}")


def delete(control: Alone, subscriber: str, publisher: str) -> httpx.Response:
    return control.client.delete(f"/users/{subscriber}/subscriptions/{publisher}")


def post(control: Alone, body: bytes | Iterator[bytes], headers: dict[str, str]) -> httpx.Response:
    return control.client.post("/subscriptions", content=body, headers=headers)


def ids(control: Alone, kind: str, id: str, limit: int = 1000) -> list[str]:
    """All pages put together; the first one's count is right."""
    url = f"/users/{id}/{kind}?limit={limit}"
    page = control.get(url).json()
    count, found = page["count"], list(page[kind])
    while "next" in page:
        assert len(page[kind]) == limit
        page = control.get(f"{url}&after={page['next']}").json()
        assert "count" not in page
        found += page[kind]
    assert len(found) == len(set(found)) == count
    return found


# ---- one subscription ------------------------------------------------------------------


def test_a_subscription_is_made_and_ended(control: Alone) -> None:
    """201 if it is new, 204 if it was there; 204 at its end, 404 if there was none."""
    assert [put(control, "123", "456").status_code for _ in range(3)] == [201, 204, 204]
    assert ids(control, "subscriptions", "123") == ["456"]
    assert ids(control, "subscribers", "456") == ["123"]
    assert ids(control, "subscribers", "123") == ids(control, "subscriptions", "456") == []
    assert delete(control, "123", "456").status_code == 204
    answer = delete(control, "123", "456")
    assert_problem(answer, 404)
    assert answer.json()["detail"] == "123 is not subscribed to 456."
    assert ids(control, "subscriptions", "123") == []


def test_it_is_kept(tmp_path: Path) -> None:
    """What was answered outlives the process, however it ends."""
    settings = Settings(data=str(tmp_path))
    with Alone(settings) as control:
        assert put(control, "1", "2").status_code == 201
        control.terminate()
        assert control.wait() == 0
    with Alone(settings) as control:
        assert put(control, "1", "3").status_code == 201
        control.kill()
    with Alone(settings) as control:
        assert sorted(ids(control, "subscriptions", "1")) == ["2", "3"]


@pytest.mark.parametrize("id", ["a@b", "x-y_z.~:", "x%2E", "%2e%2E%2e", "9" * 128])
def test_every_user_id_has_friends(control: Alone, id: str) -> None:
    """Each allowed id is itself, also one that begins like a place in a path."""
    assert put(control, id, "1").status_code == 201
    assert put(control, "1", id).status_code == 201
    name = id.replace("%2E", ".").replace("%2e", ".")
    assert ids(control, "subscribers", "1") == ids(control, "subscriptions", "1") == [name]
    assert ids(control, "subscribers", id) == ["1"]
    assert delete(control, id, "1").status_code == 204


@pytest.mark.parametrize("id", ["a%20b", "%C3%BC", "%00", "%2E", "%2e%2E", "x" * 129])
def test_a_wrong_id_is_400(control: Alone, id: str) -> None:
    """Wherever it stands, and the sentence says what an id is."""
    for answer in (
        put(control, id, "1"),
        put(control, "1", id),
        delete(control, "1", id),
        control.get(f"/users/{id}/subscriptions"),
        control.get(f"/users/{id}/subscribers"),
        control.get(f"/users/1/subscribers?after={id}"),
    ):
        assert_problem(answer, 400)
        assert "user id" in answer.json()["detail"]


# ---- pages -----------------------------------------------------------------------------


def test_pages(control: Alone) -> None:
    """All come, each once, however large a page is."""
    many = {str(number) for number in range(2500)}
    body = b"".join(b"%s\tstar\nfan\t%s\n" % (id.encode(), id.encode()) for id in many)
    assert post(control, body, TSV).json()["added"] == 5000
    for limit in (999, 1000):
        assert set(ids(control, "subscribers", "star", limit)) == many
        assert set(ids(control, "subscriptions", "fan", limit)) == many
    assert ids(control, "subscribers", "7", limit=1) == ["fan"]
    assert len(control.get("/users/star/subscribers").json()["subscribers"]) == 1000


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "1e2", "²", "99999999999"])
def test_a_wrong_limit_is_400(control: Alone, limit: str) -> None:
    """The sentence says which there are."""
    answer = control.get(f"/users/1/subscribers?limit={limit}")
    assert_problem(answer, 400)
    assert "1 to 1000" in answer.json()["detail"]


# ---- many ------------------------------------------------------------------------------


def test_both_forms(control: Alone) -> None:
    """Lines of JSON, and lines with tabs; accepted counts the lines, added what is new."""
    lines = b'{"subscriber": "1", "publisher": "2"}\r\n\n{"publisher": "3", "subscriber": "1"}'
    expected = {"accepted": 2, "added": 2, "bad": 0, "errors": []}
    assert post(control, lines, NDJSON).json() == expected
    expected = {"accepted": 3, "added": 1, "bad": 0, "errors": []}
    assert post(control, b"1\t2\n1\t4\n1\t4\n", TSV).json() == expected
    assert sorted(ids(control, "subscriptions", "1")) == ["2", "3", "4"]
    expected = {"accepted": 0, "added": 0, "bad": 0, "errors": []}
    assert post(control, b"", TSV).json() == expected


def test_bad_lines_are_named_and_the_good_ones_kept(control: Alone) -> None:
    """By number, with what is wrong; the first ones of very many."""
    answer = post(control, b"1\t2\n1\n1\t3\n1\t?\n", TSV)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["accepted"], said["added"], said["bad"]) == (2, 2, 2)
    assert [error["line"] for error in said["errors"]] == [2, 4]
    assert said["errors"][1]["detail"].startswith("Publisher: The user id has a character")
    assert sorted(ids(control, "subscriptions", "1")) == ["2", "3"]
    said = post(control, b"?\n" * 10_000 + b"5\t6\n" + b"x" * LINE_LIMIT * 50, TSV).json()
    assert (said["accepted"], said["bad"], len(said["errors"])) == (1, 10_001, REPORTED)


def test_a_long_body_in_any_pieces(control: Alone) -> None:
    """Hundreds of thousands of lines, cut anywhere, all arrive."""

    def body() -> Iterator[bytes]:
        rest = b""
        for number in range(200_000):
            rest += b"%d\t%d\n" % (number % 50_000, number)
            if number % 777 == 0:
                yield rest[:-3]
                rest = rest[-3:]
        yield rest

    expected = {"accepted": 200_000, "added": 200_000, "bad": 0, "errors": []}
    assert post(control, body(), TSV).json() == expected
    assert sorted(ids(control, "subscriptions", "49999")) == ["149999", "199999", "49999", "99999"]


def test_a_body_that_breaks_off(control: Alone) -> None:
    """The process goes on, and nothing of it is harmful."""

    def body() -> Iterator[bytes]:
        yield b"1\t2\n" * 100_000
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        post(control, body(), TSV)
    assert put(control, "1", "3").status_code == 201
    assert "3" in ids(control, "subscriptions", "1")


# ---- who may -----------------------------------------------------------------------------

SAFELISTED = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain")
"""What a browser lets any page send anywhere, without asking (Fetch, CORS-safelisted)."""


@pytest.mark.parametrize("kind", [*SAFELISTED, "", "application/json", "text/tab-separated"])
def test_a_foreign_page_cannot_post(control: Alone, kind: str) -> None:
    """Other types of bodies than the two are refused, before anything is kept."""
    answer = post(control, b"1\t2\n", {"Content-Type": kind} if kind else {})
    assert_problem(answer, 415)
    assert "text/tab-separated-values" in answer.headers["accept"]
    assert ids(control, "subscriptions", "1") == []


@pytest.mark.parametrize("path", ["/users/1/subscriptions/2", "/subscriptions"])
def test_a_browser_that_asks_gets_no_leave(control: Alone, path: str) -> None:
    """The question before a PUT, DELETE or unusual POST of a page isn't answered yes, and a foreign
    page's not at all."""
    for origin, status in (
        ("https://evil.example", 403),
        (f"http://127.0.0.1:{control.port}", 405),
    ):
        headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        answer = control.client.options(path, headers=headers)
        assert answer.status_code == status
        assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", ""]
)
def test_a_page_under_a_name_that_was_bent_to_here(control: Alone, host: str) -> None:
    """Whose host name suddenly means this machine (DNS rebinding) sees and changes nothing."""
    control.client.headers["Host"] = host
    for answer in (
        put(control, "1", "2"),
        delete(control, "1", "2"),
        post(control, b"1\t2\n", TSV),
        control.get("/users/1/subscriptions"),
        control.get("/users/1/subscribers"),
    ):
        assert_problem(answer, 403)
    for name in ("localhost", "LOCALHOST:1", "[::1]:8001", "127.1.2.3:8001"):
        control.client.headers["Host"] = name
        assert put(control, "1", "2").status_code in (201, 204)


@pytest.mark.parametrize("settings", [Settings(api_key="secret"), Settings(insecure=True)])
def test_any_name_will_do(tmp_path: Path, settings: Settings) -> None:
    """With a key, or where something else protects the port, it may have any name."""
    with Alone(msgspec.structs.replace(settings, data=str(tmp_path))) as control:
        control.client.headers.update({"Host": "encke.intern", "Authorization": "Bearer secret"})
        assert put(control, "1", "2").status_code == 201


def test_the_key_is_asked_for(tmp_path: Path) -> None:
    """With an API key nobody sees or changes friends without it."""
    with Alone(Settings(api_key="secret", data=str(tmp_path))) as control:
        for answer in (
            put(control, "1", "2"),
            delete(control, "1", "2"),
            post(control, b"1\t2\n", TSV),
            control.get("/users/1/subscriptions"),
            control.get("/users/1/subscribers"),
        ):
            assert_problem(answer, 401)
        control.client.headers["Authorization"] = "Bearer secret"
        assert put(control, "1", "2").status_code == 201


def test_wrong_methods(control: Alone) -> None:
    """405, and Allow says which there are."""
    for method, path, allowed in (
        ("GET", "/users/1/subscriptions/2", {"PUT", "DELETE"}),
        ("POST", "/users/1/subscriptions", {"GET", "HEAD"}),
        ("GET", "/subscriptions", {"POST"}),
    ):
        answer = control.client.request(method, path)
        assert_problem(answer, 405)
        assert set(answer.headers["allow"].split(", ")) == allowed


# ---- PostgreSQL ------------------------------------------------------------------------


def test_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    """All of it with PostgreSQL too, through its absence; no file is made."""
    postgres.empty()
    with Alone(Settings(friends=postgres.url, data=str(tmp_path / "data"))) as control:
        assert put(control, "1", "2").status_code == 201
        assert post(control, b"1\t3\n1\t2\n1\t1\n", TSV).json()["added"] == 2
        assert ids(control, "subscriptions", "1", limit=2) == ["1", "2", "3"]
        assert delete(control, "1", "3").status_code == 204
        postgres.end()
        try:
            answer = put(control, "1", "4")
            assert_problem(answer, 503)
            assert "secret" not in answer.json()["detail"]
            assert control.get("/health").status_code == 200
        finally:
            postgres.start()
        until(lambda: put(control, "1", "4").status_code == 201, "it is back")
        assert ids(control, "subscriptions", "1") == ["1", "2", "4"]
    assert not (tmp_path / "data").exists()


def test_postgresql_that_is_not_there(tmp_path: Path) -> None:
    """503 with what to do, as long as it isn't there from the beginning."""
    with Alone(Settings(friends="postgresql://encke:secret@127.0.0.1:9/encke")) as control:
        for _ in range(2):
            answer = put(control, "1", "2")
            assert_problem(answer, 503)
            assert "PostgreSQL" in answer.json()["detail"]
            assert "secret" not in answer.json()["detail"]


# ---- without a store -------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [Settings(friends="off"), Settings(nats="nats://127.0.0.1:4222")]
)
def test_friends_are_off(tmp_path: Path, settings: Settings) -> None:
    """All is 409, and the sentence says how to have them; no file is made."""
    with Alone(msgspec.structs.replace(settings, data=str(tmp_path / "data"))) as control:
        for answer in (
            put(control, "1", "2"),
            delete(control, "1", "2"),
            post(control, b"1\t2\n", TSV),
            control.get("/users/1/subscriptions"),
            control.get("/users/1/subscribers"),
        ):
            assert_problem(answer, 409)
            assert "--friends" in answer.json()["detail"]
    assert not (tmp_path / "data").exists()


def test_nothing_is_opened_before_it_is_needed(control: Alone, tmp_path: Path) -> None:
    """A node without friends has no thread, no file, and no SQLite in its control process."""
    for path in ("/health", "/state", "/metrics", "/docs"):
        control.get(path)
    assert len(os.listdir(f"/proc/{control.pid}/task")) == 1
    assert not any(tmp_path.iterdir())
    put(control, "1", "2")
    assert len(os.listdir(f"/proc/{control.pid}/task")) == 2
    assert any(tmp_path.iterdir())


class Faulty:
    """A store that fails while `gone` exists, and `waits` in `add` while `slow` exists."""

    def __init__(self, store: Store, directory: Path) -> None:
        self._store = store
        self._gone, self._slow = directory / "gone", directory / "slow"
        self._waits = directory / "waits"

    def _check(self) -> None:
        if self._gone.exists():
            raise StoreError("The store is away; bring it back.")

    def add(self, pairs: Sequence[tuple[bytes, bytes]]) -> int:
        self._check()
        while self._slow.exists():
            self._waits.touch()
            time.sleep(0.001)
        return self._store.add(pairs)

    def subscriptions(self, id: bytes, after: bytes | None = None, limit: int = 1000) -> Page:
        self._check()
        return self._store.subscriptions(id, after, limit)

    def count_subscriptions(self, id: bytes) -> int:
        self._check()
        return self._store.count_subscriptions(id)

    def close(self) -> None:
        self._store.close()


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alone]:
    """A control process with such a store, whose files are in `tmp_path`."""
    data = tmp_path / "data"
    monkeypatch.setattr(
        opening, "open_store", lambda friends, data: Faulty(open_store(friends, data), tmp_path)
    )
    with Alone(Settings(data=str(data))) as control:
        yield control


def test_a_store_that_is_away(faulty: Alone, tmp_path: Path) -> None:
    """503 with its sentence while it's away, and all is well once it's back."""
    assert put(faulty, "1", "2").status_code == 201
    (tmp_path / "gone").touch()
    for answer in (
        put(faulty, "1", "3"),
        post(faulty, b"1\t2\n", TSV),
        faulty.get("/users/1/subscriptions"),
    ):
        assert_problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        assert "The store is away; bring it back." in answer.json()["detail"]
    assert faulty.get("/health").status_code == 200
    (tmp_path / "gone").unlink()
    assert ids(faulty, "subscriptions", "1") == ["2"]


def test_a_store_that_goes_away_in_a_bulk(faulty: Alone, tmp_path: Path) -> None:
    """The answer says how many lines are kept: no less, and no more."""

    def body() -> Iterator[bytes]:
        for number in range(0, 200_000, 1000):
            if number == 100_000:
                until(
                    lambda: faulty.get("/users/1/subscriptions").json()["count"] > 0,
                    "some are there",
                )
                (tmp_path / "gone").touch()
            yield b"".join(b"1\t%d\n" % each for each in range(number, number + 1000))

    answer = post(faulty, body(), TSV)
    assert_problem(answer, 503)
    (tmp_path / "gone").unlink()
    said = answer.json()
    assert 0 < said["accepted"] == said["added"] < 200_000
    assert len(ids(faulty, "subscriptions", "1")) == said["added"]


def change_that_waits(control: Alone, directory: Path) -> None:
    """Make one, whose answer isn't waited for; the store is in it."""
    (directory / "slow").touch()
    impatient = httpx.Timeout(PATIENCE, read=0.01)
    with pytest.raises(httpx.ReadTimeout):
        control.client.put("/users/1/subscriptions/2", timeout=impatient)
    until((directory / "waits").exists, "it waits")


def test_a_slow_store_holds_up_nothing_else(faulty: Alone, tmp_path: Path) -> None:
    """While a change is under way the rest of the port answers; then the change is made."""
    change_that_waits(faulty, tmp_path)
    for path in ("/health", "/state", "/metrics"):
        assert faulty.get(path).status_code == 200
    (tmp_path / "slow").unlink()
    assert ids(faulty, "subscriptions", "1") == ["2"]


def test_it_ends_although_the_store_hangs(faulty: Alone, tmp_path: Path) -> None:
    """SIGTERM isn't held up by a change that takes for ever."""
    change_that_waits(faulty, tmp_path)
    faulty.terminate()
    assert faulty.wait() == 0


def test_a_hanging_store_holds_up_friends_only(faulty: Alone, tmp_path: Path) -> None:
    """Some calls wait for it, further ones fail at once, and the rest of the port is well."""
    change = b"PUT /users/1/subscriptions/%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    change_that_waits(faulty, tmp_path)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(faulty.connect()) for _ in range(WAITING + 20)]
        for number, connection in enumerate(crowd):
            connection.sendall(change % number)
        ready, _, _ = select.select(crowd, [], [], PATIENCE)
        while len(ready) < len(crowd) - (WAITING - 1):
            ready, _, _ = select.select(crowd, [], [], PATIENCE)
        for connection in ready:
            assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")
        for path in ("/health", "/state", "/metrics"):
            assert faulty.get(path).status_code == 200
        (tmp_path / "slow").unlink()
        for connection in crowd:
            if connection not in ready:
                assert connection.recv(65536).startswith(b"HTTP/1.1 20")


def test_who_goes_while_the_store_works(faulty: Alone, tmp_path: Path) -> None:
    """Their connection is closed at once; the change is made, and nothing breaks."""
    change_that_waits(faulty, tmp_path)
    idle = faulty.descriptors()
    with faulty.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b"PUT /users/1/subscriptions/3 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        faulty.until(lambda: faulty.descriptors() > idle)
        assert faulty.get("/health").status_code == 200
        held = faulty.descriptors()
    faulty.until(lambda: faulty.descriptors() < held)
    (tmp_path / "slow").unlink()
    assert "2" in ids(faulty, "subscriptions", "1")


def test_a_bulk_is_read_as_fast_as_the_store_takes_it(faulty: Alone, tmp_path: Path) -> None:
    """While the store works the connection isn't read: the sender waits, and memory stays."""
    change_that_waits(faulty, tmp_path)
    before = memory(faulty.pid)
    piece = b"x" * 65_536  # of a line that is too long, which takes the store no time
    with faulty.connect() as connection:
        connection.sendall(
            b"POST /subscriptions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Type: text/tab-separated-values\r\n"
            b"Content-Length: %d\r\n\r\n" % (400 * len(piece))
        )
        sent = 0
        while select.select([], [connection], [], 1.0)[1]:
            sent += connection.send(piece[sent % len(piece) :])
        assert sent < 300 * len(piece)
        assert memory(faulty.pid) - before < GROWTH
        (tmp_path / "slow").unlink()
        while sent < 400 * len(piece):
            sent += connection.send(piece[sent % len(piece) :])
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert b'"bad":1,' in answer


def test_answers_under_way_are_sent_at_the_end(faulty: Alone, tmp_path: Path) -> None:
    """After SIGTERM a change that is under way is answered; its connection ends."""
    change_that_waits(faulty, tmp_path)
    row = faulty.scoreboard.row(CONTROL)
    with faulty.connect() as connection:
        connection.sendall(b"PUT /users/1/subscriptions/3 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert faulty.get("/health").status_code == 200
        faulty.terminate()
        faulty.until(lambda: row[Field.STATE] == State.DRAINING)
        (tmp_path / "slow").unlink()
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert faulty.wait() == 0
