"""``python -m encke.tools.flood PLAN``: the process image of a flood, begun by ``encke flood``.

The command line replaces itself with this, so that the herds, whose memory is counted,
don't carry the libraries that parsed its flags. PLAN is a plan.Plan as JSON.
"""

import os
import sys

import msgspec

from ... import scheduling
from ...errors import EnckeError
from .flood import run
from .plan import Plan


def command(plan: Plan) -> list[str]:
    """The arguments of the process that carries out `plan`."""
    return [sys.executable, "-P", "-m", __package__, msgspec.json.encode(plan).decode()]


def main() -> int:
    """Carry out the plan in argv; the exit code."""
    if len(sys.argv) != 2:
        print("encke flood: no plan was handed over; start with `encke flood`.", file=sys.stderr)
        return os.EX_USAGE
    scheduling.batch()
    try:
        return run(msgspec.json.decode(sys.argv[1], type=Plan))
    except EnckeError as error:
        print(f"encke: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
