"""What can be said to ``encke watch``."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ...described import Flag
from ...settings import Settings

Align = Annotated[bool, Meta(description="Graph: each server's time counts from its own start.")]
Title = Annotated[str, Meta(description="Graph: its title."), Flag(metavar="TEXT")]


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """``encke watch``"""

    control: Annotated[
        tuple[str, ...],
        Meta(
            description="Control port of an Encke node. "
            f"[default: http://{Settings().control}, unless there is --pid or --name]"
        ),
        Flag(metavar="URL"),
    ] = ()
    pid: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        Meta(description="Any process, with its children."),
        Flag(metavar="PID"),
    ] = ()
    name: Annotated[
        tuple[str, ...],
        Meta(description="The same, under a name of your own."),
        Flag(metavar="NAME=PID"),
    ] = ()
    log: Annotated[
        Path | None, Meta(description="Append to FILE and FILE.jsonl."), Flag(metavar="FILE")
    ] = None
    every: Annotated[float, Meta(ge=0.1, description="Period."), Flag(metavar="SECONDS")] = 10.0
    duration: Annotated[
        float, Meta(ge=0, description="How long; 0: until Ctrl-C."), Flag(metavar="SECONDS")
    ] = 0.0
    plot: Annotated[
        Path | None,
        Meta(description="At the end draw a graph: .png or .svg."),
        Flag(metavar="FILE"),
    ] = None
    title: Title = ""
    align: Align = False
    json: Annotated[
        bool, Meta(description="For programs: print each sample as a line of JSON.")
    ] = False
    api_key: Annotated[
        str,
        Meta(description="The server's. Better in the environment: other users may see arguments."),
        Flag(metavar="KEY", variable="ENCKE_API_KEY"),
    ] = ""


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """``encke watch plot``"""

    logs: Annotated[
        tuple[Path, ...],
        Meta(description="Logs of `encke watch --log`."),
        Flag(metavar="LOG...", positional=True),
    ]
    out: Annotated[Path, Meta(description="The graph, .png or .svg."), Flag(metavar="FILE")]
    title: Title = ""
    align: Align = False
