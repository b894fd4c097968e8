"""A chat: everybody in a room sees what anybody in it writes.

A room is nothing but an id: all who listen to `room:lobby` are in the lobby. This program
serves the page and checks what is written; the readers' connections are Encke's.

See examples/README.md for how to run it.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

import encke

ENCKE_URL = os.environ.get("ENCKE_URL", "http://127.0.0.1:8000")
PAGE = Path(__file__).with_suffix(".html").read_text("utf-8").replace("ENCKE_URL", ENCKE_URL)

server = encke.Client(ENCKE_URL)


class Line(msgspec.Struct):
    """What somebody writes into a room."""

    room: str
    name: str
    text: str


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


async def say(request: Request) -> Response:
    """Everyone in the room gets it, the writer too."""
    try:
        line = msgspec.json.decode(await request.body(), type=Line)
        await server.send(f"room:{line.room}", msgspec.json.encode(line))
    except (msgspec.ValidationError, msgspec.DecodeError, encke.errors.BadUserId) as error:
        return Response(str(error), status_code=400)
    return Response(status_code=204)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with server:
        yield


app = Starlette(
    routes=[Route("/", page), Route("/say", say, methods=["POST"])],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")))
