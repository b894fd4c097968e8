"""How a link to NATS is to be: what its owner decides, with defaults and reasons."""

import msgspec


class NatsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One link's options."""

    servers: str = "nats://127.0.0.1:4222"
    """URLs, commas between them: nats://HOST:PORT or tls://HOST:PORT, with USER:PASSWORD@ or
    TOKEN@ before the host. Others of their cluster are learned from them."""
    credentials: str = ""
    """File with a JWT and its nkey seed (.creds), or with an nkey seed only."""
    tls_ca: str = ""
    """File with the certificates that are trusted; empty: the system's."""
    tls_certificate: str = ""
    """File with our certificate and its key, for servers that verify their clients."""
    name: str = "encke"
    """Our name in the server's list of connections."""
    version: str = ""
    """Ours, in the same list."""
    silence: float = 2.0
    """Seconds after which a server that says nothing is taken for dead; it's asked (PING)
    after a third of that, or sooner. A link that is dead unnoticed loses messages, so not the
    minutes that NATS clients take. Less than 1 s is less than what the clock here can tell."""
    connect_timeout: float = 5.0
    """Seconds for one address, from name to PONG."""
    retry_limit: float = 10.0
    """Longest pause between attempts, in seconds: what a node is late for at worst when NATS
    is back."""
    buffer: int = 8 * 1024 * 1024
    """Bytes that may wait for NATS to take them; then publishing is refused. A second's worth
    of 100,000 messages."""

    @property
    def tls(self) -> bool:
        """Whether TLS is insisted on, whatever the URLs begin with: who names a file for it wants
        it, and who stands in between could say that it isn't needed, and see the password."""
        return bool(self.tls_ca or self.tls_certificate)
