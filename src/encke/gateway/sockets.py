"""A connection's socket: what the kernel keeps for it; how its writing side ends; how a client that
is gone is found.

What the kernel keeps. Left to itself, it takes up to 4 MB for a client that doesn't read
(net.ipv4.tcp_wmem), and the gateway, which counts and limits what waits for a client, sees nothing
of that. Two bounds, measured on Linux 6.18 (docs/adr/0015):

- SO_SNDBUF (`--send-buffer`) is the most that it may hold, sent and not acknowledged or not sent:
  twice as much by its own book-keeping. It also bounds how much is on its way to a client that is
  far away, so it isn't small.
- TCP_NOTSENT_LOWAT is how much of it may not be sent yet. Who doesn't read gets no more once their
  own buffer is full, and so takes this here; what is on its way to those who read isn't bounded
  by it.

Who is gone without a word is found by TCP, when it's told to look.

The kernel's own keepalive timers don't do for very many connections. It rounds a timer of
a minute to two seconds, and fires those of one round at once: of a million, 30,000 probes
in one go, while a queue of 1,000 packets (net.core.netdev_max_backlog, or a network
card's) drops what is over, so that living clients are lost. So the kernel is told never
to probe by itself, and each connection is probed when its turn comes, see Streams.beat.

Who doesn't answer a probe is gone once TCP_USER_TIMEOUT has passed since their last sign
of life, at the next probe. RFC 9293, 3.8.4; tcp(7); kernel: tcp_sock_set_keepidle_locked().
"""

import fcntl
import socket
import sys
import termios

_NEVER = 32767
"""Seconds; the most that Linux takes."""


NOT_SENT = 16 * 1024
"""Bytes not sent yet from which on the kernel takes no more for a connection. It counts in whole
buffers, so for who doesn't read it's some 50 KB; less than this is no less."""


def prepare(
    listener: socket.socket, *, probed: bool, user_timeout: float, send_buffer: int
) -> None:
    """Set what the connections that `listener` accepts inherit; `user_timeout` in seconds,
    `send_buffer` in bytes."""
    option = listener.setsockopt
    option(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT)
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


def peek(fd: int) -> bytes:
    """The first byte that waits to be read, or none if the client has ended its side. Raises
    OSError."""
    connection = _borrowed(fd)
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    finally:
        connection.detach()


def unread(fd: int) -> int:
    """Bytes that wait to be read (SIOCINQ, tcp(7))."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def _borrowed(fd: int) -> socket.socket:
    """A socket object for a descriptor, to be detached. It is told family and type, or it would ask
    the kernel for them."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
