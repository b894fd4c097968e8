"""Who must have got what, against the obvious way; and that each kind of fault is found."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.friends_due import Audience, Messages, Mismatch, mismatch
from encke.tools.load.stamp import key

USERS = 9
users = st.integers(1, USERS)
graphs = st.sets(st.tuples(users, users).filter(lambda pair: pair[0] != pair[1]))


def written(folder: Path, pairs: set[tuple[int, int]]) -> Path:
    file = folder / "friends.tsv"
    file.write_text("".join(f"{subscriber}\t{publisher}\n" for subscriber, publisher in pairs))
    return file


def messages(size: int, keys: dict[int, list[int]]) -> Messages:
    """With these keys at each place."""
    made = Messages.none(size)
    for at, each in keys.items():
        made.counts[at] = len(each)
        made.sums[at] = sum(each) % 2**64
    return made


@given(graphs, st.lists(users, unique=True), st.lists(users))
def test_what_is_due(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: set[tuple[int, int]],
    online: list[int],
    publishers: list[int],
) -> None:
    """A stream gets what those publish that its user is subscribed to, and their own, once."""
    published: dict[int, list[int]] = {}
    due: dict[int, list[int]] = {}
    for number, publisher in enumerate(publishers):
        published.setdefault(publisher - 1, []).append(key(1, number))
        for stream, user in enumerate(online):
            if user == publisher or (user, publisher) in pairs:
                due.setdefault(stream, []).append(key(1, number))
    audience = Audience(written(tmp_path_factory.mktemp("due"), pairs), online, USERS)
    assert audience.due(messages(USERS, published)) == messages(len(online), due)


DUE = {0: [key(1, 1), key(1, 2), key(1, 3)], 1: [key(1, 2)], 2: []}


@pytest.mark.parametrize(
    ("got", "found"),
    [
        ({}, Mismatch()),
        ({0: [1, 3]}, Mismatch(missing=1, streams=1)),
        ({1: [2, 2]}, Mismatch(extra=1, streams=1)),
        ({2: [1]}, Mismatch(extra=1, streams=1)),
        ({0: [1, 1, 3]}, Mismatch(exchanged=1, streams=1)),
        ({0: [1, 4, 5]}, Mismatch(exchanged=1, streams=1)),
        ({0: [1, 2], 2: [3]}, Mismatch(missing=1, extra=1, streams=2)),
    ],
    ids=["none", "lost", "doubled", "stranger", "twice for lost", "others", "astray"],
)
def test_each_fault_is_found(got: dict[int, list[int]], found: Mismatch) -> None:
    """What was lost, doubled, or came to somebody else; also if the numbers fit."""
    came = DUE | {stream: [key(1, number) for number in each] for stream, each in got.items()}
    assert mismatch(messages(3, DUE), messages(3, came)) == found
    assert bool(found) == bool(got)
    assert ("none missing" in str(found)) != bool(got)


def test_runs_add_up(tmp_path: Path) -> None:
    """What several runs published is due together; files hold what the tools write."""
    one, other = messages(3, {0: [5], 1: [2**63 - 1]}), messages(3, {1: [2**63 - 1, 7]})
    one.add(other)
    assert one == messages(3, {0: [5], 1: [2**63 - 1, 2**63 - 1, 7]})
    (tmp_path / "counts").write_bytes(one.counts.tobytes())
    (tmp_path / "sums").write_bytes(one.sums.tobytes())
    assert Messages.read(tmp_path / "counts", tmp_path / "sums") == one


def test_everyone_online(tmp_path: Path) -> None:
    """Everyone publishes once: as many come as there are subscriptions and users."""
    size = 2_000
    pairs = {(user, user % 40 + 41) for user in range(1, size + 1) if user != user % 40 + 41}
    audience = Audience(written(tmp_path, pairs), range(1, size + 1), size)
    due = audience.due(messages(size, {user: [user] for user in range(size)}))
    subscribers = Counter(publisher for _, publisher in pairs)
    assert sum(due.counts) == size + sum(subscribers.values())
