"""The command line, as a shell user meets it: real processes, a real server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from peer import NOBODY
from system.node import Node

import encke.client
from encke import cli, settings_page
from encke.described import described
from encke.node import __main__ as node
from encke.settings import Settings
from encke.tools.options import HERE

ENCKE = [sys.executable, "-m", "encke"]


@pytest.fixture(scope="module")
def served() -> Iterator[Node]:
    """A running server."""
    with Node("--gateways", "1") as served:
        yield served


@pytest.fixture
def server(served: Node) -> str:
    """Its URL."""
    return served.url


def encke_(*arguments: str, stdin: bytes = b"", **environment: str) -> tuple[int, str, str]:
    """Run ``encke`` with `arguments`: its exit code, what it printed, what it complained of."""
    done = subprocess.run(
        [*ENCKE, *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, **environment},
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Listening:
    """``encke listen`` as a process, read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*ENCKE, "listen", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def said(self) -> str:
        """The next line of stderr."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode()

    def printed(self) -> str:
        """The next line of stdout."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()


@contextlib.contextmanager
def listening(*arguments: str) -> Iterator[Listening]:
    """``encke listen``, once its user is reachable."""
    started = Listening(*arguments)
    try:
        assert "connected to" in started.said()
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


# help


@pytest.mark.parametrize("command", ["", "serve", "send", "publish", "listen", "doctor"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command's help names it and shows examples that can be typed."""
    assert cli.run([*command.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"\n  encke {command}" in out


def test_every_setting_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """`encke serve --help` lists all settings."""
    cli.run(["serve", "--help"])
    out, _ = capsys.readouterr()
    for setting in described(Settings):
        assert f"\n  {setting.flag} " in out


def test_docs_are_up_to_date() -> None:
    """docs/settings.md says what the settings are."""
    page = Path(__file__).parent.parent / "docs" / "settings.md"
    assert page.read_text("utf-8") == settings_page.page(), (
        "outdated; run: python -m encke.settings_page > docs/settings.md"
    )


def test_without_a_command_it_shows_its_help() -> None:
    """`encke` alone is wrong usage, and shows what there is."""
    code, out, _ = encke_()
    assert code == 2
    assert "Commands:" in out


def test_version() -> None:
    """`encke --version` prints name and version."""
    code, out, _ = encke_("--version")
    assert code == 0
    assert out.startswith("encke 0.")


def test_a_command_imports_only_what_it_needs() -> None:
    """Neither the client's libraries nor tables are imported to parse arguments."""
    program = "import encke.cli, sys; print({'httpx', 'asyncio', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n"


# send


def test_the_default_address_is_the_default_server() -> None:
    """Without --to, the address is where `encke serve` listens by default."""
    assert HERE == encke.client.DEFAULT_URL


def test_send_says_how_many_got_it(server: str) -> None:
    """The number of connections is printed; nobody there is said, and no error."""
    assert encke_("send", "sue", "x", "--to", server) == (
        0,
        "delivered to 0 connections: sue is not connected\n",
        "",
    )
    with listening("sue", "--to", server) as one:
        expected = (0, "delivered to 1 connection\n", "")
        assert encke_("send", "sue", "Grüße, -dash", ENCKE_URL=server) == expected
        assert one.printed() == "Grüße, -dash\n"
        with listening("sue", "--to", server):
            code, out, _ = encke_("send", "sue", "--to", server, "--", "-5")
            assert (code, out) == (0, "delivered to 2 connections\n")
            assert one.printed() == "-5\n"


def test_send_reads_stdin(server: str) -> None:
    """MESSAGE - is stdin, without the line break at its end."""
    with listening("ina", "--json", "--to", server) as listener:
        for stdin, message in ((b"a\nb\n", "a\nb"), (b"x", "x"), (b"\n", "")):
            assert encke_("send", "ina", "-", "--to", server, stdin=stdin)[0] == 0
            assert json.loads(listener.printed()) == message


def test_the_key_is_taken_from_the_environment() -> None:
    """Without the server's key it is refused (1), with it, it sends; no argument list has it."""
    with Node("--gateways", "1", environment={"ENCKE_API_KEY": "geheim"}) as served:
        code, out, err = encke_("send", "1", "x", "--to", served.url)
        assert (code, out) == (1, "")
        assert err.startswith("encke: ")
        assert encke_("send", "1", "x", "--to", served.url, ENCKE_API_KEY="geheim")[0] == 0
        assert encke_("send", "1", "x", "--to", served.url, "--api-key", "geheim")[0] == 0
        assert b"geheim" not in Path(f"/proc/{served.process.pid}/cmdline").read_bytes()


# listen


def test_listen_prints_each_message_at_once(server: str) -> None:
    """A message is on stdout before the next one is sent."""
    with listening("lea", "--to", server) as listener:
        for message in ("one", "zwei ☄"):
            encke_("send", "lea", message, "--to", server)
            assert listener.printed() == message + "\n"


def test_ctrl_c_is_clean(server: str) -> None:
    """SIGINT ends a listener with 130 and without a word."""
    with listening("cleo", "--to", server) as listener:
        listener.process.send_signal(signal.SIGINT)
        assert listener.process.wait(20) == 130
        assert listener.said() == ""


def test_a_closed_pipe_is_quiet(server: str) -> None:
    """`encke listen | head` ends without a traceback once nobody reads it any more."""
    with listening("pip", "--to", server) as listener:
        assert listener.process.stdout is not None
        listener.process.stdout.close()
        encke_("send", "pip", "x", "--to", server)
        assert listener.process.wait(20) == 1
        assert listener.said() == ""
        listener.process.stdout = None


def test_listen_comes_back_with_the_server() -> None:
    """When the server goes, stderr says so; when it is back, messages arrive again."""
    retry = ("--retry", "0.05")
    with contextlib.ExitStack() as first:
        url = first.enter_context(Node("--gateways", "1", *retry)).url
        with listening("rex", "--to", url) as listener:
            first.close()
            assert "Reconnecting in" in listener.said()
            with Node("--gateways", "1", *retry, listen=url.removeprefix("http://")):
                while "connected to" not in (said := listener.said()):
                    assert "Reconnecting in" in said
                encke_("send", "rex", "again", "--to", url)
                assert listener.printed() == "again\n"


# errors

WRONG = [
    (("sned",), 2, "Did you mean 'send'"),
    (("send", "1"), 2, "Missing argument 'MESSAGE'. See `encke send --help`"),
    (("send", "1", "x", "--url", "x"), 2, "--url"),
    (("send", "a/b", "x"), 2, "user id"),
    (("listen", "a b"), 2, "user id"),
    (("publish", "a/b", "x"), 2, "user id"),
    (("send", "1", "x", "--to", "localhost"), 2, "http://HOST:PORT"),
    (("send", "1", "x", "--to", NOBODY), 69, "start it with `encke serve`"),
    (("publish", "1", "x", "--to", NOBODY), 69, "start it with `encke serve`"),
    (("listen", "1", "--to", NOBODY), 69, "start it with `encke serve`"),
    (("serve", "--gateways", "many"), 2, "--gateways"),
    (("serve", "--gateways", "5000"), 2, "gateways"),
    (("serve", "--listen", "localhost"), 2, "HOST:PORT"),
    (("serve", "--listen", "0.0.0.0:0"), 2, "ENCKE_API_KEY"),
    (("serve", "--config", "/nowhere.toml"), 2, "/nowhere.toml"),
    (("doctor", "--connections", "x"), 2, "--connections"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG)
def test_an_error_is_one_line(
    arguments: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage and absent servers: the exit code, and one line that says what to do."""
    assert cli.run(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("encke: ")
    assert err.count("\n") == 1
    assert words in err


def test_a_refusal_is_exit_code_1(server: str) -> None:
    """What the server refuses is shown in the server's words."""
    code, out, err = encke_("send", "1", "-", "--to", server, stdin=b"\xff")
    assert (code, out) == (1, "")
    assert "UTF-8" in err
    assert err.count("\n") == 1


# serve


def handed_over(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[str], Settings]:
    """The command and the settings with which ``encke serve`` replaces itself."""
    seen: list[tuple[list[str], dict[str, str]]] = []

    class Replaced(Exception):
        """The process image is another one now."""

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        assert path == sys.executable
        seen.append((command, environment))
        raise Replaced

    monkeypatch.setattr(os, "execve", execve)
    with pytest.raises(Replaced):
        cli.run(["serve", *arguments])
    [(command, environment)] = seen
    settings = node.handed_over(environment)
    assert settings is not None
    assert node.handed_over(environment) is None
    assert not [name for name in environment if name.startswith("ENCKE_")]
    return command, settings


def test_serve_replaces_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is a fresh process image, whose arguments say nothing secret."""
    command, settings = handed_over(monkeypatch, "--api-key", "secret", "--retry", "1.5")
    assert command == [sys.executable, "-P", "-m", "encke.node"]
    assert settings == Settings(api_key="secret", retry=1.5)


def test_flags_win_over_environment_over_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each source overrides the ones before it, setting by setting."""
    file = tmp_path / "encke.toml"
    file.write_text("gateways = 1\nbacklog = 1\nmax_connections = 1\ninsecure = true\n")
    monkeypatch.setenv("ENCKE_BACKLOG", "2")
    monkeypatch.setenv("ENCKE_GATEWAYS", "2")
    expected = Settings(gateways=3, backlog=2, max_connections=1, insecure=True)
    _, settings = handed_over(monkeypatch, "--config", str(file), "--gateways", "3")
    assert settings == expected
    monkeypatch.setenv("ENCKE_CONFIG", str(file))
    assert handed_over(monkeypatch, "--gateways", "3")[1] == expected


def test_the_server_needs_a_handover(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m encke.node` by hand says how it is started."""
    for handover in (None, "{}", "123456"):
        if handover is not None:
            monkeypatch.setenv(node.HANDOVER, handover)
        assert node.main() == os.EX_USAGE
        assert "encke serve" in capsys.readouterr().err


# commands with arguments of their own


def test_a_room_gets_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever follows `encke flood` is for that tool, and its exit code is kept."""
    fake = types.ModuleType("encke.tools.flood.cli")
    seen: list[tuple[str, int]] = []
    app = typer.Typer()

    @app.callback()
    def flood() -> None:
        """The tool."""

    @app.command()
    def send(connections: int = 0, peer: str = "") -> int:
        seen.append((peer, connections))
        return 1

    vars(fake)["app"] = app
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    assert cli.run(["flood", "send", "--connections", "5", "--peer=nchan"]) == 1
    assert seen == [("nchan", 5)]
