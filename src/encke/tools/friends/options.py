"""What can be said to ``encke friends``, command by command."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ...described import Flag
from ...settings import Settings
from .files import Direction
from .graph import Tail

DEFAULTS = Settings()

Id = Annotated[str, Meta(description="User id."), Flag(metavar="ID", positional=True)]
Mutual = Annotated[bool, Meta(description="In both directions.")]


class OfServer(msgspec.Struct, frozen=True, kw_only=True):
    """What a command takes that asks a running server."""

    control: Annotated[
        str,
        Meta(description="Address of the server's control port."),
        Flag(metavar="URL", variable="ENCKE_CONTROL"),
    ] = f"http://{DEFAULTS.control}"
    api_key: Annotated[
        str,
        Meta(
            description="The server's key. Better in the environment: other users may see "
            "arguments."
        ),
        Flag(metavar="KEY", variable="ENCKE_API_KEY"),
    ] = ""


class OfStore(msgspec.Struct, frozen=True, kw_only=True):
    """What a command takes that opens the store itself."""

    data: Annotated[
        str | None,
        Meta(description=f"The server's --data. [default: {DEFAULTS.data}]"),
        Flag(metavar="DIR"),
    ] = None
    where: Annotated[
        str | None,
        Meta(description="The server's --friends: sqlite, or postgresql://... [default: sqlite]"),
        Flag(name="--friends", metavar="URL"),
    ] = None
    config: Annotated[
        Path | None,
        Meta(description="The server's file of settings."),
        Flag(metavar="FILE", variable="ENCKE_CONFIG"),
    ] = None


class Subscription(OfServer, frozen=True, kw_only=True):
    """``encke friends add``, and ``remove``"""

    subscriber: Annotated[
        str,
        Meta(description="Who gets what the other publishes."),
        Flag(metavar="SUBSCRIBER", positional=True),
    ]
    publisher: Annotated[
        str, Meta(description="Who publishes."), Flag(metavar="PUBLISHER", positional=True)
    ]
    mutual: Mutual = False


class Listing(OfServer, frozen=True, kw_only=True):
    """``encke friends list``, and ``subscribers``"""

    id: Id
    count: Annotated[bool, Meta(description="Only print how many there are.")] = False
    json: Annotated[
        bool,
        Meta(description="For programs: print each as JSON, in the form that load reads."),
    ] = False


class Load(OfStore, frozen=True, kw_only=True):
    """``encke friends load``"""

    file: Annotated[
        str, Meta(description="The file; - reads stdin."), Flag(metavar="FILE", positional=True)
    ]
    mutual: Mutual = False
    direction: Annotated[Direction, Meta(description="Which id of a line with a tab is which.")] = (
        Direction.SUBSCRIBER_PUBLISHER
    )
    skip_bad: Annotated[
        bool, Meta(description="Leave bad lines out instead of stopping at one.")
    ] = False


class Generate(msgspec.Struct, frozen=True, kw_only=True):
    """``encke friends generate``"""

    users: Annotated[int, Meta(ge=2, description="Users."), Flag(metavar="N")] = 1_000_000
    friends: Annotated[int, Meta(ge=1, description="Friends of each user."), Flag(metavar="N")] = 15
    tail: Annotated[Tail, Meta(description="On which side the popular ones are; see above.")] = (
        Tail.PUBLISHERS
    )
    first_id: Annotated[
        int, Meta(ge=0, description="The first user id; the others follow."), Flag(metavar="N")
    ] = 1
    seed: Annotated[
        int, Meta(description="The same seed makes the same graph."), Flag(metavar="N")
    ] = 0


class Stats(OfStore, frozen=True, kw_only=True):
    """``encke friends stats``"""

    plot: Annotated[
        Path | None,
        Meta(description="Draw the distribution to FILE, .png or .svg."),
        Flag(metavar="FILE"),
    ] = None
    json: Annotated[bool, Meta(description="For programs: print JSON.")] = False
