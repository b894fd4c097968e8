"""URLs as NATS users write them, and whom to try next."""

import pytest

from encke.cluster.servers import Pool, Server, parse
from encke.errors import BadSettings

URLS = {
    "nats://127.0.0.1:4222": Server("127.0.0.1"),
    "nats://nats.example.org": Server("nats.example.org"),
    "127.0.0.1:4333": Server("127.0.0.1", 4333),
    "localhost": Server("localhost"),
    "nats://localhost:1/": Server("localhost", 1),
    "nats://[::1]:4333": Server("::1", 4333),
    "tls://nats-1.example.org:65535": Server("nats-1.example.org", 65535, tls=True),
    "nats://ada:secret@host": Server("host", user="ada", password="secret"),
    "nats://ada:@host": Server("host", user="ada"),
    "nats://ada:a:b@host": Server("host", user="ada", password="a:b"),
    "nats://a%40b:p%3Aq%2Fr%25@host": Server("host", user="a@b", password="p:q/r%"),
    "tls://t0ken@host:4222": Server("host", tls=True, token="t0ken"),
    "t0ken@host": Server("host", token="t0ken"),
}


@pytest.mark.parametrize("url", URLS)
def test_urls(url: str) -> None:
    """Each URL names its server; scheme and port may be left out."""
    assert parse(url) == [URLS[url]]


def test_several_urls() -> None:
    """Commas stand between them, blanks may."""
    assert parse("nats://a:1,b:2, tls://c ,") == [
        Server("a", 1),
        Server("b", 2),
        Server("c", tls=True),
    ]


@pytest.mark.parametrize(
    "urls",
    [
        "",
        " , ",
        "nats://",
        "nats://host:",
        "nats://host:0",
        "nats://host:65536",
        "nats://host:port",
        "nats://host/path",
        "nats://ho st",
        "nats://::1:4222",
        "http://host",
        "ws://host",
        "good:4222,nats://",
        "h\u00f6st",
    ],
)
def test_what_is_no_url(urls: str) -> None:
    """It is refused with what to write instead."""
    with pytest.raises(BadSettings, match="nats://"):
        parse(urls)


@pytest.mark.parametrize(
    "url", ["nats://ada:s3cret@host:x", "http://s3cret@host", "ada:s3cret@", "nats://s3@cret@h"]
)
def test_errors_keep_secrets(url: str) -> None:
    """What is wrong is said without passwords or tokens, and so is where we are."""
    with pytest.raises(BadSettings) as error:
        parse(url)
    assert "s3" not in str(error.value)
    assert str(parse("nats://ada:s3cret@host")[0]) == "host:4222"
    assert str(parse("[::1]")[0]) == "[::1]:4222"


def test_each_in_turn() -> None:
    """All are tried before one is tried again."""
    servers = parse("a,b,c")
    pool = Pool(servers)
    rounds = [{pool.next() for _ in servers} for _ in range(3)]
    assert rounds == [set(servers)] * 3


def test_orders_differ() -> None:
    """Nodes with the same list begin with different servers."""
    assert len({Pool(parse("a,b,c")).next() for _ in range(200)}) == 3


def test_servers_are_learned_and_forgotten() -> None:
    """Servers of the cluster join the list and leave it; those given stay; the one that we are
    at comes last."""
    pool = Pool(parse("a:1,b:1"))
    current = pool.next()
    pool.learn(["a:1", "c:1", "[::1]:2", "no address"], current)
    assert len(pool) == 4
    turn = [pool.next() for _ in range(4)]
    assert set(map(str, turn)) == {"a:1", "b:1", "c:1", "[::1]:2"}
    assert turn.index(current) == 1  # the new ones are behind it
    pool.learn(["c:1"], current)
    assert {str(pool.next()) for _ in range(3)} == {"a:1", "b:1", "c:1"}
    pool.learn([], current)
    assert {str(pool.next()) for _ in range(2)} == {"a:1", "b:1"}
    assert len(pool) == 2


def test_learned_servers_are_spoken_to_alike() -> None:
    """They get the credentials and the TLS of the one that named them; one that is a bare
    number must have its certificate, for which the name is that by which we came."""
    pool = Pool(parse("tls://ada:secret@nats.example.org"))
    current = pool.next()
    pool.learn(["10.0.0.2:4222", "other.example.org:4223"], current)
    learned = {pool.next() for _ in range(3)} - {current}
    assert learned == {
        Server("10.0.0.2", tls=True, user="ada", password="secret", tls_name="nats.example.org"),
        Server("other.example.org", 4223, tls=True, user="ada", password="secret"),
    }
    by_number = next(server for server in learned if server.tls_name)
    pool.learn(["10.0.0.3:4222"], by_number)
    assert "nats.example.org" in {pool.next().tls_name for _ in range(2)}
