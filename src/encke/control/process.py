"""The control process's entrance, light enough to be imported before the fork.

What it serves with is imported in the child: no other process needs it, and pages that were
imported before the fork are in everyone's memory once a process writes to them.
"""

import gc
import signal
import socket

from ..scoreboard import Scoreboard
from ..settings import Settings


def run(
    settings: Settings,
    scoreboard: Scoreboard,
    listener: socket.socket,
    lifeline: int,
    row: int,
    router_path: str = "",
) -> None:
    """Be the control process, in a freshly forked child; returns when it is to end.

    `listener` is bound and listening; `row` is this process's index in `scoreboard`;
    `router_path` is the router's socket, or empty if no router is a process of its own.
    It ends, with the answers under way sent, on SIGTERM; and when `lifeline`, the read
    end of a pipe whose write end only the supervisor holds, says that the supervisor
    is gone. Ctrl-C reaches every process of the terminal: that is for the supervisor.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # while nothing is served yet
    gc.enable()
    from .server import serve

    serve(settings, scoreboard, listener, lifeline, scoreboard.row(row), router_path)
