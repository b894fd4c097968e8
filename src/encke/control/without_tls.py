"""Keeps OpenSSL out of the control process: 4 MB, a tenth of a node with 10,000 streams.

asyncio and uvicorn import `ssl` whether or not it's used, and hashlib brings libcrypto
for hashes that Python has of its own. The control port speaks no TLS (a proxy in
front does), so `ssl` is a module here whose every name is a constant 0 or an exception
class that nobody raises; `hashlib` does without libcrypto by itself where there is none.

May import: nothing of Encke.
"""

import sys
from types import ModuleType


class _Absent(ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0 if name.isupper() else type(name, (Exception,), {})


def leave_out_tls() -> None:
    """Call it before asyncio is imported, in a process that will never speak TLS."""
    if "ssl" not in sys.modules:
        sys.modules["ssl"] = _Absent("ssl")
    sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]
