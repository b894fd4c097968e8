"""Who must let go of its connections in a forked process: they are the parent's."""

import os
import weakref
from typing import Protocol


class Forgetting(Protocol):
    """Something with connections."""

    def forget(self) -> None:
        """Let go of them in this process, so that the parent notices nothing; no other thread
        runs yet."""


_made: "weakref.WeakSet[Forgetting]" = weakref.WeakSet()


def at_fork(one: Forgetting) -> None:
    """Have it forget in each process that is forked from now on, as long as it lives."""
    _made.add(one)


def _forget() -> None:
    for one in list(_made):
        one.forget()


os.register_at_fork(after_in_child=_forget)
