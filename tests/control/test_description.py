"""The OpenAPI document and the page made of it keep what they say."""

from collections.abc import Mapping
from importlib import metadata

import httpx
import msgspec
import openapi_schema_validator
import openapi_spec_validator
import pytest

from encke.control.description import description
from encke.control.state import ClusterNode, ClusterState, NodeState, ProcessState
from encke.wire.protocols import PROTOCOLS

from .alone import Alone

TEXT = description()
DOCUMENT = msgspec.json.decode(TEXT, type=dict[str, object])


class Schema(msgspec.Struct):
    properties: dict[str, object]
    required: list[str]


class Components(msgspec.Struct):
    schemas: dict[str, Schema]


class Media(msgspec.Struct):
    example: str = ""


class Body(msgspec.Struct):
    content: dict[str, Media]


class Operation(msgspec.Struct):
    responses: dict[str, object]
    body: Body | None = msgspec.field(default=None, name="requestBody")


class Typed(msgspec.Struct):
    """What the tests read of the document."""

    paths: dict[str, dict[str, object]]
    components: Components
    info: dict[str, object]


TYPED = msgspec.json.decode(TEXT, type=Typed)


def check(name: str, value: object) -> None:
    """`value` is what the schema `name` says, and no more."""
    schema: Mapping[str, object] = {
        "$ref": f"#/components/schemas/{name}",
        "components": DOCUMENT["components"],
    }
    openapi_schema_validator.validate(value, schema, openapi_schema_validator.OAS31Validator)


def test_it_is_openapi() -> None:
    """The document is valid OpenAPI 3.1."""
    openapi_spec_validator.validate(DOCUMENT)


def test_it_has_the_package_version() -> None:
    """The document's version, which /state also tells, is the package's."""
    assert TYPED.info["version"] == metadata.version("encke")


def test_every_stream_is_described() -> None:
    """Each protocol has its path, with what it says of itself."""
    for protocol in PROTOCOLS:
        said = protocol.documentation
        item = msgspec.convert(TYPED.paths[f"/{protocol.name.decode()}/{{id}}"], dict[str, object])
        assert described_port(item) == "Public port"
        get = msgspec.convert(item["get"], dict[str, object])
        assert (get["summary"], get["description"]) == (said.summary, said.description)
        ok = msgspec.convert(get["responses"], dict[str, dict[str, object]])["200"]
        content = msgspec.convert(ok["content"], dict[str, dict[str, object]])
        assert content[said.media_type]["example"] == said.example


def test_it_is_served_as_it_is(control: Alone) -> None:
    """/openapi.json is the document."""
    answer = control.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == TEXT


def test_the_control_port_has_what_it_describes(control: Alone) -> None:
    """Each GET that is described is answered with a status and a type that are described."""
    for path, item in TYPED.paths.items():
        if described_port(item) == "Control port" and "get" in item:
            check_answer(control.get(path.format(id="123")), item)


def test_each_change_is_answered_as_described(control: Alone) -> None:
    """PUT, DELETE and POST too, each with what it takes as an example."""
    for path, item in TYPED.paths.items():
        if described_port(item) != "Control port":
            continue
        for method in ("put", "delete", "post"):
            if method in item:
                operation = msgspec.convert(item[method], Operation)
                url = path.format(subscriber="123", publisher="456")
                bodies = operation.body.content if operation.body else {"": Media()}
                for media_type, media in bodies.items():
                    answer = control.client.request(
                        method, url, content=media.example, headers={"Content-Type": media_type}
                    )
                    assert str(answer.status_code) in operation.responses
                    assert answer.status_code < 400


def described_port(item: dict[str, object]) -> str:
    servers = msgspec.convert(item["servers"], list[dict[str, object]])
    return str(servers[0]["description"])


def check_answer(answer: httpx.Response, item: dict[str, object]) -> None:
    operation = msgspec.convert(item["get"], dict[str, object])
    responses = msgspec.convert(operation["responses"], dict[str, dict[str, object]])
    content = msgspec.convert(responses[str(answer.status_code)]["content"], dict[str, object])
    assert answer.headers["content-type"].partition(";")[0] in content


@pytest.mark.parametrize(
    ("name", "struct"),
    [(struct.__name__, struct) for struct in (NodeState, ProcessState, ClusterState, ClusterNode)],
)
def test_the_state_is_described_in_full(name: str, struct: type[msgspec.Struct]) -> None:
    """The schema's properties are the answer's, all of them, in its order."""
    schema = TYPED.components.schemas[name]
    assert tuple(schema.properties) == struct.__struct_fields__
    assert tuple(schema.required) == struct.__struct_fields__


def test_the_answers_are_as_described(control: Alone) -> None:
    """/state, /health and errors fulfil their schemas."""
    check("NodeState", control.get("/state").json())
    check("Health", control.get("/health").json())
    check("Problem", control.get("/nothing").json())
    lines = {"Content-Type": "text/tab-separated-values"}
    loaded = control.client.post("/subscriptions", content=b"1\t2\n1\t3\nx\n", headers=lines)
    check("Loaded", loaded.json())
    check("Subscriptions", control.get("/users/1/subscriptions?limit=1").json())
    check("Subscribers", control.get("/users/3/subscribers").json())
    check("Problem", control.get("/users/3/subscribers?limit=0").json())


def test_the_page_shows_every_request(control: Alone) -> None:
    """/docs has each path, each schema, and needs nothing from elsewhere."""
    page = control.get("/docs").text
    for path in TYPED.paths:
        assert f"<code>{path}</code>" in page
    for name in TYPED.components.schemas:
        assert f'id="{name}"' in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
