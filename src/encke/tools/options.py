"""What can be said to the commands that are one function: send, publish, listen, nodes, doctor.

Invariant: imports little, since every command is made of it.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from ..described import Flag
from ..settings import Settings

DEFAULTS = Settings()

Id = Annotated[str, Meta(description="User id."), Flag(metavar="ID", positional=True)]
To = Annotated[
    str,
    Meta(description="Address of the server."),
    Flag(metavar="URL", variable="ENCKE_URL"),
]
ApiKey = Annotated[
    str,
    Meta(description="Key for sending. Better in the environment: other users may see arguments."),
    Flag(metavar="KEY", variable="ENCKE_API_KEY"),
]
HERE = f"http://{DEFAULTS.listen}"


class ThroughNats(msgspec.Struct, frozen=True, kw_only=True):
    """What a command takes that can go through NATS instead of a node."""

    nats: Annotated[
        str,
        Meta(description="Through NATS instead, without a node: nats://HOST:4222."),
        Flag(metavar="URL"),
    ] = ""
    nats_prefix: Annotated[
        str,
        Meta(description="The nodes' prefix there."),
        Flag(metavar="PREFIX", variable="ENCKE_NATS_PREFIX"),
    ] = DEFAULTS.nats_prefix
    nats_credentials: Annotated[
        str,
        Meta(description="File with NATS credentials (.creds), or with an nkey seed."),
        Flag(metavar="FILE", variable="ENCKE_NATS_CREDENTIALS"),
    ] = ""
    nats_ca: Annotated[
        str,
        Meta(description="File with the certificates that NATS servers' are checked against."),
        Flag(metavar="FILE", variable="ENCKE_NATS_CA"),
    ] = ""
    nats_certificate: Annotated[
        str,
        Meta(description="File with your certificate and key, for NATS servers that ask."),
        Flag(metavar="FILE", variable="ENCKE_NATS_CERTIFICATE"),
    ] = ""


class Sending(ThroughNats, frozen=True, kw_only=True):
    """``encke send``, and ``encke publish``"""

    id: Id
    message: Annotated[
        str,
        Meta(description="The message; - reads it from stdin."),
        Flag(metavar="MESSAGE", positional=True),
    ]
    to: To = HERE
    api_key: ApiKey = ""


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """``encke listen``"""

    id: Id
    to: To = HERE
    json: Annotated[
        bool, Meta(description="Print each message as JSON: always one line a message.")
    ] = False


class Nodes(ThroughNats, frozen=True, kw_only=True):
    """``encke nodes``"""

    control: Annotated[
        str,
        Meta(description="Control port of one of them."),
        Flag(metavar="URL", variable="ENCKE_CONTROL"),
    ] = f"http://{DEFAULTS.control}"
    api_key: ApiKey = ""
    json: Annotated[bool, Meta(description="For programs: print JSON.")] = False


class Doctor(msgspec.Struct, frozen=True, kw_only=True):
    """``encke doctor``"""

    connections: Annotated[
        int,
        Meta(ge=0, description="Connections. 0: as many as `encke serve` takes by default."),
        Flag(metavar="N"),
    ] = 0
    json: Annotated[bool, Meta(description="For programs: print JSON.")] = False
