"""The description of both ports, OpenAPI 3.1: openapi.json, and with it the streams.

What is to be said of a stream says its protocol (wire.protocols), so that a new one needs no
touching here.
"""

import os

import msgspec

from ..wire.protocols import PROTOCOLS, Protocol

Json = dict[str, object]

_REFUSALS: Json = {
    "400": {"$ref": "#/components/responses/BadRequest"},
    "405": {"$ref": "#/components/responses/WrongMethod"},
    "503": {"$ref": "#/components/responses/Unavailable"},
}


def description() -> bytes:
    """The document, as it is served."""
    with open(os.path.join(os.path.dirname(__file__), "openapi.json"), "rb") as file:
        document = msgspec.json.decode(file.read(), type=dict[str, object])
    paths = msgspec.convert(document["paths"], dict[str, Json])
    public = paths["/send"]["servers"]
    streams = {f"/{it.name.decode()}/{{id}}": _stream(it, public) for it in PROTOCOLS}
    return msgspec.json.encode(document | {"paths": streams | paths})


def _stream(protocol: Protocol, servers: object) -> Json:
    """The item of a protocol's path."""
    said, name = protocol.documentation, protocol.name.decode()
    content = {said.media_type: {"schema": {"type": "string"}, "example": said.example}}
    return {
        "servers": servers,
        "parameters": [{"$ref": "#/components/parameters/Id"}],
        "get": {
            "operationId": name,
            "summary": said.summary,
            "description": said.description,
            "responses": {"200": {"description": said.body, "content": content}} | _REFUSALS,
        },
        "head": {
            "operationId": f"{name}Head",
            "summary": "The head of such a stream; nobody is logged in.",
            "responses": {"200": {"description": "The stream could be opened."}} | _REFUSALS,
        },
    }
