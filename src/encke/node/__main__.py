"""``python -m encke.node``: the server's process image, begun by ``encke serve``.

The command line replaces itself with this, so that the server, whose memory is
counted, doesn't carry the libraries that parsed its flags. The settings come as JSON in a file
without a name, which is closed once it's read: /proc shows arguments and environment of a process
as long as it lives.
"""

import fcntl
import os
import sys
from collections.abc import Mapping, MutableMapping

import msgspec

from ..errors import BadSettings
from ..extras import needed
from ..friends.opening import POSTGRES
from ..settings import Settings, friends_store

HANDOVER = "ENCKE_HANDOVER"
"""The environment variable with the file's descriptor."""


def command(settings: Settings, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of the process that serves with `settings`; they're in a
    file that it inherits. `environment` is what it has otherwise, without settings.

    -P: what lies in the working directory is not imported.
    """
    file = os.memfd_create("encke-settings")
    handover = fcntl.fcntl(file, fcntl.F_DUPFD, 3)  # inherited, and no standard stream
    os.close(file)
    with os.fdopen(handover, "wb", closefd=False) as writer:
        writer.write(msgspec.json.encode(settings))
    own = {f"ENCKE_{name.upper()}" for name in (*Settings.__struct_fields__, "config")}
    rest = {name: value for name, value in environment.items() if name not in own}
    return [sys.executable, "-P", "-m", __package__], {**rest, HANDOVER: str(handover)}


def handed_over(environment: MutableMapping[str, str]) -> Settings | None:
    """The settings of `command`, which are to be had once; None: there are none."""
    try:
        file = int(environment.pop(HANDOVER))
        os.lseek(file, 0, os.SEEK_SET)
    except (KeyError, ValueError, OSError):
        return None
    with os.fdopen(file, "rb") as reader:
        return msgspec.json.decode(reader.read(), type=Settings)


def check(settings: Settings) -> None:
    """Raises MissingExtra if a package that the server would import later isn't there.

    For the command line, before it replaces itself: what it imports here costs the server nothing.
    """
    if friends_store(settings).startswith(POSTGRES):
        needed("psycopg")
        needed("psycopg_pool")
    if settings.nats and settings.nats_credentials:
        needed("nkeys")


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
    settings = handed_over(os.environ)
    if settings is None:
        print("encke: no settings were handed over; start with `encke serve`.", file=sys.stderr)
        return os.EX_USAGE
    from .. import log  # only once there is something to serve
    from .supervisor import serve

    _keep_closed()
    log.begin()
    try:
        return serve(settings)
    except BadSettings as error:
        print(f"encke: {error}", file=sys.stderr)
        return os.EX_USAGE


if __name__ == "__main__":
    sys.exit(main())
