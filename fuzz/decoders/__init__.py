"""What must hold of each decoder, whatever bytes it is fed: a file for each kind of bytes.

Each says what comes out of an input, checks it (see `promises`), and has a Decoder: the check,
and pieces of which inputs are made.
"""

from .http import HTTP
from .ids import IDS
from .lines import NDJSON, SUBSCRIPTIONS
from .link import LINK
from .nats import NATS, NODES
from .sse import SSE_READER

DECODERS = (HTTP, LINK, NATS, NODES, NDJSON, SUBSCRIPTIONS, SSE_READER, IDS)
"""Every decoder. Its name is that of its directory of seeds."""
