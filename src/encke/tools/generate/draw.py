"""Who gets the next message: endless draws of users, numbered from 0.

Pure.
"""

import math
from collections.abc import Iterator
from random import Random

from .plan import Distribution, Plan


def draws(plan: Plan) -> Iterator[int]:
    """The users that `plan` wants, one a message."""
    if plan.each:
        return iter(range(plan.users))
    random = Random(plan.seed)
    if plan.distribution is Distribution.ZIPF:
        return zipf(plan.users, plan.exponent, random)
    return uniform(plan.users, random)


def uniform(users: int, random: Random) -> Iterator[int]:
    """Each user as often as any other."""
    next_float = random.random
    while True:
        yield int(next_float() * users)


def zipf(users: int, exponent: float, random: Random) -> Iterator[int]:
    """User k is drawn in proportion to 1 / (k + 1)^exponent: few get much, a long tail little.

    By rejection-inversion (Hoermann and Derflinger, "Rejection-inversion to generate variates
    from monotone discrete distributions", 1996): draw from the continuous density x^-exponent,
    round, and reject what rounding favours. It needs no table, and hardly ever a second try.
    """
    power = 1.0 - exponent

    def area(x: float) -> float:
        """Integral of the density from 1 to x."""
        return math.log(x) if abs(power) < 1e-9 else (x**power - 1.0) / power

    def inverse(y: float) -> float:
        return math.exp(y) if abs(power) < 1e-9 else max(0.0, 1.0 + y * power) ** (1.0 / power)

    start, end = area(1.5) - 1.0, area(users + 0.5)
    surely = 2.0 - inverse(area(2.5) - 2.0**-exponent)
    while True:
        y = end + random.random() * (start - end)
        x = inverse(y)
        rank = min(users, max(1, int(x + 0.5)))
        if rank - x <= surely or y >= area(rank + 0.5) - rank**-exponent:
            yield rank - 1
