"""The node's listening sockets.

What is set on a listening socket is inherited by the connections that it accepts
(Linux clones the socket), so timeouts cost no system call a connection.
"""

import os
import socket

from ..errors import BadSettings
from ..gateway.sockets import prepare
from ..settings import Settings, address


def public(settings: Settings) -> socket.socket:
    """The socket of the public port, shared by all gateways; raises BadSettings."""
    listener = _bound("listen", settings.listen)
    prepare(
        listener,
        probed=settings.keepalive > 0,
        user_timeout=settings.user_timeout,
        send_buffer=settings.send_buffer,
    )
    listener.listen(settings.backlog)
    listener.setblocking(False)
    return listener


def control(settings: Settings) -> socket.socket:
    """The socket of the control port; raises BadSettings."""
    listener = _bound("control", settings.control)
    listener.listen(128)
    return listener


def router_path() -> str:
    """A name for the router's socket, in the abstract namespace: no file stays behind.

    Others can see it, but the router takes links of its own user's processes only.
    """
    return f"\0encke-{os.urandom(16).hex()}"


def router(path: str) -> socket.socket:
    """The Unix socket at which the router awaits the gateways."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def name(listener: socket.socket) -> str:
    """HOST:PORT of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(flag: str, text: str) -> socket.socket:
    host, port = address(text)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise BadSettings(
            f"Can't bind to {text}: {reason}. Choose another address with --{flag}."
        ) from None
    return listener
