"""The life of a connection: every cell of the table, and what epoll is asked for."""

from pathlib import Path

import pytest

from encke.gateway import life
from encke.gateway.life import (
    AFTER,
    BODY,
    ENDING,
    FREE,
    HEAD,
    IDLE,
    LEAVING,
    LINGERING,
    LOGGING_IN,
    NEVER,
    NEW,
    OWING,
    PATIENCE,
    READ,
    STREAM,
    TABLE,
    WAITING,
    WRITE,
    Event,
    interest,
)  # fmt: skip
from encke.settings import Settings

STATES = (
    FREE, NEW, IDLE, HEAD, BODY, OWING, WAITING, LOGGING_IN, ENDING, LEAVING, LINGERING, STREAM,
)  # fmt: skip
AWAKE = (HEAD, BODY, OWING, WAITING, LOGGING_IN, ENDING)

# As a picture, so that a change of the table is a change here: rows are states, columns events, in
# their order; "-" can't happen.
#              TAKEN HEAD  BODY  WHOLE STREAM LAST  ANSWER WRITTEN LOGGED ENDED CLOSED
PICTURE = """
FREE           NEW   -     -     -     -      -      -       -       -     -       -
NEW            -     HEAD  BODY  OWING WAIT   ENDING -       -       -     LEAVING FREE
IDLE           -     HEAD  BODY  OWING WAIT   ENDING -       -       -     LEAVING FREE
HEAD           -     HEAD  BODY  OWING WAIT   ENDING -       -       -     ENDING  FREE
BODY           -     HEAD  BODY  OWING WAIT   ENDING -       -       -     ENDING  FREE
OWING          -     HEAD  BODY  OWING WAIT   ENDING IDLE    -       -     ENDING  FREE
WAIT           -     -     -     -     -      ENDING LOGIN   -       -     ENDING  FREE
LOGIN          -     -     -     -     -      ENDING -       -       STREAM -      FREE
ENDING         -     -     -     -     -      -      LEAVING -       -     ENDING  FREE
LEAVING        -     -     -     -     -      -      -       LINGER  -     LEAVING FREE
LINGER         -     -     -     -     -      -      -       -       -     -       FREE
STREAM         -     -     -     -     -      -      -       -       -     -       FREE
"""
NAMES = {
    "FREE": FREE, "NEW": NEW, "IDLE": IDLE, "HEAD": HEAD, "BODY": BODY, "OWING": OWING,
    "WAIT": WAITING, "LOGIN": LOGGING_IN, "ENDING": ENDING, "LEAVING": LEAVING,
    "LINGER": LINGERING, "STREAM": STREAM, "-": NEVER,
}  # fmt: skip
ROWS = [line.split() for line in PICTURE.strip().splitlines()]
CELLS = [
    (NAMES[row[0]], event, NAMES[name])
    for row in ROWS
    for event, name in zip(Event, row[1:], strict=True)
]


@pytest.mark.parametrize(
    ("state", "event", "after"), CELLS, ids=[f"{state}-{event.name}" for state, event, _ in CELLS]
)
def test_every_cell(state: int, event: Event, after: int) -> None:
    """What happens in a state leads to the one state that the picture shows."""
    assert TABLE[state].get(event, NEVER) == after
    assert AFTER[event][state] == after


def test_every_state_is_in_the_picture() -> None:
    """No state was forgotten, and none of the numbers between is one."""
    assert [NAMES[row[0]] for row in ROWS] == list(STATES)
    assert set(TABLE) == set(STATES)
    for rows in AFTER:
        assert len(rows) == 256
        assert set(rows[LINGERING + 1 : STREAM]) <= {NEVER}


def test_streams_share_their_row() -> None:
    """Streams of all kinds live alike."""
    for rows in AFTER:
        assert set(rows[STREAM:]) == {rows[STREAM]}


def test_everybody_can_go_at_any_time() -> None:
    """What is broken is closed, in any state; and nothing leads out of a closed one but a new
    connection."""
    for state in STATES[1:]:
        assert TABLE[state][Event.CLOSED] == FREE
    assert TABLE[FREE] == {Event.TAKEN: NEW}


def test_all_states_are_reached() -> None:
    """From an accepted connection each state can be reached."""
    reached, new = {FREE}, {FREE}
    while new:
        new = {after for state in new for after in TABLE[state].values()} - reached
        reached |= new
    assert reached == set(STATES)


def test_the_document_says_the_same() -> None:
    """ARCHITECTURE.md has the table too: where each state leads to, and what it may last."""
    document = Path(__file__).parents[2] / "ARCHITECTURE.md"
    rows = [line.strip("|").split("|") for line in document.read_text("utf-8").splitlines()]
    cells = {row[0].split()[0]: row[2:] for row in rows if len(row) == 4 and row[0].strip()}
    for state in STATES[1:]:
        name = next(name for name, value in vars(life).items() if name.isupper() and value == state)
        deadline, leads_to = cells[name]
        after = {getattr(life, word) for word in leads_to.replace(",", " ").split()}
        assert after == set(TABLE[state].values()) - {FREE, state}, name
        lasts = PATIENCE.get(state)
        if isinstance(lasts, str):
            assert deadline.split("`")[1] == f"--{lasts.replace('_', '-')}", name
        else:
            assert deadline.strip() == (f"{lasts:.0f} s" if lasts else ""), name


@pytest.mark.parametrize("state", STATES[1:])
def test_who_may_take_for_ever(state: int) -> None:
    """A state has a deadline, whoever's turn it is, but for a stream. Each is a setting,
    or a few seconds."""
    assert (state in PATIENCE) == (state != STREAM)
    if state != STREAM:
        time = PATIENCE[state]
        assert (getattr(Settings(), time) if isinstance(time, str) else time) > 0


@pytest.mark.parametrize("state", [*STATES[1:], STREAM + 1, STREAM + 3, 254])
@pytest.mark.parametrize("unwritten", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_interest(state: int, unwritten: bool, held: bool) -> None:
    """Streams are read from in any case, or nobody would see that a client is gone. Others aren't
    while they don't take what they are sent, or are held; who lingers is, to the end."""
    wanted = interest(state, unwritten=unwritten, held=held)
    assert bool(wanted & WRITE) == unwritten
    if state >= STREAM:
        assert wanted & READ
    elif unwritten or (held and state != LINGERING):
        assert not wanted & READ
    else:
        assert wanted == READ


@pytest.mark.parametrize("place", range(100))
@pytest.mark.parametrize("chunked", [False, True])
def test_the_state_of_a_stream_says_its_kind(place: int, chunked: bool) -> None:
    """Protocol and framing are found again in the state, which is none of the others."""
    state = life.stream(place, chunked=chunked)
    assert STREAM <= state < NEVER
    assert life.protocol(state) == place
    assert life.chunked(state) == chunked
