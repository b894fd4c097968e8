"""What a benchmark is told: a struct of options, of which the command line is made.

A field with a Meta is an option of the command line, and msgspec checks what is given for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Self, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from encke.errors import BadSettings

Streams = Annotated[int, Meta(ge=1, description="Open streams.")]
Rounds = Annotated[int, Meta(ge=1, description="How often each contestant has its turn.")]
Minutes = Annotated[float, Meta(ge=0.01, description="How long messages are sent.")]
Rate = Annotated[float, Meta(ge=1, description="Messages a second.")]
Connections = Annotated[
    int,
    Meta(ge=0, description="Streams. 0: as many as this machine can hold, at most 1,000,000."),
]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a benchmark."""

    QUICK: ClassVar[Mapping[str, object]] = {}
    """Those of a smoke run of some seconds, if they aren't given."""

    @classmethod
    def quick(cls) -> Self:
        """Of a smoke run."""
        return msgspec.convert(cls.QUICK, cls)


def flags(kind: type[Options]) -> Iterator[tuple[FieldInfo, Meta]]:
    """The fields that are options, with what is said of them."""
    for field in msgspec.structs.fields(kind):
        for meta in get_args(field.type)[1:]:
            if isinstance(meta, Meta):
                yield field, meta


def names(given: str, known: Sequence[str], flag: str) -> list[str]:
    """The names in `given`, with commas between. Raises BadSettings."""
    found = [it.strip() for it in given.split(",")]
    for name in found:
        if name not in known:
            raise BadSettings(f"{flag} has {name!r}; there are {', '.join(known)}.")
    return found
