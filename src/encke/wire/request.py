"""What a request is, once its bytes are read: the events that `http` makes of them.

Pure.
"""

import enum

import msgspec


class Request(msgspec.Struct):
    """A request's head. `headers` has lower-case names, and only those that matter here."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    is_http_10: bool
    keep_alive: bool = True
    """Whether the connection is good for another request (RFC 9112, 9.3); known at END."""

    @property
    def path(self) -> bytes:
        """The target's path, percent-encoded as it came; of an absolute URI only the path."""
        path = self.target.partition(b"?")[0]
        if not path.startswith(b"/") and b"://" in path:
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        return path

    @property
    def content_length(self) -> int:
        """The announced length of the body; 0 if there's none, or it's chunked."""
        # llhttp takes any number of leading zeros, int() no more than 4,300 digits
        return int(self.headers.get(b"content-length", b"").lstrip(b"0") or b"0")

    @property
    def accepts_events(self) -> bool:
        """Whether it names the type of an event stream among those that it accepts, as EventSource
        does."""
        accepted = self.headers.get(b"accept", b"").lower().split(b",")
        return any(it.partition(b";")[0].strip() == b"text/event-stream" for it in accepted)

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return b"transfer-encoding" in self.headers or self.content_length > 0


class End(enum.Enum):
    """The end of a request, its body included."""

    END = enum.auto()


END = End.END


class Refusal(msgspec.Struct, frozen=True):
    """The bytes are no acceptable request: answer with `status` and `detail`, and close."""

    status: int
    detail: str


HttpEvent = Request | bytes | End | Refusal
