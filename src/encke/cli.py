"""The command line: arguments only. What a command does is found in its room.

Invariants: a command's libraries are imported when it runs, so that ``encke send``
starts fast. An expected error is one line on stderr, ``encke: what happened; what to
do next``, and an exit code: 0 done, 1 refused or failed, 2 wrong usage, 69 (EX_UNAVAILABLE)
no server or not now, 130 interrupted.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .described import described, written
from .errors import (
    BadSettings,
    BadUserId,
    EnckeError,
    Interrupted,
    Unavailable,
    Unreachable,
)
from .extras import needed
from .flags import taking
from .ids import user_id
from .loading import load
from .settings import Settings
from .tools.options import Doctor, Listen, Nodes, Sending, ThroughNats
from .version import VERSION

if TYPE_CHECKING:
    from .cluster.options import NatsOptions

USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,  # plain help: it starts faster, and survives a pipe
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """The entry point of the command `encke`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what `arguments` say; the exit code."""
    try:
        code = app(list(arguments), prog_name="encke", standalone_mode=False)
        return int(code or 0)
    except typer.TyperException as error:
        context: typer.Context | None = getattr(error, "ctx", None)
        path = context.command_path if context else "encke"
        if said := error.format_message():  # else it has shown its help
            _complain(f"{said} See `{path} --help`.")
        return USAGE
    except (BadSettings, BadUserId) as error:
        return _complain(error, USAGE)
    except (Unreachable, Interrupted, Unavailable) as error:
        return _complain(error, os.EX_UNAVAILABLE)
    except EnckeError as error:
        return _complain(error, 1)
    except typer.Abort:
        return INTERRUPTED


def _complain(what: object, code: int = 0) -> int:
    print(f"encke: {what}", file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def encke(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> int:
    """Encke, a comet server: it holds the HTTP streams of a million users, and delivers
    a message to a user's browser the moment any program sends it to that user's id.

    \b
    encke serve                     start the server on 127.0.0.1:8000
    encke listen 123                show what is sent to the user 123
    encke send 123 "Hello World"    send it
    encke friends add 123 456       let 123 get what 456 publishes
    encke publish 456 "Hello"       publish it

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 69 no server or not now,
    130 interrupted.
    """
    if version:
        print(f"encke {VERSION}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
        return USAGE
    return 0


def _serve(config: Path | None = None, **flags: str | float | None) -> NoReturn:
    """Run the server in the foreground, until Ctrl-C or SIGTERM.

    \b
    encke serve
    encke serve --listen 127.0.0.1:9000 --control 127.0.0.1:9001
    encke serve --max-connections 1000000
    encke serve --config /etc/encke.toml
    ENCKE_API_KEY=secret encke serve --listen 0.0.0.0:8000

    Then `curl -N http://127.0.0.1:8000/test/123` shows what is sent to 123, and
    http://127.0.0.1:8001/state what the server does. `encke doctor` tells how many
    connections this machine can hold.

    Each flag can also be given in the environment (ENCKE_MAX_CONNECTIONS=1000000) or
    in the --config file (max_connections = 1000000); a flag wins over the environment,
    and that over the file.
    """
    node = importlib.import_module("encke.node.__main__")
    settings = load(flags, file=config)
    node.check(settings)
    command, environment = node.command(settings, os.environ)
    os.execve(command[0], command, environment)


def _signature_of_serve() -> inspect.Signature:
    """`--config`, and a flag for each setting, made from the setting's description."""
    parameters = [
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option(metavar="FILE", envvar="ENCKE_CONFIG", help="TOML file of settings."),
            ],
        )
    ]
    for setting in described(Settings):
        default = written(setting.default)
        default = f" [default: {default}]" if default else ""
        option = typer.Option(
            setting.flag,
            help=setting.description + default,
            show_default=False,
            metavar=f"<{setting.type.__name__}>" if setting.many else None,
        )
        parameters.append(
            inspect.Parameter(
                setting.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    list[setting.type] | None if setting.many else setting.type | None,  # type: ignore[name-defined]
                    option,
                ],
            )
        )
    return inspect.Signature(parameters)


_serve.__signature__ = _signature_of_serve()  # type: ignore[attr-defined]  # typer reads it
app.command("serve")(_serve)


@app.command()
@taking(Sending)
def send(asked: Sending) -> None:
    """Send MESSAGE to the user ID, and say how many connections got it.

    \b
    encke send 123 "Hello World"
    date | encke send 123 -
    encke send 123 "Hello World" --to http://192.0.2.7:8000
    encke send 123 "Hello World" --nats nats://192.0.2.8:4222

    Of stdin one line break at the end is left away. A user who isn't connected gets
    nothing, which is no error. In a cluster the connections of all nodes are counted;
    through NATS that takes a second.
    """
    id, body = asked.id, _body(asked.message)
    if asked.nats:
        delivered = _ask("SEND", id, body, asked)
    else:
        with importlib.import_module("encke.client").connect(asked.to, asked.api_key) as server:
            delivered = server.send(id, body, wait="cluster")
    nobody = "" if delivered else f": {id} is not connected"
    print(f"delivered to {_connections(delivered)}{nobody}", flush=True)


@app.command()
@taking(Sending)
def publish(asked: Sending) -> None:
    """Publish MESSAGE as the user ID: it goes to everyone who subscribes to ID, and to ID.

    \b
    encke friends add 123 456               # 123 subscribes to 456
    encke publish 456 "Hello friends"       # 123 and 456 get it
    date | encke publish 456 -

    It says how many connections got it: of those who are connected now. Of stdin one
    line break at the end is left away. With --nats see `encke send --help`.
    """
    id, body = asked.id, _body(asked.message)
    if asked.nats:
        delivered = _ask("PUBLISH", id, body, asked)
    else:
        with importlib.import_module("encke.client").connect(asked.to, asked.api_key) as server:
            delivered = server.publish(id, body, wait="cluster")
    nobody = "" if delivered else f": neither {id} nor a subscriber is connected"
    print(f"delivered to {_connections(delivered)}{nobody}", flush=True)


