"""What most tests do with a `Raw`: ask, send a message, open a stream."""

from bench.raw import Answer, Raw, chunked, post, request

from .node import Address

__all__ = ["Answer", "Raw", "ask", "chunked", "post", "request", "send", "stream"]


def ask(address: Address, data: bytes) -> Answer:
    """The answer to one request on a connection of its own."""
    with Raw(address) as connection:
        connection.send(data)
        return connection.answer()


def send(address: Address, user: str, message: str | bytes) -> int:
    """Send one message; to how many connections it was delivered."""
    data = message.encode() if isinstance(message, str) else message
    answer = ask(address, post(f"/send/{user}", data))
    assert answer.status == 200, answer
    delivered = answer.json()["delivered"]
    assert isinstance(delivered, int)
    return delivered


def stream(address: Address, user: str, transport: str = "test") -> Raw:
    """An open stream: its head was read."""
    connection = Raw(address)
    connection.send(request("GET", f"/{transport}/{user}"))
    head = connection.head()
    assert head.status == 200, head
    assert head.headers["transfer-encoding"] == "chunked"
    if transport == "events":
        assert connection.chunk().startswith(b"retry: ")
    return connection
