"""Errors of the control port as problem details (RFC 9457)."""

from http import HTTPStatus

from .. import log
from ..errors import BadUserId, StoreError
from ..wire.response import PROBLEM, Headers, problem_body
from .response import Response

RETRY_AFTER: Headers = ((b"Retry-After", b"1"),)
"""The header that says after how many seconds asking again is worth it."""

FAILED = "The control process failed at this; its log has the traceback. Please report it."


class Rejected(Exception):
    """Raised by a handler that doesn't do what it's asked for; it says why."""

    def __init__(self, status: int, detail: str, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def problem(status: int, detail: str, headers: Headers = (), **members: int) -> Response:
    """The answer that says what is wrong, in a sentence on what to do; `members` say more."""
    return Response(status, problem_body(status, detail, members), PROBLEM, headers)


def problem_of(error: Exception) -> Response:
    """The answer to who asked for what raised `error`."""
    match error:
        case Rejected():
            return problem(error.status, error.detail, error.headers)
        case BadUserId():
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        case StoreError():
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), RETRY_AFTER)
        case _:
            import traceback  # once something is wrong in Encke

            lines = "".join(traceback.format_exception(error))
            log.error("crashed", process="control", error=repr(error), traceback=lines)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, FAILED)
