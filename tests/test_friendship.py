"""Friends as their users have them: the command line, the client, and a running server."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from peer import NOBODY, run
from system.node import Node, until

import encke
from bench.servers.postgres import Postgres
from encke.client import Client, Sent
from encke.errors import Refused

ENCKE = [sys.executable, "-m", "encke"]


class Friendly:
    """A server with friends, and the command line for it."""

    def __init__(self, node: Node, data: Path) -> None:
        self.node = node
        self.data = data
        self.url = "http://{}:{}".format(*node.address)
        places = {"ENCKE_URL": self.url, "ENCKE_CONTROL": "{}:{}".format(*node.control)}
        self.environment = {**os.environ, **places, "ENCKE_DATA": str(data)}

    def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Exit code of ``encke``, what it printed, what it complained of."""
        done = subprocess.run(
            [*ENCKE, *arguments], input=stdin, capture_output=True, env=self.environment, timeout=60
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def friends(self, *arguments: str, stdin: bytes = b"") -> str:
        """What ``encke friends`` prints, which must succeed without complaint."""
        code, out, err = self.run("friends", *arguments, stdin=stdin)
        assert (code, err) == (0, "")
        return out


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Friendly]:
    """One for all tests: each has users of its own."""
    data = tmp_path_factory.mktemp("friends") / "data"
    with Node("--data", str(data)) as node:
        yield Friendly(node, data)


# managing


def test_add_list_remove(server: Friendly) -> None:
    """Each says what has become of it; lists have an id a line."""
    assert server.friends("add", "ann", "ben") == "ann is subscribed to ben\n"
    assert server.friends("add", "ann", "ben") == "ann is subscribed to ben already\n"
    assert server.friends("add", "ann", "cid", "--mutual") == (
        "ann is subscribed to cid\ncid is subscribed to ann\n"
    )
    assert sorted(server.friends("list", "ann").split()) == ["ben", "cid"]
    assert server.friends("subscribers", "ben") == "ann\n"
    assert server.friends("subscribers", "ann", "--count") == "1\n"
    assert server.friends("list", "ann", "--count") == "2\n"
    listed = server.friends("list", "ann", "--json").splitlines()
    assert {(line["subscriber"], line["publisher"]) for line in map(json.loads, listed)} == {
        ("ann", "ben"),
        ("ann", "cid"),
    }
    said = json.loads(server.friends("subscribers", "ben", "--json"))
    assert said == {"subscriber": "ann", "publisher": "ben"}
    assert server.friends("remove", "ann", "ben") == "ann is no longer subscribed to ben\n"
    assert server.friends("remove", "ann", "cid", "--mutual").count("is no longer") == 2
    assert server.friends("list", "ann") == ""


