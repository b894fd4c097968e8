"""The bytes of a message: the stamp, the text, and what fills it up to its size.

Pure but for the clock in the stamp.
"""

from ..load.stamp import key, publication, stamp


class Composer:
    """Messages with `text`, of `size` bytes if that's more than there is to say."""

    def __init__(self, text: bytes, size: int, *, stamped: bool, published: bool = False) -> None:
        self._text = text
        self._size = size
        self._stamped = stamped
        self._published = published
        self.constant = b"" if stamped else self._filled(text)
        """What all messages are; empty if each is another."""

    def compose(self, sender: int, sequence: int) -> bytes:
        """The `sequence`-th message of `sender` to somebody, or its `sequence`-th publication,
        written now."""
        if not self._stamped:
            return self.constant
        published = self._published
        said = publication(key(sender, sequence)) if published else stamp(sender, sequence)
        return self._filled(b"%b %b" % (said, self._text) if self._text else said)

    def _filled(self, said: bytes) -> bytes:
        return said if len(said) >= self._size else said.ljust(self._size, b".")
