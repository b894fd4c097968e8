"""The server's log: one logfmt line an event that an operator would want, on stderr.

    ts=2026-11-23T08:00:00.123Z level=info event=ready listen=127.0.0.1:8000 pid=4711

None a message, none a connection: those are counted (see the metrics).

Writing never waits and never fails: a line that stderr doesn't take at once (a full pipe or disk,
a reader that went away) is dropped, and counted. What the server inherits is often shared with
others, to whom O_NONBLOCK would be a surprise, so stderr isn't set to it: `begin` opens the pipe or
terminal anew (proc(5)) for this process and those that it forks, and asks a socket not to wait.
Where it may not be opened anew, a line is written if poll(2) says that there's room, which somebody
else can take in between. A file on a disk that hangs is waited for.
"""

import contextlib
import fcntl
import os
import select
import socket
import stat
import time
from collections.abc import Callable

LONGEST = select.PIPE_BUF
"""Bytes of a line at most: what a pipe takes as a whole, or not at all."""

HEAD, TAIL = 1_000, 2_000
"""Characters that are left of a longer value: a traceback's end says most."""

_QUOTED = set(' "=\n\t\r')
_STDERR = 2


def info(event: str, **fields: object) -> None:
    """Log something that is as it should be."""
    _log("info", event, fields)


def warning(event: str, **fields: object) -> None:
    """Log something that an operator may have to look at."""
    _log("warning", event, fields)


def error(event: str, **fields: object) -> None:
    """Log something that an operator must look at."""
    _log("error", event, fields)


class _Output:
    """Where lines go."""

    def __init__(self, put: Callable[[bytes], int]) -> None:
        """`put` writes without waiting, and returns how much it could; or raises OSError."""
        self._put = put
        self._rest = b""  # a line that was cut has no end
        self.dropped: Callable[[], None] = lambda: None

    def write(self, line: bytes) -> None:
        line = self._rest + line
        try:
            written = self._put(line)
        except OSError:
            written = 0
        if written < len(line):
            self.dropped()
        if written:
            self._rest = b"" if written == len(line) else b"\n"


def _put_if_ready(line: bytes) -> int:
    poll = select.poll()
    poll.register(_STDERR, select.POLLOUT)
    return os.write(_STDERR, line) if poll.poll(0) else 0


_output = _Output(_put_if_ready)


def begin() -> None:
    """See to it that writing doesn't wait, also for what libraries say on stderr. To be called once
    in the server's first process."""
    global _output  # noqa: PLW0603 (a process has one stderr)
    if fcntl.fcntl(_STDERR, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        return  # it was closed
    kind = stat.S_IFMT(os.fstat(_STDERR).st_mode)
    if kind == stat.S_IFSOCK:
        own = socket.socket(fileno=os.dup(_STDERR))
        _output = _Output(lambda line: own.send(line, socket.MSG_DONTWAIT))
    elif kind in (stat.S_IFIFO, stat.S_IFCHR):
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            anew = os.open(f"/proc/self/fd/{_STDERR}", flags)
            os.dup2(anew, _STDERR)
            os.close(anew)


def count_dropped(count: Callable[[], None]) -> None:
    """Call `count` for each line that this process drops from now on."""
    _output.dropped = count


def _log(level: str, event: str, fields: dict[str, object]) -> None:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
    pairs = "".join(f" {name}={_value(value)}" for name, value in fields.items())
    line = f"ts={stamp} level={level} event={event}{pairs}".encode(errors="backslashreplace")
    _output.write(line[: LONGEST - 2] + b"\n")


def _value(value: object) -> str:
    text = str(value)
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]} ... {text[-TAIL:]}"
    if text and not _QUOTED.intersection(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
