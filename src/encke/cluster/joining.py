"""A node's place among others, as its settings have it."""

import os

from ..errors import BadSettings
from ..reactor.loop import Reactor
from ..settings import Settings
from ..version import VERSION
from ..wire.subjects import Subjects
from .local_router import LocalRouter
from .options import NatsOptions
from .peers import Peers
from .servers import parse


def join(settings: Settings, reactor: Reactor, router: LocalRouter) -> Peers:
    """The other nodes, for `router`; to be started.

    Raises BadSettings if a setting is of no use.
    """
    return Peers(
        reactor,
        options(settings),
        Subjects(settings.nats_prefix),
        router,
        timeout=settings.cluster_timeout,
        patience=settings.head_timeout + 1,
        body_limit=settings.body_limit,
    )


def options(settings: Settings) -> NatsOptions:
    """The options of a node's link."""
    return NatsOptions(
        servers=settings.nats,
        credentials=settings.nats_credentials,
        tls_ca=settings.nats_ca,
        tls_certificate=settings.nats_certificate,
        silence=settings.nats_silence,
        name=settings.node_name or os.uname().nodename,
        version=VERSION,
    )


def check(settings: Settings) -> None:
    """Raises BadSettings if a setting is of no use, as far as that can be told beforehand."""
    parse(settings.nats)
    Subjects(settings.nats_prefix)
    for name in ("nats_credentials", "nats_ca", "nats_certificate"):
        file = getattr(settings, name)
        if file and not os.access(file, os.R_OK):
            flag = "--" + name.replace("_", "-")
            raise BadSettings(f"{flag} {file} can't be read: name another file, or let it be read.")
