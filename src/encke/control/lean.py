"""Keeps out of the control process what it never uses: 7 MB, a sixth of a node.

Starlette and uvicorn, and what they import, bring along OpenSSL, uvicorn's command line
(click, multiprocessing), the configuration of logging (pickle, socketserver) and the names
of all HTML characters. The control port speaks no TLS (a proxy in front does), is started
by its supervisor, logs as the other processes do, and reads no HTML. So such a module is
one here whose every name is a constant 0 or an exception class that nobody raises. Others
are known to be missing now and then, and done without: libcrypto's hashes, bz2, lzma.

May import: nothing of Encke.
"""

import sys
from types import ModuleType

_NEVER_USED = ("uvicorn.main", "logging.config", "configparser", "html.entities")
_DONE_WITHOUT = ("bz2", "lzma")
_FOR_TLS = ("ssl", "asyncio.sslproto")


class _Absent(ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0 if name.isupper() else type(name, (Exception,), {})


def be_lean(*, tls: bool) -> None:
    """Call it in the control process before it imports asyncio. `tls`: something else than the
    control port needs it."""
    for name in _NEVER_USED if tls else (*_NEVER_USED, *_FOR_TLS):
        if name not in sys.modules:
            sys.modules[name] = _Absent(name)
    for name in _DONE_WITHOUT if tls else (*_DONE_WITHOUT, "_hashlib"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
