"""``python -m encke`` is ``encke``."""

from .cli import main

main()
