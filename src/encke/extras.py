"""Packages that not every installation has, and what to type to have them.

They are asked for before anything begins: by ``encke serve`` before it becomes the server, by a
tool before it measures.
"""

import importlib
from types import ModuleType

from .errors import MissingExtra

EXTRAS = {
    "igraph": ("graph", "graph"),
    "matplotlib": ("plot", "plot"),
    "nats": ("cluster", "command through NATS"),
    "nkeys": ("cluster", "signing with NATS credentials"),
    "psycopg": ("postgres", "PostgreSQL"),
    "psycopg_pool": ("postgres", "PostgreSQL"),
}
"""Module -> (the extra that it comes with, what there isn't without it)."""


def needed(module: str) -> ModuleType:
    """`module`, one of EXTRAS, imported; raises MissingExtra if it can't be."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(module, error) from None


def missing(module: str, error: ImportError) -> MissingExtra:
    """What to say if importing `module`, one of EXTRAS, or what is made of it, raised `error`."""
    extra, what = EXTRAS[module]
    lack = "isn't installed"
    if not isinstance(error, ModuleNotFoundError):
        lack = f"can't be loaded ({' '.join(str(error).split()).rstrip('.')})"
    return MissingExtra(
        f"{error.name or module} {lack}, and without it there's no {what}; install it: "
        f"pip install 'encke[{extra}]'"
    )
