"""The control process's entrance, light enough to be imported before the fork.

Starlette, uvicorn and prometheus_client weigh more than all gateways together, and
pages that were imported before the fork are in everyone's memory once a process
writes to them. So `run` imports them in the child, and nothing else here does.

May import: settings, scoreboard, lean.
"""

import gc
import signal
import socket

from ..scoreboard import Scoreboard
from ..settings import Settings
from .lean import be_lean


def run(
    settings: Settings, scoreboard: Scoreboard, listener: socket.socket, lifeline: int, row: int
) -> None:
    """Be the control process, in a freshly forked child; returns when it is to end.

    `listener` is bound and listening; `row` is this process's index in `scoreboard`.
    It ends, with the answers under way sent, on SIGTERM; and when `lifeline`, the read
    end of a pipe whose write end only the supervisor holds, says that the supervisor
    is gone. Ctrl-C reaches every process of the terminal: that is for the supervisor.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # while nothing is served yet
    gc.enable()
    be_lean(tls=bool(settings.nats))  # NATS may want it
    from .server import serve

    serve(settings, scoreboard, listener, lifeline, scoreboard.row(row))
