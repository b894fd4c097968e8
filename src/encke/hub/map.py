"""The router's map: which connections a user id is logged in on.

Two of the article's three verbs: `login(id, handle)` and `logout(handle)`. The third,
`send(id, message)`, is the hub's, which asks `find(id)`. One handle may be logged in under
several ids, one id may have several handles. At a million users the map takes about 140
bytes a user::

    _handles   dict  id (bytes) ----> handle (int)            one connection
                                  \\-> (handle, handle, ...)   several
    _ids       dict  gateway -> list, by slot
                                ----> id                      the same bytes object
                                  \\-> (id, id, ...)           several
                                  \\-> None                    no one logged in

Invariants: a handle stands under an id exactly if the id stands in the handle's
slot. A slot belongs to one generation at a time: logging a newer generation in
ends what the older one was logged in under.

Pure.
"""

from collections.abc import Callable, Iterable, Iterator

from ..ids import GATEWAY_SHIFT, SLOT_MASK


class RouterMap:
    """User ids and the connections that they are logged in on."""

    __slots__ = ("_handles", "_ids", "changes", "find", "logins")

    def __init__(self) -> None:
        self._handles: dict[bytes, int | tuple[int, ...]] = {}
        self._ids: dict[int, list[bytes | tuple[bytes, ...] | None]] = {}
        self.find = self._handles.get
        """`find(id)`: the one handle of `id`, a tuple if it has several, None if none."""
        self.logins = 0
        """Number of (id, handle) pairs."""
        self.changes: dict[bytes, bool] | None = None
        """Ids that have come (True) or gone (False); kept only if set to a dict, which whoever
        did so must empty."""

    def __len__(self) -> int:
        """Number of user ids with at least one connection."""
        return len(self._handles)

    def login(self, id: bytes, handle: int) -> None:
        """Log the connection `handle` in as `id`; twice is the same as once."""
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
                return
        others = self._handles.get(id)
        if others is None:
            self._handles[id] = handle
            if self.changes is not None:
                self.changes[id] = True
        else:
            id = self._known(id, others)
            self._handles[id] = (*others, handle) if isinstance(others, tuple) else (others, handle)
        slots[slot] = id if held is None else (*_each(held), id)
        self.logins += 1

    def login_many(self, ids: Iterable[bytes], handles: Iterable[int]) -> None:
        """Log each of `handles` in as the id at the same place in `ids`."""
        login = self.login
        for id, handle in zip(ids, handles, strict=True):
            login(id, handle)

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

    def logout_gateway(self, gateway: int) -> int:
        """Log out every connection of `gateway` (it died); returns how many."""
        slots = self._ids.pop(gateway, [])
        ended = 0
        for held in slots:
            if held is not None:
                ended += 1
                for id in _each(held):
                    self._remove(id, lambda handle: handle >> GATEWAY_SHIFT == gateway)
        return ended

    def ids(self) -> list[bytes]:
        """All user ids with at least one connection, as they are now."""
        return list(self._handles)

    def gateways(self) -> Iterator[int]:
        """The gateways that have logged anyone in."""
        return iter(self._ids)

    def _holds(self, held: bytes | tuple[bytes, ...], handle: int) -> bool:
        """Whether the ids of a slot belong to this very handle, not an older generation."""
        found = self._handles[next(_each(held))]
        return found == handle or (isinstance(found, tuple) and handle in found)

    def _known(self, id: bytes, others: int | tuple[int, ...]) -> bytes:
        """The bytes object that the map already holds for `id`, so that it's kept only once."""
        other = others[0] if isinstance(others, tuple) else others
        slots = self._ids[other >> GATEWAY_SHIFT]
        held = slots[other & SLOT_MASK]
        return next((known for known in _each(held) if known == id), id) if held else id

    def _end(self, slots: list[bytes | tuple[bytes, ...] | None], slot: int, handle: int) -> None:
        """Log out whichever generation holds `slot` of the gateway of `handle`."""
        gateway = handle >> GATEWAY_SHIFT
        held, slots[slot] = slots[slot], None
        for id in _each(held or ()):
            self._remove(
                id, lambda other: other >> GATEWAY_SHIFT == gateway and other & SLOT_MASK == slot
            )

    def _remove(self, id: bytes, ended: Callable[[int], bool]) -> None:
        found = self._handles.get(id)
        if found is None:
            return
        every = found if isinstance(found, tuple) else (found,)
        left = tuple(handle for handle in every if not ended(handle))
        self.logins -= len(every) - len(left)
        if not left:
            del self._handles[id]
            if self.changes is not None:
                self.changes[id] = False
        else:
            self._handles[id] = left if len(left) > 1 else left[0]


def _each(held: bytes | tuple[bytes, ...]) -> Iterator[bytes]:
    return iter(held) if isinstance(held, tuple) else iter((held,))
