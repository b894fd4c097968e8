"""What is read from a structure that describes what can be set."""

from typing import Annotated

import msgspec
from msgspec import NODEFAULT, Meta

from encke.described import Flag, described


class Base(msgspec.Struct, kw_only=True):
    """What others share."""

    api_key: Annotated[str, Meta(description="The key."), Flag(variable="KEY")] = ""


class Options(Base, kw_only=True):
    """A command's."""

    id: Annotated[str, Meta(description="User id."), Flag(metavar="ID", positional=True)]
    count: Annotated[int, Meta(ge=1, le=9, description="How many."), Flag(short="-c")] = 3
    pause: Annotated[float | None, Meta(description="Seconds.")] = None
    port: Annotated[
        tuple[Annotated[int, Meta(gt=0)], ...],
        Meta(description="Some."),
        Flag(name="--of", shown="all"),
    ] = ()
    quick: Annotated[bool, Meta(description="Faster.")] = False
    zero: Annotated[int, Meta(description="None at all.")] = 0


def test_fields_are_read() -> None:
    """Their own first, then the shared ones; each as it was said."""
    fields = {field.name: field for field in described(Options)}
    assert list(fields) == ["id", "count", "pause", "port", "quick", "zero", "api_key"]
    assert [field.type for field in fields.values()] == [str, int, float, int, bool, int, str]
    assert fields["id"].default is NODEFAULT
    assert fields["id"].given.positional
    assert (fields["count"].least, fields["count"].most) == (1, 9)
    assert fields["count"].range == "\u2265 1, \u2264 9"
    assert fields["pause"].optional
    assert fields["port"].many
    assert fields["port"].range == "> 0"
    assert [field.flag for field in fields.values()] == [
        "--id", "--count", "--pause", "--of", "--quick", "--zero", "--api-key",
    ]  # fmt: skip
    assert fields["api_key"].given.variable == "KEY"


def test_what_a_reader_is_told_of_a_default() -> None:
    """Nothing of what is not given, or off; a zero is something."""
    shown = {field.name: field.shown for field in described(Options)}
    assert shown == {
        "id": "", "count": "3", "pause": "", "port": "all", "quick": "", "zero": "0", "api_key": "",
    }  # fmt: skip
