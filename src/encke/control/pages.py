"""The control port's two HTML pages: the index, and the OpenAPI document made readable.

Self-contained: no script, no style sheet or font from elsewhere, so they work on a
machine that reaches nothing else, and under a policy that allows nothing else.
"""

from collections.abc import Iterator
from html import escape

import msgspec

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff }}
code, pre {{ font-family: ui-monospace, monospace; font-size: .9em }}
h3 {{ margin: 2rem 0 .3rem }} h3 b {{ color: #06c }}
table {{ border-collapse: collapse }} td, th {{ text-align: left; vertical-align: top;
  padding: .2rem 1rem .2rem 0; border-top: 1px solid #ddd }}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #181818 }}
  h3 b, a {{ color: #6af }} td, th {{ border-color: #444 }} }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""

_INDEX = """<p>This is the control port of an Encke server.</p><ul>
<li><a href="/health">/health</a>: whether it takes connections
<li><a href="/state">/state</a>: connections, users, messages; memory and time of each process
<li><a href="/metrics">/metrics</a>: the same for Prometheus
<li><code>/users/ID/subscriptions</code>, <code>/users/ID/subscribers</code>: a user's friends
<li><a href="/docs">/docs</a>: all requests of both ports
<li><a href="/openapi.json">/openapi.json</a>: the same for programs
</ul>"""


class _Schema(msgspec.Struct):
    ref: str = msgspec.field(default="", name="$ref")
    type: str = ""
    description: str = ""
    properties: dict[str, "_Schema"] = {}


class _Media(msgspec.Struct):
    schema: _Schema


class _Body(msgspec.Struct):
    """A request's or a response's; a reference if it has one of the common ones."""

    ref: str = msgspec.field(default="", name="$ref")
    description: str = ""
    content: dict[str, _Media] = {}


class _Operation(msgspec.Struct):
    summary: str
    responses: dict[str, _Body]
    description: str = ""
    body: _Body | None = msgspec.field(default=None, name="requestBody")


class _Server(msgspec.Struct):
    description: str


class _Path(msgspec.Struct):
    servers: list[_Server]
    get: _Operation | None = None
    put: _Operation | None = None
    post: _Operation | None = None
    delete: _Operation | None = None

    def operations(self) -> Iterator[tuple[str, _Operation]]:
        """(method, operation) of each that there is, HEAD left out."""
        for method in ("get", "put", "post", "delete"):
            operation: _Operation | None = getattr(self, method)
            if operation is not None:
                yield method.upper(), operation


class _Info(msgspec.Struct):
    title: str
    version: str
    description: str


class _Components(msgspec.Struct):
    schemas: dict[str, _Schema]
    responses: dict[str, _Body]


class _Document(msgspec.Struct):
    """What the page shows of an OpenAPI document."""

    info: _Info
    paths: dict[str, _Path]
    components: _Components


def index() -> str:
    """The page that leads to the others."""
    return _PAGE.format(title="Encke", body=_INDEX)


def docs(description: bytes) -> str:
    """The OpenAPI document `description` as a page."""
    document = msgspec.json.decode(description, type=_Document)
    parts = [f"<p>{escape(document.info.description)}</p>"]
    port = ""
    for path, item in document.paths.items():
        if port != item.servers[0].description:
            port = item.servers[0].description
            parts.append(f"<h2>{escape(port)}</h2>")
        parts += (_operation(document, *each, path) for each in item.operations())
    parts.append("<h2>Schemas</h2>")
    for name, schema in document.components.schemas.items():
        parts.append(_schema(name, schema))
    title = f"{document.info.title} {document.info.version}"
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def _operation(document: _Document, method: str, operation: _Operation, path: str) -> str:
    rows = []
    if operation.body is not None:
        rows.append(_row("takes", operation.body))
    for status, response in operation.responses.items():
        shared = document.components.responses.get(_name(response.ref))
        rows.append(_row(status, shared or response))
    return (
        f"<h3><b>{method}</b> <code>{escape(path)}</code></h3>"
        f"<p>{escape(operation.summary)} {escape(operation.description)}</p>"
        f"<table>{''.join(rows)}</table>"
    )


def _row(name: str, body: _Body) -> str:
    types = ", ".join(_media(kind, media.schema) for kind, media in body.content.items())
    return f"<tr><th>{escape(name)}<td>{escape(body.description)}<td>{types}"


def _media(kind: str, schema: _Schema) -> str:
    name = escape(_name(schema.ref))
    return f"<code>{escape(kind)}</code>" + (f' <a href="#{name}">{name}</a>' if name else "")


def _schema(name: str, schema: _Schema) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code><td>{escape(value.type or _name(value.ref))}"
        f"<td>{escape(value.description)}"
        for key, value in schema.properties.items()
    )
    return (
        f'<h3 id="{escape(name)}">{escape(name)}</h3>'
        f"<p>{escape(schema.description)}</p><table>{rows}</table>"
    )


def _name(reference: str) -> str:
    """``State`` of ``#/components/schemas/State``."""
    return reference.rpartition("/")[2]
