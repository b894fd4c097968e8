"""The pace of large publications: how long they rest, and how long their pages are."""

import math

import pytest

from encke.hub.limits import LATELY, PAGE_HANDLES, PAGE_ROWS, REST
from encke.hub.pace import Pace


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def pace(now: list[float]) -> Pace:
    return Pace(lambda: now[0])


@pytest.mark.parametrize("others", [True, False])
def test_a_page_rests_as_long_as_the_last_one_took(
    pace: Pace, now: list[float], others: bool
) -> None:
    """If others have sent something, shortly before it or since; otherwise it needn't."""
    assert pace.rest == 0
    pace.heard = now[0] - LATELY * (0.9 if others else 1.1)
    pace.begin()
    assert pace.rest == math.inf
    now[0] += 3
    pace.end()
    assert pace.rest == pytest.approx(3 * REST if others else 0)
    now[0] += 3 * REST
    assert pace.rest == 0


def test_a_page_for_few_has_nothing_to_wait_for(pace: Pace, now: list[float]) -> None:
    """The next one may begin at once; that its writes end later changes nothing."""
    pace.heard = now[0]
    pace.begin()
    now[0] += 3
    pace.forget()
    assert pace.rest == 0
    pace.end()
    assert pace.rest == 0


def test_a_first_page_begins_when_it_is_found(pace: Pace, now: list[float]) -> None:
    """It was looked up with others; from then on it's waited for."""
    pace.heard = now[0]
    pace.found(10, 10)
    assert pace.rest == math.inf
    now[0] += 1
    pace.end()
    assert pace.rest == pytest.approx(REST)


@pytest.mark.parametrize(
    ("rows", "handles", "next_rows"),
    [
        (256, 0, PAGE_ROWS[1]),
        (256, 256, PAGE_ROWS[0]),
        (1000, 2 * PAGE_HANDLES, 500),
        (1000, PAGE_HANDLES, 1000),
        (2000, 1, PAGE_ROWS[1]),
    ],
)
def test_pages_have_about_as_many_handles(
    pace: Pace, rows: int, handles: int, next_rows: int
) -> None:
    """Whoever few of are here has longer pages, within bounds."""
    pace.found(rows, handles)
    assert pace.rows == next_rows
