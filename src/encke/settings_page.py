"""What there is to set, made from the descriptions in `encke.settings`.

``encke serve`` makes its flags from it, and docs/settings.md is what this prints::

    python -m encke.settings_page > docs/settings.md
"""

from .described import Described, described, written
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


def variable(setting: Described) -> str:
    """``ENCKE_MAX_CONNECTIONS``"""
    return "ENCKE_" + setting.name.upper()


def page() -> str:
    """The text of docs/settings.md."""
    return HEAD + "".join(
        f"| `{setting.flag}` | `{variable(setting)}` | {_code(written(setting.default))} "
        f"| {setting.range} | {setting.description} |\n"
        for setting in described(Settings)
    )


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    print(page(), end="")
