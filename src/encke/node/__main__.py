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
from ..settings import Settings

HANDOVER = "ENCKE_HANDOVER"


def command(settings: Settings, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of the process that serves with `settings`.

    -P: what lies in the working directory is not imported.
    """
    handover = msgspec.json.encode(settings).decode()
    return [sys.executable, "-P", "-m", __package__], {**environment, HANDOVER: handover}


def _keep_closed() -> None:
    """Let no file or socket have the number of a standard stream that was closed: who prints would
    write into it. Of what stands there instead nothing comes, and nothing can be written to it."""
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest number that's free


def main() -> int:
    """Serve with the settings handed over; the exit code."""
    handover = os.environ.pop(HANDOVER, None)
    if handover is None:
        print("encke: no settings were handed over; start with `encke serve`.", file=sys.stderr)
        return os.EX_USAGE
    from .. import log  # only once there is something to serve
    from .supervisor import serve

    _keep_closed()
    log.begin()
    try:
        return serve(msgspec.json.decode(handover, type=Settings))
    except BadSettings as error:
        print(f"encke: {error}", file=sys.stderr)
        return os.EX_USAGE


if __name__ == "__main__":
    sys.exit(main())
