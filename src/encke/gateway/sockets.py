"""A connection's socket: how its writing side ends; how a client that is gone is found.

Who is gone without a word is found by TCP, when it's told to look.

The kernel's own keepalive timers don't do for very many connections. It rounds a timer of
a minute to two seconds, and fires those of one round at once: of a million, 30,000 probes
in one go, while a queue of 1,000 packets (net.core.netdev_max_backlog, or a network
card's) drops what is over, so that living clients are lost. So the kernel is told never
to probe by itself, and each connection is probed when its turn comes, see Streams.beat.

Who doesn't answer a probe is gone once TCP_USER_TIMEOUT has passed since their last sign
of life, at the next probe. RFC 9293, 3.8.4; tcp(7); kernel: tcp_sock_set_keepidle_locked().
"""

import socket

_NEVER = 32767
"""Seconds; the most that Linux takes."""


def prepare(listener: socket.socket, *, probed: bool, user_timeout: float) -> None:
    """Set what the connections that `listener` accepts inherit; `user_timeout` in seconds."""
    option = listener.setsockopt
    option(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if probed:
        option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _NEVER)
        option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _NEVER)
    if user_timeout:
        option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(user_timeout * 1000))


def probe(fd: int) -> None:
    """Let TCP send a probe now, unless there was a sign of life in the last second.

    A timer that is set anew fires at once if the silence is longer than its time; then
    it's set to the interval, which is _NEVER.
    """
    connection = _borrowed(fd)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    finally:
        connection.detach()


def end_writing(fd: int) -> None:
    """Tell the client that nothing more comes. Raises OSError if it has gone."""
    connection = _borrowed(fd)
    try:
        connection.shutdown(socket.SHUT_WR)
    finally:
        connection.detach()


def _borrowed(fd: int) -> socket.socket:
    """An object for a descriptor, to be detached; of which kind it is needn't be asked."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
