"""Draws docs/picture.svg: a server, a stream and senders, as three terminals.

What it shows is what the commands print: it starts a server, and runs them.

    .venv/bin/python docs/picture.py
"""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

ENCKE = str(Path(sys.executable).with_name("encke"))
HERE = Path(__file__).parent
WIDTH = 96
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" \
xmlns="http://www.w3.org/2000/svg"><style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; \
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}</style><defs><clipPath id="{unique_id}-clip-terminal">\
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
<rect fill="#16181d" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""


def free_address() -> str:
    """HOST:PORT that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def printed(process: "subprocess.Popen[str]", seconds: float) -> str:
    """What `process` prints within so many seconds, after which it is interrupted."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        return process.communicate()[0]


def run(*command: str) -> str:
    """What `command` prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def terminal(title: str, *lines: tuple[str, str]) -> Panel:
    """A terminal: each of `lines` is a command and what it printed."""
    text = Text()
    for command, output in lines:
        text.append("$ ", style="bold green")
        text.append(f"{command}\n", style="bold white")
        text.append(output.rstrip("\n") + "\n", style="white")
    text.rstrip()
    return Panel(text, title=title, title_align="left", border_style="grey50", width=WIDTH)


def main() -> None:
    """Run the commands and draw what they printed."""
    public, control = free_address(), free_address()
    url = f"http://{public}"
    flags = (ENCKE, "serve", "--listen", public, "--control", control)
    server = subprocess.Popen(flags, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    ready = server.stderr.readline()
    curl = ("curl", "-sN", f"{url}/test/123")
    stream = subprocess.Popen(curl, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    batch = '{"id": "123", "data": "one"}\n{"id": "456", "data": "two"}\n'
    send = (ENCKE, "send", "--to", url, "123")
    sent = (
        ('encke send 123 "Hello World"', run(*send, "Hello World")),
        (
            "curl -d 'from curl' http://127.0.0.1:8000/send/123",
            run("curl", "-sd", "from curl", f"{url}/send/123"),
        ),
        (
            "curl --data-binary @messages.ndjson http://127.0.0.1:8000/send",
            run("curl", "-s", "--data-binary", batch, f"{url}/send"),
        ),
    )
    received = printed(stream, 0.5)
    server.terminate()
    server.wait()
    console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(
        Group(
            terminal("1: the server", ("make serve", ready)),
            terminal("2: a stream", ("curl -N http://127.0.0.1:8000/test/123", received)),
            terminal("3: senders", *sent),
        )
    )
    svg = console.export_svg(title="", code_format=_SVG)
    picture = svg.replace(public, "127.0.0.1:8000").replace(control, "127.0.0.1:8001")
    (HERE / "picture.svg").write_text(picture)


if __name__ == "__main__":
    main()
