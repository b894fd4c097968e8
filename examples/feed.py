"""A feed: users follow each other, and see at once what those whom they follow post.

Encke keeps who follows whom (docs/friends.md): following is a subscription, posting is
publishing, and this program never lists a follower. Who you are is in the address, for
brevity: in your program it's the session that says so.

See examples/README.md for how to run it.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

import encke

ENCKE_URL = os.environ.get("ENCKE_URL", "http://127.0.0.1:8000")
CONTROL_URL = os.environ.get("ENCKE_CONTROL", "http://127.0.0.1:8001")
PAGE = Path(__file__).with_suffix(".html").read_text("utf-8").replace("ENCKE_URL", ENCKE_URL)

server = encke.Client(ENCKE_URL, control=CONTROL_URL)


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


async def post(request: Request) -> Response:
    """Everyone who follows the user gets it, and the user's own pages too."""
    connections = await server.publish(request.path_params["user"], await request.body())
    return JSONResponse({"connections": connections})


async def follow(request: Request) -> Response:
    """PUT follows somebody, DELETE no longer does."""
    user, other = request.path_params["user"], request.path_params["other"]
    change = server.friends.add if request.method == "PUT" else server.friends.remove
    try:
        await change(user, other)
    except encke.errors.BadUserId as error:
        return Response(str(error), status_code=400)
    return Response(status_code=204)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with server:
        yield


app = Starlette(
    routes=[
        Route("/{user}", page),
        Route("/{user}/posts", post, methods=["POST"]),
        Route("/{user}/follows/{other}", follow, methods=["PUT", "DELETE"]),
    ],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")))
