"""What pages of other origins are told, by what was allowed."""

from encke.wire.cors import Cors

ONE = b"https://one.example"


def test_no_origin_is_allowed() -> None:
    """Then nothing is said at all, whoever asks."""
    cors = Cors(())
    assert cors.headers(ONE) == cors.headers(None) == cors.told(ONE) == ()
    assert cors.preflight(ONE, b"POST") is None


def test_named_origins() -> None:
    """Each hears of itself; others, and who is no page, that it depends on the origin."""
    cors = Cors(["https://one.example", "http://two.example"])
    allowed = dict(cors.headers(ONE))
    assert allowed[b"Access-Control-Allow-Origin"] == ONE
    assert allowed[b"Access-Control-Allow-Credentials"] == b"true"
    assert cors.headers(b"null") == cors.headers(None) == ((b"Vary", b"Origin"),)
    assert cors.told(ONE) == cors.headers(ONE)
    assert cors.told(None) == ()
    preflight = cors.preflight(ONE, b"POST")
    assert preflight is not None
    assert dict(preflight)[b"Access-Control-Allow-Methods"] == b"POST"
    assert set(allowed.items()) < set(preflight)
    assert cors.preflight(b"null", b"POST") is cors.preflight(None, b"POST") is None


def test_all_origins() -> None:
    """Everybody hears of *, and nobody of cookies; who is named beside it hears of itself."""
    cors = Cors(["*"])
    assert cors.headers(ONE) == cors.headers(None) == ((b"Access-Control-Allow-Origin", b"*"),)
    assert cors.preflight(ONE, b"POST") is not None
    cors = Cors(["*", "https://one.example"])
    assert dict(cors.headers(ONE))[b"Access-Control-Allow-Origin"] == ONE
    assert dict(cors.headers(b"null"))[b"Access-Control-Allow-Origin"] == b"*"
    assert (b"Vary", b"Origin") in cors.headers(b"null")