def _nats_options(asked: ThroughNats) -> "NatsOptions":
    options: NatsOptions = importlib.import_module("encke.cluster.options").NatsOptions(
        servers=asked.nats,
        credentials=asked.nats_credentials,
        tls_ca=asked.nats_ca,
        tls_certificate=asked.nats_certificate,
        name="encke command",
        version=VERSION,
    )
    return options


def _ask(verb: str, id: str, message: bytes, through: ThroughNats) -> int:
    """Let all nodes take it; returns how many connections got it."""
    user = user_id(id)
    bystander = _bystander()
    what = getattr(importlib.import_module("encke.wire.link").Verb, verb)
    told = importlib.import_module("asyncio").run(
        bystander.ask(
            _nats_options(through),
            through.nats_prefix,
            what,
            user,
            message,
            Settings().cluster_timeout,
        )
    )
    if told.errors:
        raise EnckeError(told.errors[0])
    if told.silent:
        raise Unreachable(
            f"{', '.join(told.silent)} didn't answer; {_connections(told.delivered)} of other "
            "nodes got the message, and those there may have got it."
        )
    if not told.nodes:
        raise Unreachable("No node of the cluster is joined to this NATS: nobody got the message.")
    return int(told.delivered)


def _bystander() -> ModuleType:
    needed("nats")
    return importlib.import_module("encke.bystander")


def _body(message: str) -> bytes:
    if message == "-":
        return sys.stdin.buffer.read().removesuffix(b"\n")
    return os.fsencode(message)


def _connections(count: int) -> str:
    return f"{count} connection{'' if count == 1 else 's'}"


@app.command()
@taking(Listen)
def listen(asked: Listen) -> None:
    """Print what is sent to the user ID, a message a line, until Ctrl-C.

    \b
    encke listen 123
    encke listen 123 --json | jq '.data? // .'
    encke listen 123 --to http://192.0.2.7:8000

    What a friend published begins with who it was: `456: Hello friends`. With --json a
    message is a string, and a friend's {"from": "456", "data": "Hello friends"}.

    Whether it is connected is said on stderr. A lost stream is opened again; what is
    sent in between is not shown.
    """
    encode = importlib.import_module("msgspec").json.encode
    id, to = asked.id, asked.to
    client = importlib.import_module("encke.client").Client(to)

    def opened() -> None:
        _complain(f"connected to {to}; {id} is reachable.")

    def lost(reason: object, delay: float) -> None:
        _complain(f"{reason} Reconnecting in {delay:.1f} s.")

    async def show() -> None:
        async with client, client.listen(id, on_open=opened, on_lost=lost) as messages:
            async for message in messages:
                text, publisher = str(message), message.publisher
                if asked.json:
                    line = encode({"from": publisher, "data": text} if publisher else text)
                else:
                    line = (f"{publisher}: {text}" if publisher else text).encode()
                sys.stdout.buffer.write(line + b"\n")
                sys.stdout.buffer.flush()

    importlib.import_module("asyncio").run(show())


@app.command()
@taking(Nodes)
def nodes(asked: Nodes) -> int:
    """Show the nodes of a cluster, with their users, streams and messages.

    \b
    encke nodes
    encke nodes --control http://192.0.2.7:8001
    encke nodes --nats nats://192.0.2.8:4222

    The sum of users counts those twice who are connected to two nodes. A * is at the
    node that was asked. Exit code 1 if there is none.
    """
    there = importlib.import_module("encke.tools.nodes")
    if asked.nats:
        _bystander()
        state = there.of_nats(_nats_options(asked), asked.nats_prefix)
    else:
        state = there.of_control_port(asked.control, asked.api_key)
    return int(there.show(state, json=asked.json))


@app.command()
@taking(Doctor)
def doctor(asked: Doctor) -> int:
    """Say whether this machine can hold N connections, and what to set if it can't.

    \b
    encke doctor
    encke doctor --connections 1000000

    Exit code 0 if it can, 1 if something lacks.
    """
    return int(importlib.import_module("encke.tools.doctor").run(asked))


_ELSEWHERE = {"ignore_unknown_options": True, "allow_extra_args": True}
"""The arguments are parsed in the command's room: there are many."""


def _pass_on(context: typer.Context, room: str) -> int:
    there: typer.Typer = importlib.import_module(f"encke.tools.{room}.cli").app
    return there(context.args, prog_name=f"encke {room}", standalone_mode=False) or 0


@app.command(add_help_option=False, context_settings=_ELSEWHERE)
def friends(context: typer.Context) -> int:
    """Say who gets what whom publishes; load, export, generate: see `encke friends --help`."""
    return _pass_on(context, "friends")


@app.command(add_help_option=False, context_settings=_ELSEWHERE)
def flood(context: typer.Context) -> int:
    """Open very many streams, and count what comes; see `encke flood --help`."""
    return _pass_on(context, "flood")


@app.command(add_help_option=False, context_settings=_ELSEWHERE)
def generate(context: typer.Context) -> int:
    """Send messages to random users; see `encke generate --help`."""
    return _pass_on(context, "generate")


@app.command(add_help_option=False, context_settings=_ELSEWHERE)
def watch(context: typer.Context) -> int:
    """Watch servers' memory, connections and CPU, and draw them; see `encke watch --help`."""
    return _pass_on(context, "watch")
