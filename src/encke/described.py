"""What can be set, read from the structures that describe it: the server's, and each tool's.

A field says all that there is to say of it, once::

    class Plan(msgspec.Struct, kw_only=True):
        every: Annotated[
            float, Meta(ge=0.1, description="Seconds between two lines."), Flag(metavar="S")
        ] = 10.0

From that the command line has its flag (`flags`), and docs/ has its row.

Pure.
"""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """How a field is given on the command line, as far as its name doesn't say it."""

    name: str = ""
    """Instead of the field's own, ``--like-this``."""
    short: str = ""
    """``-l``"""
    metavar: str = ""
    variable: str = ""
    """The one of the environment that it's taken from."""
    shown: str | None = None
    """What stands for the default; None: itself; empty: nothing."""
    positional: bool = False
    """It's an argument, and no flag."""


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a structure."""

    name: str
    type: type
    """Of each value, if there may be `many`."""
    many: bool
    optional: bool
    """None stands for a default that depends on other things."""
    default: object
    """NODEFAULT: it must be given."""
    metas: tuple[Meta, ...]
    description: str
    given: Flag

    @property
    def flag(self) -> str:
        """``--max-connections``"""
        return self.given.name or "--" + self.name.replace("_", "-")

    @property
    def least(self) -> float | None:
        """No less is taken."""
        return next((meta.ge for meta in self.metas if meta.ge is not None), None)

    @property
    def most(self) -> float | None:
        """No more is taken."""
        return next((meta.le for meta in self.metas if meta.le is not None), None)

    @property
    def range(self) -> str:
        """``≥ 1, ≤ 1000``; empty: any."""
        return ", ".join(
            f"{sign} {written(bound)}"
            for meta in self.metas
            for sign, bound in (("\u2265", meta.ge), (">", meta.gt), ("\u2264", meta.le))
            if bound is not None
        )

    @property
    def shown(self) -> str:
        """The default as a reader is told it; empty: there's nothing to say."""
        if self.given.shown is not None:
            return self.given.shown
        if self.default is False or self.default in (NODEFAULT, None, (), ""):
            return ""
        return written(self.default)


def described(structure: type[msgspec.Struct]) -> Iterator[Described]:
    """All fields: its own in their order, then those of what it's made from."""
    hints = get_type_hints(structure, include_extras=True)
    defaults = {field.name: field.default for field in msgspec.structs.fields(structure)}
    for kind in structure.__mro__:
        for name in vars(kind).get("__annotations__", ()):
            if name in defaults:
                yield _described(name, hints[name], defaults.pop(name))


def _described(name: str, hint: object, default: object) -> Described:
    metas: list[Meta] = []
    given = Flag()
    many = optional = False
    while True:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            hint, *said = arguments
            metas += [each for each in said if isinstance(each, Meta)]
            given = next((each for each in said if isinstance(each, Flag)), given)
        elif origin in (Union, UnionType):
            optional = True
            [hint] = [each for each in arguments if each is not NoneType]
        elif origin is tuple:
            many = True
            hint = arguments[0]
        else:
            break
    assert isinstance(hint, type)
    return Described(
        name=name,
        type=hint,
        many=many,
        optional=optional,
        default=default,
        metas=tuple(metas),
        description=next(meta.description for meta in metas if meta.description),
        given=given,
    )


def written(value: object) -> str:
    """`value` as one writes it in a flag; None: it isn't given."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(written, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
