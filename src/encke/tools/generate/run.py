"""One run of the generator, with what is printed meanwhile."""

import os
import sys
import time

import msgspec

from ...errors import Unreachable
from ..load.screen import live
from .generator import Generator
from .plan import Plan
from .teller import Teller


def run(plan: Plan) -> int:
    """Carry out `plan`; returns the exit code: 0 if all messages were accepted, 1 if not, 69
    if there's no server (any more).

    Raises BadSettings if it can't be carried out.
    """
    generator = Generator(plan)
    teller = Teller(generator)
    code = 0
    tell_at = time.monotonic() + plan.every
    with live(not plan.json) as say:

        def tick() -> None:
            nonlocal tell_at
            line = teller.line()
            if say is not None:
                say(line)
            if time.monotonic() >= tell_at:
                tell_at += plan.every
                print(_json(teller, "stats") if plan.json else line, flush=True)

        try:
            generator.run(tick)
        except Unreachable as error:
            print(f"encke: {error}", file=sys.stderr)
            code = os.EX_UNAVAILABLE
    if plan.json:
        print(_json(teller, "end"), flush=True)
    elif generator.account.sent:
        print(*teller.summary(), sep="\n", flush=True)
    return code or (1 if generator.account.failed else 0)


def _json(teller: Teller, event: str) -> str:
    return msgspec.json.encode(teller.figures(event)).decode()
