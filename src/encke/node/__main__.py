"""``python -m encke.node``: the server's process image, begun by ``encke serve``.

The command line replaces itself with this, so that the server, whose memory is
counted, doesn't carry the libraries that parsed its flags. The settings come in one
environment variable, as JSON: unlike arguments, other users can't read it.
"""

import os
import sys
from collections.abc import Mapping

import msgspec

from ..errors import BadSettings
from ..extras import needed
from ..friends.opening import POSTGRES
from ..settings import Settings, friends_store

HANDOVER = "ENCKE_HANDOVER"


def command(settings: Settings, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of the process that serves with `settings`.

    -P: what lies in the working directory is not imported.
    """
    handover = msgspec.json.encode(settings).decode()
    return [sys.executable, "-P", "-m", __package__], {**environment, HANDOVER: handover}


def check(settings: Settings) -> None:
    """Raises MissingExtra if a package that the server would import later isn't there.

    For the command line, before it replaces itself: what it imports here costs the server nothing.
    """
    if friends_store(settings).startswith(POSTGRES):
        needed("psycopg")
        needed("psycopg_pool")
    if settings.nats and settings.nats_credentials:
        needed("nkeys")


def main() -> int:
    """Serve with the settings handed over; the exit code."""
    handover = os.environ.pop(HANDOVER, None)
    if handover is None:
        print("encke: no settings were handed over; start with `encke serve`.", file=sys.stderr)
        return os.EX_USAGE
    from .supervisor import serve  # only once there is something to serve

    try:
        return serve(msgspec.json.decode(handover, type=Settings))
    except BadSettings as error:
        print(f"encke: {error}", file=sys.stderr)
        return os.EX_USAGE


if __name__ == "__main__":
    sys.exit(main())
