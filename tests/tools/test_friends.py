"""``encke friends`` without a server: files, graphs of friends, distributions."""

import io
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke import cli
from encke.errors import BadSettings, MissingExtra
from encke.tools.friends.degrees import Degrees, Distribution
from encke.tools.friends.files import READ_SIZE, BadLines, Direction, Source
from encke.tools.friends.graph import Tail, lines
from encke.tools.friends.plot import draw

Pairs = list[tuple[bytes, bytes]]


def source(
    body: bytes,
    direction: Direction = Direction.SUBSCRIBER_PUBLISHER,
    *,
    mutual: bool = False,
    skip_bad: bool = False,
) -> Source:
    return Source(
        io.BytesIO(body), "friends.tsv", direction=direction, mutual=mutual, skip_bad=skip_bad
    )


# files


def test_both_forms_are_recognized() -> None:
    """JSON begins with a brace, as no id does; whatever empty lines are before it."""
    assert list(source(b"1\t2\n3\t4")) == [(b"1", b"2"), (b"3", b"4")]
    assert list(source(b'{"publisher": "2", "subscriber": "1"}\n')) == [(b"1", b"2")]
    assert list(source(b'\n {"publisher": "2", "subscriber": "1"}')) == [(b"1", b"2")]
    assert list(source(b"")) == []


def test_the_direction_is_that_of_the_columns() -> None:
    """It says which id of a line with a tab is which; JSON says it itself."""
    assert list(source(b"1\t2\n", Direction.PUBLISHER_SUBSCRIBER)) == [(b"2", b"1")]
    line = b'{"subscriber": "1", "publisher": "2"}\n'
    assert list(source(line, Direction.PUBLISHER_SUBSCRIBER)) == [(b"1", b"2")]


def test_mutual_adds_the_other_direction() -> None:
    """To each subscription, once."""
    assert sorted(source(b"1\t2\n3\t4\n", mutual=True)) == [
        (b"1", b"2"),
        (b"2", b"1"),
        (b"3", b"4"),
        (b"4", b"3"),
    ]


def test_a_bad_line_stops_it() -> None:
    """The error names file and line; nothing of its block has come out."""
    taken: Pairs = []
    good = b"1\t2\n" * READ_SIZE  # some blocks
    with pytest.raises(BadLines, match=rf"^friends.tsv, line {READ_SIZE + 1}: 2 tabs"):
        taken.extend(source(good + b"1\t2\t3\n1\t2\n"))
    assert 0 < len(taken) <= READ_SIZE


def test_bad_lines_can_be_skipped() -> None:
    """The good ones come, and it's known what was wrong with the others."""
    reading = source(b"1\t2\n\n1\t2\t3\nx\n3\t4\n", skip_bad=True)
    assert list(reading) == [(b"1", b"2"), (b"3", b"4")]
    assert reading.reader.bad == 2
    assert [error.number for error in reading.reader.errors] == [3, 4]


def test_it_tells_how_far_it_is() -> None:
    """After each block, bytes and lines that have been read."""
    body = b"".join(b"%d\t%d\n" % (n, n + 1) for n in range(100_000))
    seen: list[tuple[int, int]] = []
    reading = Source(
        io.BytesIO(body), "x", on_block=lambda: seen.append((reading.bytes, reading.reader.lines))
    )
    assert sum(1 for _ in reading) == 100_000
    assert len(seen) >= len(body) // READ_SIZE
    assert seen == sorted(seen)
    assert seen[-1] == (len(body), 100_000)


# graphs


def graph(
    tail: Tail, users: int = 300, friends: int = 3, seed: int = 0, first_id: int = 1
) -> Pairs:
    return list(source(b"".join(lines(users, friends, seed, tail, first_id))))


def test_every_user_chooses_so_many_others() -> None:
    """Each user but the first ones has so many subscriptions, to others, to nobody twice."""
    pairs = graph(Tail.PUBLISHERS)
    assert len(set(pairs)) == len(pairs)
    chosen = Counter(subscriber for subscriber, _ in pairs)
    for user in range(2, 301):
        assert chosen[b"%d" % user] == min(user - 1, 3)
    assert all(int(publisher) < int(subscriber) for subscriber, publisher in pairs)
    assert {id for pair in pairs for id in pair} == {b"%d" % user for user in range(1, 301)}


