"""Bodies: what is kept of those that haven't come to their end, in all.

A message is kept until it's whole, a line of NDJSON until its end. Who sends all but the last byte,
on very many connections, would fill the memory; so there is a limit for all together
(`--bodies-total`). Above it some are dropped:

- of those who have nothing more to say, who has been silent for longest; a byte now and then
  doesn't count;
- if all have more to say, there are too many at once: who has come last.

Nobody waits for room, so nobody can keep others out of it; whoever is being read from has room. A
body that comes as a whole is never among them.

Bodies have a least rate too (`--body-rate`), see `Requests._read_on_body`.

Pure.
"""

from collections.abc import Callable, Iterable, Iterator

from .exchange import Exchange

PROGRESS = 1024
"""Bytes that count as something, from who is silent otherwise."""


class Bodies:
    """What one gateway keeps of unfinished bodies."""

    __slots__ = ("_limit", "_silent", "_waiting", "total")

    def __init__(self, limit: int) -> None:
        """`limit`: bytes, no less than the largest body."""
        self._limit = limit
        self._silent: dict[Exchange, int] = {}
        """Who had nothing more to say when they were read from, for longest first; and what was
        kept of them when that began."""
        self._waiting: dict[Exchange, None] = {}
        """Who had more, for longest first."""
        self.total = 0

    @property
    def many(self) -> bool:
        """Whether more than half of what may be is kept: little is to be read of newcomers."""
        return self.total > self._limit // 2

    def keep(self, exchange: Exchange, size: int, *, anew: bool, more: bool) -> None:
        """`size` bytes are kept of what `exchange` sends. `anew`: none of them were before;
        `more`: there is probably more to read."""
        if not size:
            self.forget(exchange)
            return
        self.total += size - exchange.kept
        exchange.kept = size
        silent = self._silent
        if more:
            silent.pop(exchange, None)
            self._waiting.setdefault(exchange)
        elif anew or exchange not in silent or size >= silent[exchange] + PROGRESS:
            self._waiting.pop(exchange, None)
            silent.pop(exchange, None)
            silent[exchange] = size

    def forget(self, exchange: Exchange) -> None:
        """Nothing is kept of it any more."""
        if exchange.kept:
            self._silent.pop(exchange, None)
            self._waiting.pop(exchange, None)
            self.total -= exchange.kept
            exchange.kept = 0

    def drop(self, reader: Exchange, unread: Callable[[int], int]) -> Iterator[Exchange]:
        """Who is to be dropped, so that no more than the limit is kept; nothing is kept of them any
        more. `reader` has just been read from; `unread` says how many bytes can be read from a
        descriptor."""
        while self.total > self._limit:
            slowest = self._slowest(reader, unread)
            self.forget(slowest)
            yield slowest

    def _slowest(self, reader: Exchange, unread: Callable[[int], int]) -> Exchange:
        silent, waiting = self._silent, self._waiting
        while silent and (reader not in silent or len(silent) > 1):
            slowest = next(iter(silent))
            if unread(slowest.fd) < PROGRESS:
                return slowest
            del silent[slowest]  # has said something meanwhile
            waiting[slowest] = None
        oldest = _first(waiting, reader)
        return oldest if unread(oldest.fd) < PROGRESS else _first(reversed(waiting), reader)


def _first(some: Iterable[Exchange], but: Exchange) -> Exchange:
    """The first of `some` who isn't `but`, if there's another."""
    return next((it for it in some if it is not but), but)
