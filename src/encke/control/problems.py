"""Errors of the control port as problem details (RFC 9457).

May import: errors.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

RETRY_AFTER = "1"
"""Seconds after which asking again is worth it."""


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: object
) -> Response:
    """The answer that says what is wrong, in a sentence on what to do; `members` say more."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }
    return Response(
        msgspec.json.encode(body), status, headers, media_type="application/problem+json"
    )


async def refused(_request: Request, error: Exception) -> Response:
    """What Starlette or a handler refused; only the latter has said why."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = error.detail
    if detail == status.phrase:
        allowed = (error.headers or {}).get("Allow", "GET")
        detail = {
            HTTPStatus.NOT_FOUND: "Nothing is here; GET / lists what the control port has.",
            HTTPStatus.METHOD_NOT_ALLOWED: f"What is answered here: {allowed}.",
        }.get(status, detail)
    return problem(status, detail, error.headers)


async def bad_request(_request: Request, error: Exception) -> Response:
    """An error whose message says what to correct."""
    return problem(HTTPStatus.BAD_REQUEST, str(error))


async def unavailable(_request: Request, error: Exception) -> Response:
    """An error that may be over at the next attempt."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": RETRY_AFTER})


async def failed(_request: Request, _error: Exception) -> Response:
    """An error in Encke."""
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The control process failed at this; its log has the traceback. Please report it.",
    )
