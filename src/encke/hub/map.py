"""The router's map: which connections a user id is logged in on.

Two of the article's three verbs: `login(id, handle)` and `logout(handle)`. The third,
`send(id, message)`, is the hub's, which asks `find(id)`. One handle may be logged in under
several ids, one id may have several handles. At a million users the map takes about 140
bytes a user::

    _handles   dict  id (bytes) ----> handle (int)            one connection
                                  \\-> (handle, handle, ...)   a few
                                  \\-> Crowd                   many
    _ids       dict  gateway -> list, by slot
                                ----> id                      the same bytes object
                                  \\-> (id, id, ...)           several
                                  \\-> None                    no one logged in

Invariants: a handle stands under an id exactly if the id stands in the handle's
slot. A slot belongs to one generation at a time: logging a newer generation in
ends what the older one was logged in under. A login and a logout cost the same, however
many connections an id has.

Pure.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..ids import GATEWAY_SHIFT, SLOT_MASK, row_of

T = TypeVar("T", bytes, int)

A_FEW = 8
"""Handles of an id that are kept as a tuple; it's made anew with each change."""


class Crowd:
    """The handles of an id that has many, by their rows: each comes and goes alone."""

    __slots__ = ("_handles", "id")

    def __init__(self, id: bytes, handles: Iterable[int]) -> None:
        self.id = id
        self._handles = {row_of(handle): handle for handle in handles}

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[int]:
        """As they are now: whoever writes to them may find one broken, and log it out."""
        return iter(tuple(self._handles.values()))

    def __contains__(self, handle: int) -> bool:
        return self._handles.get(row_of(handle)) == handle

    def add(self, handle: int) -> None:
        self._handles[row_of(handle)] = handle

    def remove(self, row: int) -> None:
        """Whoever has it."""
        self._handles.pop(row, None)


Handles = int | tuple[int, ...] | Crowd
"""The handles of an id: one, or several."""


class RouterMap:
    """User ids and the connections that they are logged in on."""

    __slots__ = ("_handles", "_ids", "changes", "find", "logins")

    def __init__(self) -> None:
        self._handles: dict[bytes, Handles] = {}
        self._ids: dict[int, list[bytes | tuple[bytes, ...] | None]] = {}
        self.find = self._handles.get
        """`find(id)`: the one handle of `id`, all of them if it has several, None if none."""
        self.logins = 0
        """Number of (id, handle) pairs."""
        self.changes: dict[bytes, bool] | None = None
        """Ids that have come (True) or gone (False); kept only if set to a dict, which whoever
        did so must empty."""

    def __len__(self) -> int:
        """Number of user ids with at least one connection."""
        return len(self._handles)

    def login(self, id: bytes, handle: int, most: int = 0) -> bool:
        """Log the connection `handle` in as `id`; twice is the same as once. False: `id` has `most`
        connections already (0: any number is fine), and this one isn't logged in."""
        slots = self._ids.get(handle >> GATEWAY_SHIFT)
        if slots is None:
            slots = self._ids[handle >> GATEWAY_SHIFT] = []
        slot = handle & SLOT_MASK
        if slot >= len(slots):
            slots.extend([None] * (slot + 1 - len(slots)))
        held = slots[slot]
        if held is not None:
            if not self._holds(held, handle):
                self._end(slots, slot, handle)
                held = None
            elif id == held or (isinstance(held, tuple) and id in held):
                return True
        others = self._handles.get(id)
        if others is None:
            self._handles[id] = handle
            if self.changes is not None:
                self.changes[id] = True
        elif most and (1 if isinstance(others, int) else len(others)) >= most:
            return False
        else:
            id = self._known(id, others)
            if isinstance(others, Crowd):
                others.add(handle)
            else:
                several = (*_each(others), handle)
                self._handles[id] = Crowd(id, several) if len(several) > A_FEW else several
        slots[slot] = id if held is None else (*_each(held), id)
        self.logins += 1
        return True

    def login_many(self, ids: Iterable[bytes], handles: Iterable[int], most: int = 0) -> list[int]:
        """Log each of `handles` in as the id at the same place in `ids`; returns those for whose
        ids it would be more than `most`."""
        login = self.login
        pairs = zip(ids, handles, strict=True)
        return [handle for id, handle in pairs if not login(id, handle, most)]

    def logout(self, handle: int) -> bool:
        """Log `handle` out of everything; False if it wasn't logged in (a stale one)."""
        slots = self._ids.get(handle >> GATEWAY_SHIFT)
        slot = handle & SLOT_MASK
        if slots is None or slot >= len(slots):
            return False
        held = slots[slot]
        if held is None or not self._holds(held, handle):
            return False
        self._end(slots, slot, handle)
        return True

    def logout_gateway(self, gateway: int) -> None:
        """Log out every connection of `gateway` (it died)."""
        for slot, held in enumerate(self._ids.pop(gateway, [])):
            for id in _each(held or ()):
                self._remove(id, gateway << GATEWAY_SHIFT | slot)

    def ids(self) -> list[bytes]:
        """All user ids with at least one connection, as they are now."""
        return list(self._handles)

    def _holds(self, held: bytes | tuple[bytes, ...], handle: int) -> bool:
        """Whether the ids of a slot belong to this very handle, not an older generation."""
        found = self._handles[next(_each(held))]
        return found == handle or (not isinstance(found, int) and handle in found)

    def _known(self, id: bytes, others: Handles) -> bytes:
        """The bytes object that the map already holds for `id`, so that it's kept only once."""
        if isinstance(others, Crowd):
            return others.id
        other = next(_each(others))
        slots = self._ids[other >> GATEWAY_SHIFT]
        held = slots[other & SLOT_MASK]
        return next((known for known in _each(held) if known == id), id) if held else id

    def _end(self, slots: list[bytes | tuple[bytes, ...] | None], slot: int, handle: int) -> None:
        """Log out whichever generation holds `slot` of the gateway of `handle`."""
        held, slots[slot] = slots[slot], None
        for id in _each(held or ()):
            self._remove(id, row_of(handle))

    def _remove(self, id: bytes, row: int) -> None:
        """Whoever has this row isn't logged in as `id` any more."""
        found = self._handles[id]
        self.logins -= 1
        if isinstance(found, Crowd):
            found.remove(row)
            left: tuple[int, ...] | Crowd = found
        else:
            left = tuple(it for it in _each(found) if row_of(it) != row)
            if len(left) > 1:
                self._handles[id] = left
        if len(left) == 1:
            (self._handles[id],) = left
        elif not left:
            del self._handles[id]
            if self.changes is not None:
                self.changes[id] = False


def _each(one_or_several: T | tuple[T, ...]) -> Iterator[T]:
    return iter(one_or_several if isinstance(one_or_several, tuple) else (one_or_several,))
