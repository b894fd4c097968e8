"""A command's flags, made from the structure that describes them.

Invariant: what the help says of a flag is what the structure says of its field, and nothing else.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

import msgspec
import typer
from msgspec import NODEFAULT

from .described import Described, described

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def taking(
    options: type[msgspec.Struct],
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Makes a command of a function whose last argument is `options`: with a flag, or an
    argument, for each field. What comes before the last is typer's to give."""

    def command(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        *before, last = inspect.signature(function, eval_str=True).parameters.values()
        fields = list(described(options))

        @functools.wraps(function)
        def called(*_: Arguments.args, **given: Arguments.kwargs) -> Result:
            flags = {field.name: given.pop(field.name) for field in fields}
            for field in fields:
                if field.many:
                    values = flags[field.name]
                    flags[field.name] = tuple(values) if isinstance(values, list) else ()
            given[last.name] = options(**flags)
            return function(**given)  # type: ignore[call-arg]

        called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # typer reads it
            [
                *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in before),
                *map(_parameter, fields),
            ]
        )
        return called

    return command


def _parameter(field: Described) -> inspect.Parameter:
    default, kind = field.default, field.type
    hint: object = kind
    if field.many:
        hint = list[kind]  # type: ignore[valid-type]
    if field.many and not field.given.positional:
        hint, default = list[kind] | None, None  # type: ignore[valid-type]
    elif field.optional:
        hint = kind | None
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is NODEFAULT else default,
        annotation=Annotated[hint, _option(field)],
    )


def _option(field: Described) -> object:
    given = field.given
    if given.positional:
        return typer.Argument(
            metavar=given.metavar or None, help=field.description, show_default=False
        )
    return typer.Option(
        *[field.flag, given.short][: 1 + bool(given.short)],
        metavar=given.metavar or None,
        envvar=given.variable or None,
        help=field.description,
        min=field.least,
        max=field.most,
        show_default=(given.shown or True) if field.shown else False,
    )