def test_who_is_popular() -> None:
    """By default a few publishers have many subscribers; the article's list is the other way
    round; mutual is both."""
    publishers = graph(Tail.PUBLISHERS, 3000)
    assert max(Counter(publisher for _, publisher in publishers).values()) > 50
    assert max(Counter(subscriber for subscriber, _ in publishers).values()) == 3
    swapped = [(subscriber, publisher) for publisher, subscriber in publishers]
    assert graph(Tail.SUBSCRIBERS, 3000) == swapped
    assert sorted(graph(Tail.MUTUAL, 3000)) == sorted(publishers + swapped)


def test_the_article_s_list_of_edges() -> None:
    """With the tail on the subscribers' side, the rows are those that igraph writes for the
    article's graph, which isn't directed."""
    igraph = pytest.importorskip("igraph")
    igraph.set_random_number_generator(random.Random(7))
    try:
        edges = igraph.Graph.Barabasi(200, 4, directed=False).get_edgelist()
    finally:
        igraph.set_random_number_generator(random)
    ours = graph(Tail.SUBSCRIBERS, 200, 4, seed=7, first_id=0)
    assert sorted((int(a), int(b)) for a, b in ours) == sorted(edges)


def test_a_seed_makes_the_same_graph() -> None:
    """The same one, and another one another; Python's own randomness has no part in it."""
    random.seed(1)
    state = random.getstate()
    assert graph(Tail.MUTUAL, seed=1) == graph(Tail.MUTUAL, seed=1)
    assert graph(Tail.MUTUAL, seed=1) != graph(Tail.MUTUAL, seed=2)
    assert random.getstate() == state


def test_more_friends_than_users() -> None:
    """That can't be, and is said."""
    with pytest.raises(BadSettings, match="fewer --friends"):
        graph(Tail.MUTUAL, users=3, friends=3)


def test_igraph_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(MissingExtra, match=r"pip install 'encke\[graph\]'"):
        graph(Tail.MUTUAL)


def test_a_closed_pipe_is_quiet() -> None:
    """`encke friends generate | head` ends without a traceback."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m encke friends generate --users 20000 | head -n 1"],
        capture_output=True,
    )
    assert (done.stdout, done.stderr) == (b"2\t1\n", b"")


# distributions


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200))
def test_degrees(friends: list[int]) -> None:
    """Counts, mean, median, p99 and maximum are those of the list of all users' degrees."""
    degrees = Degrees.of(Counter(friends))
    ordered = sorted(friends)
    assert degrees.users == len(friends)
    assert degrees.mean == round(sum(friends) / len(friends), 2)
    assert degrees.median == ordered[(len(friends) + 1) // 2 - 1]
    assert degrees.p99 == ordered[-(-len(friends) * 99 // 100) - 1]
    assert degrees.max == ordered[-1]
    assert degrees.histogram == sorted(Counter(friends).items())


def test_nobody_has_friends() -> None:
    """That is no error."""
    assert Degrees.of({}) == Degrees(0, 0.0, 0, 0, 0, [])


@pytest.mark.parametrize("name", ["friends.png", "friends.svg"])
def test_the_plot(tmp_path: Path, name: str) -> None:
    """Both directions are drawn, and named with their figures; the axes have plain numbers."""
    some, none = Degrees.of({1: 500, 2: 100, 900: 1}), Degrees.of({})
    draw(Distribution(1600, some, none), tmp_path / name)
    drawn = (tmp_path / name).read_bytes()
    if name.endswith(".svg"):
        assert b"1,600 subscriptions" in drawn
        assert b">1,000</text>" in drawn
        assert b"mathdefault" not in drawn
    else:
        assert drawn[:4] == b"\x89PNG"


# the command line


@pytest.mark.parametrize(
    "command", ["add", "remove", "list", "subscribers", "load", "export", "generate", "stats"]
)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says what it does."""
    assert cli.run(["friends", command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"Usage: encke friends {command} ")


def test_arguments_import_little() -> None:
    """To parse them takes none of the libraries that the commands use."""
    program = (
        "import encke.tools.friends.cli, sys\n"
        "print({'httpx', 'asyncio', 'rich', 'igraph', 'matplotlib', 'sqlite3', 'psycopg'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
