"""Pages of other origins: each answer to one says who may read it, whatever it is."""

import pytest

from encke.settings import Settings

from .harness import get, post, running

SHOP = b"https://shop.example"
LINE = b'{"id": "ada", "data": "1"}\n'


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (post(b"/send/ada", b"1"), 200),
        (post(b"/send", LINE), 200),
        (post(b"/send", LINE + b"{}\n"), 400),
        (post(b"/nowhere", b""), 404),
        (get(b"/test/ada/"), 400),
        (get(b"/test/ada"), 200),
    ],
)
@pytest.mark.parametrize(("origin", "told"), [(SHOP, True), (b"https://evil.example", False)])
def test_answers_name_an_origin_that_is_allowed(
    said: bytes, status: int, origin: bytes, told: bool
) -> None:
    """To its pages. Others are refused; who is no page is told nothing of it."""
    allowed = b"Access-Control-Allow-Origin: %b\r\n" % SHOP
    with running(Settings(allow_origin=(SHOP.decode(),), keepalive=0)) as server:
        for page in (True, False):
            client = server.connect()
            head = b"Origin: %b\r\nHost" % origin if page else b"Host"
            client.say(said.replace(b"Host", head))
            server.router.say_yes()
            while server.router.sent:
                server.router.answer()
            client.take_all()
            assert client.answers[0].status == (403 if page and not told else status)
            assert (allowed in client.raw) == (page and told)
