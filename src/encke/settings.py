"""Every setting of the server, with its default, its limits and its reason.

The command line's help and docs/settings.md are made from the descriptions here, so that a setting
is described in one place. Where its value comes from: `loading`.
"""

import os
import resource
from typing import Annotated

import msgspec
from msgspec import Meta

from .errors import BadSettings
from .sizes import MAX_MESSAGE

RESERVED_FILES = 128
"""Open files of a gateway that are not its capacity's: listeners, epolls, link, logs, and the
connections that it takes beyond its capacity (`gateway.cap`)."""

Bytes = Annotated[int, Meta(ge=1024, le=1 << 30)]
MessageBytes = Annotated[int, Meta(ge=1024, le=MAX_MESSAGE)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Timeout = Annotated[float, Meta(gt=0, le=86_400)]
Silence = Annotated[float, Meta(ge=1, le=60)]


def _described(description: str) -> Meta:
    return Meta(description=description)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server's settings; see each field's description."""

    # addresses
    listen: Annotated[str, _described("Public address, HOST:PORT. Port 0: a free one.")] = (
        "127.0.0.1:8000"
    )
    control: Annotated[
        str, _described("Address of the control port (state, metrics), HOST:PORT.")
    ] = "127.0.0.1:8001"
    control_connections: Annotated[
        Annotated[int, Meta(ge=1, le=15_000)],
        _described("Connections that the control port may have at the same time."),
    ] = 1_000
    api_key: Annotated[
        str,
        _described(
            "Key that senders and users of the control port must show "
            "(Authorization: Bearer KEY). Empty: none is asked for."
        ),
    ] = ""
    insecure: Annotated[bool, _described("Allow binding beyond loopback without an API key.")] = (
        False
    )
    allow_origin: Annotated[
        tuple[str, ...],
        _described(
            "Web origin whose pages may open streams and send (CORS), e.g. https://example.org; "
            "several: give it again, or commas between them. * lets all pages open streams, "
            "without cookies. None: only pages of the same origin."
        ),
    ] = ()
    allow_host: Annotated[
        tuple[str, ...],
        _described(
            "Name or address that Host may have besides this machine's own (localhost, 127.0.0.1, "
            "[::1], and those in --listen and --control), as a proxy in front passes it on, e.g. "
            "push.example.org; several: give it again, or commas between them. * for any. None: "
            "this machine's own only, but with an API key or --insecure any."
        ),
    ] = ()
    # processes
    gateways: Annotated[
        Annotated[int, Meta(ge=0, le=1000)] | None,
        _described(
            "Gateway processes to start with; else one a core. 0: this node is for senders only, "
            "whose messages go to other nodes (--nats); it opens no streams."
        ),
    ] = None
    max_connections: Annotated[
        int,
        Meta(ge=0, le=20_000_000),
        _described(
            "Most connections at the same time; more gateways are started as they are "
            "needed. 0: what the first gateways can hold. Beyond it senders are served (64 "
            "connections a gateway), and who asks for a stream is told to come back later."
        ),
    ] = 0
    hang_timeout: Annotated[
        Seconds,
        _described(
            "Time after which a process whose loop stands still is killed and replaced, seconds; "
            "at least 1. 0: never. By default another serves in its place within 10 s."
        ),
    ] = 9.0
    # friends
    data: Annotated[
        str,
        _described("Directory of what the server keeps: the friends. Made once it's needed."),
    ] = "encke-data"
    friends: Annotated[
        str,
        _described(
            "Where subscriptions are kept: sqlite (in --data); "
            "postgresql://USER:PASSWORD@HOST/DATABASE, which several nodes can share; or off. "
            "Empty: sqlite, and in a cluster off."
        ),
    ] = ""
    # cluster
    nats: Annotated[
        str,
        _described(
            "NATS servers that join this node with others, commas between them: "
            "nats://HOST:4222, or tls://; USER:PASSWORD@ or TOKEN@ before the host. "
            "Empty: this node is alone."
        ),
    ] = ""
    nats_credentials: Annotated[
        str, _described("File with the NATS credentials (.creds), or with an nkey seed.")
    ] = ""
    nats_ca: Annotated[
        str,
        _described(
            "File with the certificates that NATS servers' are checked against; with it TLS is "
            "insisted on."
        ),
    ] = ""
    nats_certificate: Annotated[
        str,
        _described("File with this node's certificate and key, for NATS servers that ask (TLS)."),
    ] = ""
    nats_silence: Annotated[
        Silence,
        _described(
            "Time after which a NATS server that answers no PING is taken for dead, seconds: "
            "what was handed on to it meanwhile is lost if it is."
        ),
    ] = 2.0
    nats_prefix: Annotated[
        str,
        _described("What the subjects in NATS begin with: systems that share a NATS differ in it."),
    ] = "encke"
    node_name: Annotated[
        str, _described("This node's name, as others see it. Empty: the host's name.")
    ] = ""
    cluster_timeout: Annotated[
        Timeout,
        _described("Time that other nodes have to answer a sender (?wait=cluster), seconds."),
    ] = 5.0
    # limits on requests
    head_limit: Annotated[Bytes, _described("Largest request head (line and headers), bytes.")] = (
        16 * 1024
    )
    body_limit: Annotated[
        MessageBytes,
        _described(
            "Largest message in POST /send/{id}, bytes: as it comes, and as it's written to the "
            "stream on which it takes most (on /events a line end is 7)."
        ),
    ] = 1024 * 1024
    line_limit: Annotated[
        MessageBytes,
        _described(
            "Longest line of an NDJSON body, bytes; its message may take as much on a stream."
        ),
    ] = 1024 * 1024
    head_timeout: Annotated[Timeout, _described("Time to send a whole request head, seconds.")] = (
        10.0
    )
    body_timeout: Annotated[
        Timeout, _described("Longest pause while a body is being sent, seconds.")
    ] = 30.0
    answer_timeout: Annotated[
        Timeout,
        _described(
            "Time that a sender waits for an answer, seconds; then it's told that it isn't known "
            "what became of its message (503). A publication for a million takes the most."
        ),
    ] = 60.0
    body_rate: Annotated[
        int,
        Meta(ge=0, le=1 << 30),
        _described(
            "Least rate of a body, or of a line of NDJSON, bytes a second: so many extend the time "
            "that it has by a second, up to --body-timeout. 0: none."
        ),
    ] = 1024
    bodies_total: Annotated[
        int,
        Meta(ge=1024, le=1 << 40),
        _described(
            "Bytes that may be kept of unfinished bodies in one gateway; when more would, those of "
            "which nothing has come for longest are refused (503). At least --body-limit and "
            "--line-limit."
        ),
    ] = 64 * 1024 * 1024
    idle_timeout: Annotated[
        Timeout,
        _described("Time that a kept-alive connection may wait for its next request, seconds."),
    ] = 75.0
    # streams
    connections_per_user: Annotated[
        int,
        Meta(ge=0),
        _described(
            "Streams that a user id may have on this node; one more is refused, as if the node "
            "were full. 0: any number."
        ),
    ] = 100
    queue_limit: Annotated[
        Bytes,
        _described(
            "Bytes that may wait for a slow client; when more would, the client is closed. "
            "One message may always wait, however large."
        ),
    ] = 1024 * 1024
    queue_total: Annotated[
        int,
        Meta(ge=64 * 1024, le=1 << 40),
        _described(
            "Bytes that may wait for all slow clients of one gateway; when more would, those that "
            "have taken nothing for longest are closed. What waits for several counts once. At "
            "least --queue-limit and the largest message."
        ),
    ] = 64 * 1024 * 1024
    send_buffer: Annotated[
        int,
        Meta(ge=16 * 1024, le=1 << 30),
        _described(
            "Bytes of a connection that the kernel may hold for a client (SO_SNDBUF; "
            "net.core.wmem_max cuts it): who is far away gets as much a round trip. Who doesn't "
            "read takes less."
        ),
    ] = 192 * 1024
    heartbeat: Annotated[
        Seconds,
        _described("Pause between heartbeats on /events and /stream streams, seconds. 0: none."),
    ] = 30.0
    retry: Annotated[
        Seconds,
        _described(
            "Time after which a browser reconnects, seconds; each client is told a random "
            "one between this and twice this, so that they don't all come back at once."
        ),
    ] = 2.0
    keepalive: Annotated[
        Seconds,
        _described("Pause between two TCP probes of a silent stream, seconds. 0: none."),
    ] = 120.0
    user_timeout: Annotated[
        Seconds,
        _described(
            "Time that TCP waits for a client to acknowledge data or probes, seconds; "
            "then the client is gone (TCP_USER_TIMEOUT). More than twice --keepalive, or one "
            "lost probe is enough. 0: the kernel's default."
        ),
    ] = 300.0
    # flow
    window: Annotated[
        Bytes,
        _described(
            "Bytes of messages of one gateway that may be under way to the router; when more "
            "would, senders are not read from. The last quarter is for short messages."
        ),
    ] = 4 * 1024 * 1024
    ack_timeout: Annotated[
        Timeout,
        _described(
            "Time that a gateway has to write a message, seconds; then its sender is told that it "
            "isn't known whether it was delivered (503), and whoever else the gateway holds isn't "
            "waited for either. As long may the router say nothing before a gateway says so itself."
        ),
    ] = 5.0
    backlog: Annotated[
        int,
        Meta(ge=1, le=65_535),
        _described("Connections that may wait to be accepted (see net.core.somaxconn)."),
    ] = 4096
    drain_timeout: Annotated[
        Seconds, _described("Time to end streams and answer senders after SIGTERM, seconds.")
    ] = 4.0


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[V6]:PORT`` as (host, port); raises BadSettings."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise BadSettings(f"{text!r} is no address; write HOST:PORT, e.g. 127.0.0.1:8000.")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)


def is_loopback(host: str) -> bool:
    """Whether `host` is reached from this machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """The names that Host may have besides loopback addresses; None: any."""
    allowed = settings.allow_host
    if "*" in allowed or (not allowed and (settings.api_key or settings.insecure)):
        return None
    own = {address(each)[0].lower() for each in (settings.listen, settings.control)}
    own -= {"0.0.0.0", "::"}  # any of this machine's addresses
    return frozenset(("localhost", *(f"[{it}]" if ":" in it else it for it in own), *allowed))


def friends_store(settings: Settings) -> str:
    """Where subscriptions are kept: "sqlite", "off", or a PostgreSQL URL."""
    return settings.friends or ("off" if settings.nats else "sqlite")


def files_limit() -> int:
    """The open-files limit of a process here (RLIMIT_NOFILE, hard)."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def gateway_capacity() -> int:
    """Connections that one gateway process can hold here; raises BadSettings if none."""
    capacity = files_limit() - RESERVED_FILES
    if capacity < 1:
        raise BadSettings(
            f"The open-files limit is {files_limit()}, which leaves no room for connections; "
            "raise it (ulimit -n, LimitNOFILE=). encke doctor says how far."
        )
    return capacity


def gateway_count(settings: Settings) -> int:
    """Gateways to start with."""
    if settings.gateways is None:
        return len(os.sched_getaffinity(0))
    return max(1, settings.gateways)  # senders need one too


def most_gateways(settings: Settings) -> int:
    """Gateways that there may be, once more are needed."""
    return max(gateway_count(settings), -(-connection_limit(settings) // gateway_capacity()))


def connection_limit(settings: Settings) -> int:
    """Connections that the whole node may hold."""
    return settings.max_connections or gateway_count(settings) * gateway_capacity()
