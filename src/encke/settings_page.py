"""What there is to set, made from the descriptions in `encke.settings`.

``encke serve`` makes its flags from it, and docs/settings.md is what this prints::

    python -m encke.settings_page > docs/settings.md
"""

from collections.abc import Iterator
from types import NoneType
from typing import get_args, get_type_hints

import msgspec
from msgspec import Meta

from .settings import Settings

HEAD = """\
# Settings

<!-- Made from src/encke/settings.py by: python -m encke.settings_page > docs/settings.md -->

Each setting can be given in three places; the later one wins:

1. a TOML file, `encke serve --config FILE` (or `ENCKE_CONFIG=FILE`): `max_connections = 100000`
2. the environment: `ENCKE_MAX_CONNECTIONS=100000`
3. a flag: `encke serve --max-connections 100000`

Flags show in the list of processes until the server has started, and in the shell's
history: give the API key in the environment or in the file.

| flag | variable | default | range | what it is |
|---|---|---|---|---|
"""


class Setting(msgspec.Struct, frozen=True):
    """One field of `Settings`."""

    name: str
    type: type
    default: str
    range: str
    description: str

    @property
    def flag(self) -> str:
        """``--max-connections``"""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """``ENCKE_MAX_CONNECTIONS``"""
        return "ENCKE_" + self.name.upper()


def settings() -> Iterator[Setting]:
    """All fields of `Settings`, in their order."""
    hints = get_type_hints(Settings, include_extras=True)
    defaults = Settings()
    for name in Settings.__struct_fields__:
        kind, *metas = get_args(hints[name])
        if NoneType in get_args(kind):  # None stands for a default that depends
            kind, *bounds = get_args(get_args(kind)[0])
            metas += bounds
        yield Setting(
            name,
            kind,
            _written(getattr(defaults, name)),
            ", ".join(_bounds(metas)),
            next(meta.description for meta in metas if meta.description),
        )


def _bounds(metas: list[Meta]) -> Iterator[str]:
    for meta in metas:
        for sign, bound in (("\u2265", meta.ge), (">", meta.gt), ("\u2264", meta.le)):
            if bound is not None:
                yield f"{sign} {_written(bound)}"


def _written(value: object) -> str:
    """`value` as one writes it in a flag; None: it isn't given."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def page() -> str:
    """The text of docs/settings.md."""
    return HEAD + "".join(
        f"| `{s.flag}` | `{s.variable}` | {f'`{s.default}`' if s.default else ''} "
        f"| {s.range} | {s.description} |\n"
        for s in settings()
    )


if __name__ == "__main__":
    print(page(), end="")