def test_nothing_to_remove(server: Friendly) -> None:
    """Exit code 1, and it is said; of two directions one is enough."""
    said = "encke: x is not subscribed to y.\n"
    assert server.run("friends", "remove", "x", "y") == (1, "", said)
    server.friends("add", "y", "x")
    assert server.friends("remove", "x", "y", "--mutual") == (
        "x is not subscribed to y.\ny is no longer subscribed to x\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("add", "a b", "1", "--control", NOBODY), 2, "user id"),
        (("add", "1", "2", "--control", NOBODY), 69, "start it with `encke serve`"),
        (("list", "1", "--control", NOBODY), 69, "start it with `encke serve`"),
        (("load", "/nowhere.tsv"), 1, "/nowhere.tsv can't be read: No such file"),
        (("stats", "--plot", "x.pdf"), 2, ".png or .svg"),
        (("generate", "--users", "3"), 2, "fewer --friends"),
        (("export", "--friends", "mysql://x"), 2, "postgresql://"),
        (("export", "--friends", "off"), 1, "--friends"),
        (("export", "--data", "/nowhere"), 1, "/nowhere"),
    ],
)
def test_an_error_is_one_line(
    server: Friendly, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """The exit code, and one line that says what to do."""
    exit_code, out, err = server.run("friends", *arguments)
    assert (exit_code, out, err.count("\n")) == (code, "", 1)
    assert err.startswith("encke: ")
    assert words in err


def test_another_server_is_no_encke(server: Friendly) -> None:
    """The public port isn't the control port, and what it says is shown."""
    for command in (("add", "1", "2"), ("remove", "1", "2"), ("list", "1")):
        code, out, err = server.run("friends", *command, "--control", server.url)
        assert (code, out) == (1, "")
        assert "Nothing is here" in err


def test_the_key(tmp_path: Path) -> None:
    """The API key is asked for, and taken from the environment."""
    with Node("--data", str(tmp_path), environment={"ENCKE_API_KEY": "geheim"}) as node:
        server = Friendly(node, tmp_path)
        code, _, err = server.run("friends", "add", "1", "2")
        assert code == 1
        assert "API key" in err
        server.environment["ENCKE_API_KEY"] = "geheim"
        assert server.friends("add", "1", "2") == "1 is subscribed to 2\n"
        assert server.run("publish", "2", "x")[0] == 0


# loading


def test_load_and_export(server: Friendly, tmp_path: Path) -> None:
    """What is loaded is in effect, comes out again, and may be loaded once more."""
    file = tmp_path / "pairs.tsv"
    file.write_bytes(b"".join(b"l%d\tstar\n" % number for number in range(10_000)))
    said = server.friends("load", str(file))
    assert said.startswith("10,000 lines read, 10,000 subscriptions added in ")
    assert str(server.data) in said
    assert server.friends("subscribers", "star", "--count") == "10000\n"
    assert "10,000 lines read, 0 subscriptions added" in server.friends("load", str(file))
    exported = server.friends("export").encode()
    assert set(file.read_bytes().splitlines()) <= set(exported.splitlines())
    other = tmp_path / "other"
    said = server.friends("load", "-", "--data", str(other), stdin=exported)
    assert f"{exported.count(b'%c' % 10):,} subscriptions added" in said
    assert sorted(server.friends("export", "--data", str(other)).encode().splitlines()) == sorted(
        exported.splitlines()
    )


def test_load_in_the_other_direction(server: Friendly) -> None:
    """By columns, and in both directions; JSON too."""
    server.friends("load", "-", "--direction", "publisher-subscriber", stdin=b"p1\ts1\n")
    assert server.friends("list", "s1") == "p1\n"
    server.friends("load", "-", "--mutual", stdin=b'{"subscriber": "m1", "publisher": "m2"}\n')
    assert server.friends("list", "m1") == "m2\n"
    assert server.friends("list", "m2") == "m1\n"


def test_bad_lines(server: Friendly) -> None:
    """The first one stops it, with its number; or they are skipped, and named."""
    body = b"b1\tb2\nb1\nb1\tb3\n?\t?\n"
    code, out, err = server.run("friends", "load", "-", stdin=body)
    assert (code, out) == (1, "")
    assert err.startswith("encke: -, line 2: 0 tabs, not the one between two ids; a line is ")
    code, out, err = server.run("friends", "load", "-", "--skip-bad", stdin=body)
    assert code == 0
    assert out.startswith("4 lines read, 2 subscriptions added")
    assert err.splitlines()[0] == "2 bad lines were left out:"
    assert [line.split(":")[0] for line in err.splitlines()[1:]] == ["  line 2", "  line 4"]
    assert sorted(server.friends("list", "b1").split()) == ["b2", "b3"]


def test_a_load_that_is_interrupted(server: Friendly, tmp_path: Path) -> None:
    """Ctrl-C or SIGKILL in a load leaves a store that works; doing it again completes it."""
    loaded = tmp_path / "data"
    body = b"".join(b"%d\t%d\n" % (number % 1000, number) for number in range(300_000))
    for number in (signal.SIGINT, signal.SIGKILL):
        command = [*ENCKE, "friends", "load", "-", "--data", str(loaded)]
        with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE) as loading:
            assert loading.stdin is not None
            loading.stdin.write(body[: len(body) // 2])  # it has read most of that
            loading.send_signal(number)
            loading.wait(20)
            with pytest.raises(BrokenPipeError):
                loading.stdin.write(b"1\t2\n" * 100_000)
    server.friends("load", "-", "--data", str(loaded), stdin=body)
    exported = server.friends("export", "--data", str(loaded))
    assert sorted(exported.encode().splitlines()) == sorted(body.splitlines())


def test_moving_to_postgresql(server: Friendly, postgres: Postgres) -> None:
    """`export | load` moves everything; the place is named without its password."""
    postgres.empty()
    server.friends("load", "-", stdin=b"mo1\tmo2\nmo1\tmo3\n")
    exported = server.friends("export")
    said = server.friends("load", "-", "--friends", postgres.url, stdin=exported.encode())
    assert f"{len(exported.splitlines()):,} subscriptions added" in said
    assert "127.0.0.1" in said
    assert "secret" not in said
    moved = server.friends("export", "--friends", postgres.url)
    assert sorted(moved.splitlines()) == sorted(exported.splitlines())
    stats = server.friends("stats", "--friends", postgres.url)
    assert stats == server.friends("stats")


def test_stats(server: Friendly, tmp_path: Path) -> None:
    """Both directions of the distribution, for people, programs, and as a picture."""
    data, picture = ("--data", str(tmp_path / "data")), tmp_path / "friends.svg"
    graph = server.friends("generate", "--users", "2000", "--friends", "5").encode()
    assert graph.count(b"\n") == 2000 * 5 - 15
    server.friends("load", "-", *data, stdin=graph)
    said = json.loads(server.friends("stats", "--json", "--plot", str(picture), *data))
    assert said["total"] == 9985
    assert said["subscriptions"]["users"] == 1999
    assert said["subscriptions"]["max"] == said["subscriptions"]["median"] == 5
    assert said["subscribers"]["max"] > 50
    assert sum(degree * users for degree, users in said["subscribers"]["histogram"]) == 9985
    assert b"9,985 subscriptions" in picture.read_bytes()
    head, _, subscribers, subscriptions = server.friends("stats", *data).splitlines()
    assert head == "9,985 subscriptions"
    assert subscribers.split()[0] == "subscribers"
    assert subscriptions.split() == ["subscriptions", "1,999", "4.99", "5", "5", "5"]


# publishing


def test_friends_get_what_one_publishes(server: Friendly) -> None:
    """Subscribers and the publisher get it, and know whose it is; others don't. A change
    is in effect for the next one, while all stay connected."""

    async def main() -> None:
        client = Client(server.url)
        async with client, client.listen("eve") as eve, client.listen("fay") as fay:
            assert await client.publish("fay", "nobody") == 1
            await asyncio.to_thread(server.friends, "add", "eve", "fay")
            assert await client.publish("fay", "Grüße\n☄") == 2
            message = await anext(eve)
            assert (message, message.publisher) == ("Grüße\n☄", "fay")
            assert [await anext(fay), await anext(fay)] == ["nobody", "Grüße\n☄"]
            await asyncio.to_thread(server.friends, "remove", "eve", "fay")
            assert await client.publish("fay", "alone") == 1
            assert await client.send("eve", "sent") == 1
            message = await anext(eve)
            assert (message, message.publisher) == ("sent", None)

    run(main())


def test_publishing_many(server: Friendly) -> None:
    """In order, each once; the answer counts."""

    async def source() -> AsyncIterator[tuple[str, str]]:
        for number in range(500):
            yield "guy", str(number)

    async def main() -> None:
        client = Client(server.url)
        async with client, client.listen("hal") as hal, client.listen("guy"):
            await asyncio.to_thread(server.friends, "add", "hal", "guy")
            assert await client.publish_many(source()) == Sent(500, 1000)
            assert [await anext(hal) for _ in range(500)] == [str(n) for n in range(500)]
            with pytest.raises(Refused) as caught:
                await client.publish_many([("guy", "x"), ("a b", "y")])
            assert (caught.value.line, caught.value.accepted) == (2, 1)

    run(main())


def test_the_twin_for_scripts(server: Friendly) -> None:
    """`publish` and `publish_many` without `await`."""
    with encke.connect(server.url) as connection, connection.listen("ian") as stream:
        assert connection.publish("ian", "one") == 1
        assert connection.publish_many([("ian", "two"), ("jon", "x")]) == Sent(2, 1)
        messages = [next(stream), next(stream)]
        assert messages == ["one", "two"]
        assert [message.publisher for message in messages] == ["ian", "ian"]


def test_the_command_line(server: Friendly) -> None:
    """`encke publish` says how many got it; `encke listen` shows whose it is."""
    nobody = "delivered to 0 connections: neither kim nor a subscriber is connected\n"
    assert server.run("publish", "kim", "x") == (0, nobody, "")
    server.friends("add", "leo", "kim")
    listeners = [
        subprocess.Popen(
            [*ENCKE, "listen", "leo", *flags], stdout=subprocess.PIPE, env=server.environment
        )
        for flags in ((), ("--json",))
    ]
    try:
        until(lambda: server.run("send", "leo", "ready")[1] == "delivered to 2 connections\n", "2")
        assert server.run("publish", "kim", "-", stdin=b"a\nb\n")[1] == (
            "delivered to 2 connections\n"
        )
        plain, lines = (listener.stdout for listener in listeners)
        assert plain is not None
        assert lines is not None
        while (line := plain.readline()) == b"ready\n":
            pass
        assert (line, plain.readline()) == (b"kim: a\n", b"b\n")
        while (said := json.loads(lines.readline())) == "ready":
            pass
        assert said == {"from": "kim", "data": "a\nb"}
    finally:
        for listener in listeners:
            listener.kill()
            listener.communicate()


def test_loading_while_others_publish(server: Friendly, tmp_path: Path) -> None:
    """A load of many doesn't stop publications on the same store, and is in effect at its end."""
    file = tmp_path / "pairs.tsv"
    file.write_bytes(b"".join(b"%d\tmia\n" % number for number in range(200_000)))
    with encke.connect(server.url) as connection, connection.listen("77777") as stream:
        loading = threading.Thread(target=server.friends, args=("load", str(file)))
        loading.start()
        published = 0
        while loading.is_alive():
            connection.publish("mia", "during")
            published += 1
        loading.join()
        assert published
        assert connection.publish("mia", "after") == 1
        while (message := next(stream)) == "during":
            pass
        assert (message, message.publisher) == ("after", "mia")
