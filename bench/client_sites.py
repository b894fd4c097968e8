"""Web applications that send by one `encke.connect()`: ``bench.client_sites KIND PORT URL``.

Each answers ``/plain?sends=N`` and ``/awaiting?sends=N`` with a line of text a failure. KIND is
`django-wsgi` (served as by `runserver`, a thread a request), `django-asgi` or `fastapi` (by
uvicorn).
"""

import asyncio
import sys

import encke

USER = "nobody"


def plain(server: encke.Connection, sends: int) -> str:
    """So many, one after the other; what failed."""
    failed = []
    for _ in range(sends):
        try:
            server.send(USER, "x")
        except Exception as error:  # noqa: BLE001 (none may come, whichever it is)
            failed.append(repr(error))
    return "\n".join(failed)


async def awaiting(server: encke.Connection, sends: int) -> str:
    """So many, some at once; what failed."""
    asked = [server.aio.send(USER, "x") for _ in range(sends)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    return "\n".join(repr(it) for it in told if it != 0)


def django(server: encke.Connection, kind: str, port: int) -> None:
    """Django with a view of each kind."""
    from django.conf import settings
    from django.core.servers import basehttp
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def sends(request: HttpRequest) -> int:
        return int(request.GET["sends"])

    def blocking(request: HttpRequest) -> HttpResponse:
        return HttpResponse(plain(server, sends(request)))

    async def asynchronous(request: HttpRequest) -> HttpResponse:
        return HttpResponse(await awaiting(server, sends(request)))

    urls = (path("plain", blocking), path("awaiting", asynchronous))
    settings.configure(
        ROOT_URLCONF=urls,
        ALLOWED_HOSTS=["127.0.0.1"],
        SECRET_KEY="x",  # noqa: S106
        LOGGING_CONFIG=None,  # else a line a request
    )
    if kind == "django-wsgi":
        from django.core.wsgi import get_wsgi_application

        basehttp.run("127.0.0.1", port, get_wsgi_application(), threading=True)
    else:
        from django.core.asgi import get_asgi_application

        uvicorn(get_asgi_application(), port)


def fastapi(server: encke.Connection, port: int) -> None:
    """FastAPI with a handler of each kind."""
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    app = FastAPI()

    @app.get("/plain", response_class=PlainTextResponse)
    def blocking(sends: int) -> str:
        return plain(server, sends)

    @app.get("/awaiting", response_class=PlainTextResponse)
    async def asynchronous(sends: int) -> str:
        return await awaiting(server, sends)

    uvicorn(app, port)


def uvicorn(app: object, port: int) -> None:
    import uvicorn as server

    server.run(app, port=port, log_level="critical", lifespan="off")  # type: ignore[arg-type]


def main(kind: str, port: int, url: str) -> None:
    server = encke.connect(url)
    if kind == "fastapi":
        fastapi(server, port)
    else:
        django(server, kind, port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
