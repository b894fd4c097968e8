"""Settings: where they come from, which wins, and what is refused."""

import os
from pathlib import Path

import pytest

from encke.errors import BadSettings
from encke.loading import load
from encke.settings import (
    RESERVED_FILES,
    Settings,
    address,
    connection_limit,
    files_limit,
    gateway_capacity,
    gateway_count,
    is_loopback,
)
from encke.sizes import MAX_MESSAGE


def test_defaults() -> None:
    """Without anything said it is the documented defaults, which are safe."""
    settings = load(environment={})
    assert settings == Settings()
    assert (settings.listen, settings.control) == ("127.0.0.1:8000", "127.0.0.1:8001")


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    """Later sources win, setting by setting; a flag that wasn't given says nothing."""
    file = tmp_path / "encke.toml"
    file.write_text('gateways = 1\nheartbeat = 1\nretry = 1\nlisten = "127.0.0.1:1"\n')
    settings = load(
        {"gateways": 3, "heartbeat": None},
        {"ENCKE_GATEWAYS": "2", "ENCKE_HEARTBEAT": "2.5", "ENCKE_URL": "x", "HOME": "y"},
        file,
    )
    assert (settings.gateways, settings.heartbeat, settings.retry) == (3, 2.5, 1.0)
    assert settings.listen == "127.0.0.1:1"


def test_the_process_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the environment is that of the process."""
    monkeypatch.setenv("ENCKE_BACKLOG", "77")
    assert load().backlog == 77


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"gateways": "many"}, "settings: gateways:"),
        ({"gateways": -1}, "settings: gateways:"),
        ({"head_timeout": 0}, "settings: head_timeout:"),
        ({"queue_limit": 1}, "settings: queue_limit:"),
        ({"body_limit": MAX_MESSAGE + 1}, "settings: body_limit:"),
        ({"line_limit": MAX_MESSAGE + 1}, "settings: line_limit:"),
        ({"send_buffer": 16 * 1024 - 1}, "settings: send_buffer:"),
        ({"body_rate": -1}, "settings: body_rate:"),
        ({"bodies_total": 1023}, "settings: bodies_total:"),
        ({"bodies_total": 2 << 20, "body_limit": (2 << 20) + 1}, "--bodies-total is too small"),
        ({"bodies_total": 2 << 20, "line_limit": (2 << 20) + 1}, "--bodies-total is too small"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_setting_is_named(flags: dict[str, object], said: str) -> None:
    """The message says which setting, and where it came from."""
    with pytest.raises(BadSettings, match=said):
        load(flags, {})


def test_a_bad_variable_is_named() -> None:
    """So it does for the environment."""
    with pytest.raises(BadSettings, match=r"environment \(ENCKE_\*\): backlog:"):
        load(environment={"ENCKE_BACKLOG": "0"})


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"gateways = ", "not TOML"), (b"\xff", "not TOML"), (b"colour = 'red'", "colour")],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """The message has the file's name."""
    file = tmp_path / "encke.toml"
    file.write_bytes(content)
    with pytest.raises(BadSettings, match=said) as caught:
        load(environment={}, file=file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Also if it isn't there."""
    with pytest.raises(BadSettings, match="No such file"):
        load(environment={}, file=tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["listen", "control"])
def test_beyond_loopback_only_with_a_key(name: str) -> None:
    """An address that others reach takes an API key, or the explicit wish to go without."""
    flags = {name: "0.0.0.0:8000"}
    with pytest.raises(BadSettings, match=f"--{name}.*ENCKE_API_KEY"):
        load(flags, {})
    load({**flags, "api_key": "secret"}, {})
    load({**flags, "insecure": True}, {})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("[::1]:0", ("::1", 0)),
        ("example.org:65535", ("example.org", 65_535)),
        (":8000", ("0.0.0.0", 8000)),
    ],
)
def test_address(text: str, parts: tuple[str, int]) -> None:
    """HOST:PORT comes apart; no host means all, which the check for loopback sees."""
    assert address(text) == parts


@pytest.mark.parametrize("text", ["", "8000", "localhost", "localhost:", "a:b", "a:-1", "a:65536"])
def test_no_address(text: str) -> None:
    """Anything else is refused, with an example."""
    with pytest.raises(BadSettings, match="HOST:PORT"):
        address(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback(host: str) -> None:
    """These are reached from this machine only."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_not_loopback(host: str) -> None:
    """These may be reached from others."""
    assert not is_loopback(host)


def test_limits_follow_from_the_open_files_limit() -> None:
    """A gateway holds what it may open, less a reserve; the node what its gateways hold."""
    assert gateway_capacity() == files_limit() - RESERVED_FILES
    assert gateway_count(Settings()) == len(os.sched_getaffinity(0))
    assert gateway_count(Settings(gateways=3)) == 3
    assert gateway_count(Settings(gateways=0)) == 1  # for senders
    assert connection_limit(Settings(gateways=3)) == 3 * gateway_capacity()
    assert connection_limit(Settings(max_connections=1_000_000)) == 1_000_000


def test_a_node_for_senders_needs_others() -> None:
    """--gateways 0 opens no streams: alone it would be of no use."""
    with pytest.raises(BadSettings, match="--nats"):
        load({"gateways": 0}, {})
    assert load({"gateways": 0, "nats": "nats://127.0.0.1"}, {}).gateways == 0


def test_hang_timeout_is_not_for_who_is_only_busy() -> None:
    """Either it's off, or it's longer than a turn of a busy process; 10 s without being told."""
    assert load(environment={}).hang_timeout == 9
    for seconds in (0.0, 1.0, 86_400.0):
        assert load({"hang_timeout": seconds}, {}).hang_timeout == seconds
    for seconds in (-1.0, 0.001, 0.999, 86_401.0):
        with pytest.raises(BadSettings, match=r"hang.timeout"):
            load({"hang_timeout": seconds}, {})
