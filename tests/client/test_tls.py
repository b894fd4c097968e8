"""HTTPS, as behind a proxy: certificates are checked, and all of the client works."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from peer import PATIENCE, STREAM, chunk, run

import encke
from encke.client import server as place
from encke.errors import Unreachable

BODY = b'HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{"accepted": 3000,"delivered": 7}'


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends are taken, one after the other on a connection; a stream has one message."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"GET"):
                writer.write(STREAM + chunk(b"data: x\n\n") + b"0\r\n\r\n")
            else:
                if b"chunked" in head:
                    await reader.readuntil(b"\r\n0\r\n\r\n")
                else:
                    await reader.readuntil(b"x")
                writer.write(BODY)
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    """Whom the client trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    place.tls.cache_clear()
    yield authority
    place.tls.cache_clear()


async def main(authority: trustme.CA, name: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, limit=2**20)
    port = listening.sockets[0].getsockname()[1]
    client = encke.connect(f"https://127.0.0.1:{port}", timeout=PATIENCE)
    many = [("1", "y" * 100)] * 3000

    def plain() -> None:
        assert [client.send("1", "x"), client.send("1", "x")] == [7, 7]
        assert len(client._pool._idle) == 1
        assert client.send_many(many).accepted == 3000
        assert list(client.listen("1", reconnect=False)) == ["x"]

    async with listening:
        try:
            await asyncio.to_thread(plain)
            assert [await client.aio.send("1", "x"), await client.aio.send("1", "x")] == [7, 7]
            assert (await client.aio.send_many(many)).accepted == 3000
            assert [it async for it in client.aio.listen("1", reconnect=False)] == ["x"]
        finally:
            client.close()
            await asyncio.sleep(0)


def test_https(authority: trustme.CA) -> None:
    """Both clients send, also much, and listen."""
    run(main(authority, "127.0.0.1"))


def test_another_ones_certificate(authority: trustme.CA) -> None:
    """Who isn't the one that was asked for gets nothing: not sent."""
    with pytest.raises(Unreachable, match="certificate"):
        run(main(authority, "192.0.2.1"))
