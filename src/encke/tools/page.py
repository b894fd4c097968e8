"""What there is to say to the tools, made from the structures that describe it::

python -m encke.tools.page > docs/tools.md
"""

from collections.abc import Iterator

import msgspec

from ..described import Described, described
from . import options
from .flood.plan import Plan as Flood
from .friends import options as friends
from .generate.plan import Plan as Generate
from .watch.options import Plot, Watch

HEAD = """\
# Tools

<!-- Made from src/encke/tools by: python -m encke.tools.page > docs/tools.md -->

The commands beside `encke serve`, whose settings have [a page of their own](settings.md).
What each does, with examples, is in its help: `encke flood --help`.
"""

COMMANDS: dict[str, type[msgspec.Struct]] = {
    "send": options.Sending,
    "publish": options.Sending,
    "listen": options.Listen,
    "friends add": friends.Subscription,
    "friends remove": friends.Subscription,
    "friends list": friends.Listing,
    "friends subscribers": friends.Listing,
    "friends load": friends.Load,
    "friends export": friends.OfStore,
    "friends generate": friends.Generate,
    "friends stats": friends.Stats,
    "nodes": options.Nodes,
    "doctor": options.Doctor,
    "watch": Watch,
    "watch plot": Plot,
    "flood": Flood,
    "generate": Generate,
}
"""What describes each command."""


def page() -> str:
    """The text of docs/tools.md."""
    return HEAD + "".join(
        "\n".join(["", f"## encke {command}", "", *_rows(structure), ""])
        for command, structure in COMMANDS.items()
    )


def _rows(structure: type[msgspec.Struct]) -> Iterator[str]:
    yield "| flag | variable | default | range | what it is |"
    yield "|---|---|---|---|---|"
    for field in described(structure):
        cells = [
            f"`{_flag(field)}`",
            _code(field.given.variable),
            _code(field.shown),
            field.range,
            field.description.replace("|", "\\|"),
        ]
        yield f"| {' | '.join(cells)} |"


def _flag(field: Described) -> str:
    """As it's written: ``--connections N, -n N``; an argument by its name alone."""
    given = field.given
    if given.positional:
        return given.metavar
    names = [field.flag, given.short] if given.short else [field.flag]
    return ", ".join(f"{name} {given.metavar}".rstrip() for name in names)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    print(page(), end="")
