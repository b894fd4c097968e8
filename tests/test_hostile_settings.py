"""Origins and hosts that a careless operator may name: what can't be one is refused at start."""

from pathlib import Path

import pytest

from encke.errors import BadSettings
from encke.loading import load
from encke.settings import Settings, allowed_hosts

GOOD = {
    "https://example.org": "https://example.org",
    "http://127.0.0.1:8080": "http://127.0.0.1:8080",
    "https://App.Example.org": "https://app.example.org",
    "HTTPS://example.org": "https://example.org",
    "https://example.org:443": "https://example.org",
    "http://example.org:80": "http://example.org",
    "https://example.org:80": "https://example.org:80",
    "http://[::1]:8080": "http://[::1]:8080",
    "capacitor://localhost": "capacitor://localhost",
    "chrome-extension://abcdefghijklmnop": "chrome-extension://abcdefghijklmnop",
    "*": "*",
}

BAD = [
    "example.org", "https://", "https:example.org", "://example.org", "https://example.org/",
    "https://example.org/app", "https://example.org?x", "https://example.org#x", "null", "**",
    "https://*.example.org", "https://user@example.org", "https://example.org:", "https://a:b",
    "https://example.org:65536", "https://exa mple.org", "https://a\r\nSet-Cookie: b=c",
    "https://example.org\r\n", "https://example.org\n", "\thttps://example.org\0", "https://bücher.example",
    "https://[::1", "1https://example.org",
]  # fmt: skip


@pytest.mark.parametrize("origin", GOOD)
def test_origins(origin: str) -> None:
    """An origin is taken as browsers send it: in small letters, without a usual port."""
    assert load({"allow_origin": [origin]}, {}).allow_origin == (GOOD[origin],)


@pytest.mark.parametrize("origin", BAD)
def test_what_is_no_origin(origin: str) -> None:
    """Anything else is refused at start, whichever way it comes: it would never fit, or be lines of
    the answer."""
    with pytest.raises(BadSettings, match=r"--allow-origin.* https://example\.org"):
        load({"allow_origin": ["https://a.example", origin]}, {})
    with pytest.raises(BadSettings, match=r"--allow-origin.* https://example\.org"):
        load({}, {"ENCKE_ALLOW_ORIGIN": origin})


def test_several(tmp_path: Path) -> None:
    """Several are given by several flags, or with commas; in the file as a list too."""
    both = ("https://a.example", "https://b.example")
    assert load({"allow_origin": list(both)}, {}).allow_origin == both
    assert load({"allow_origin": [", ".join(both)]}, {}).allow_origin == both
    assert load({}, {"ENCKE_ALLOW_ORIGIN": ",".join(both)}).allow_origin == both
    assert load({"allow_origin": None}, {"ENCKE_ALLOW_ORIGIN": ""}).allow_origin == ()
    file = tmp_path / "encke.toml"
    for written in (
        '["https://a.example", "https://b.example"]',
        '"https://a.example,https://b.example"',
    ):
        file.write_text(f"allow_origin = {written}\n")
        assert load({}, {}, file).allow_origin == both


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("push.example.org", "push.example.org"),
        ("Push.Example.org", "push.example.org"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("encke", "encke"),
        ("*", "*"),
    ],
)
def test_hosts(host: str, taken: str) -> None:
    """A host is taken as it stands in a request, without its port."""
    assert load({"allow_host": ["a", host]}, {}).allow_host == ("a", taken)
    assert load({}, {"ENCKE_ALLOW_HOST": f"a, {host}"}).allow_host == ("a", taken)


@pytest.mark.parametrize(
    "host",
    ["a:80", "http://a", "a/b", "a b", "[::1", "[::1]:80", "*.a", ".a/", "b\u00fccher", "a\r\nb"],
)
def test_what_is_no_host(host: str) -> None:
    """Anything else would never fit."""
    with pytest.raises(BadSettings, match=r"--allow-host.* push\.example\.org"):
        load({"allow_host": [host]}, {})


OWN = {"localhost", "127.0.0.1"}


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        (Settings(), OWN),
        (Settings(control="localhost:1", listen="[::1]:0"), {"localhost", "[::1]"}),
        (Settings(allow_host=("a", "b")), OWN | {"a", "b"}),
        (Settings(allow_host=("*",)), None),
        (Settings(api_key="secret"), None),
        (Settings(insecure=True, listen="192.0.2.1:8000"), None),
        (Settings(api_key="secret", allow_host=("a",)), OWN | {"a"}),
        (
            Settings(insecure=True, listen="192.0.2.1:1", allow_host=("a",)),
            OWN | {"192.0.2.1", "a"},
        ),
        (
            Settings(insecure=True, listen="[::]:1", control=":2", allow_host=("a",)),
            {"localhost", "a"},
        ),
    ],
)
def test_whose_names_are_taken(settings: Settings, hosts: set[str] | None) -> None:
    """Without a key only this machine's own, and those that are named; else those that are named,
    if there are any."""
    assert allowed_hosts(settings) == hosts
