"""Every error of every route as `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from app.core.dead_letters import NotPossible
from app.core.rendering import TemplateFaults
from app.core.rendering_processes import RenderingBusy
from app.core.scripting import StoreUnavailable, WriteInDoubt
from app.core.submit import AcceptInDoubt, BacklogFull, IdempotencyMismatch

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
_RETRY_AFTER = {"Retry-After": "2"}
_RETRY_LATER = {"Retry-After": "30"}
_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method; Allow names those that it takes.",
    413: "The request is larger than this service takes.",
}
_CODES = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}


class Problem(Exception):
    """An answer that is an error.

    `code` is for programs, `detail` for people. `errors` maps a field's path (`to.1`) to texts;
    `extra` holds further members of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        errors: Mapping[str, list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or _CODES.get(status, "error")
        self.errors = errors
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": f"urn:steadpost:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.extra,
        }
        if self.errors is not None:
            body["errors"] = self.errors
        response = Response(orjson.dumps(body), self.status, content_type=CONTENT_TYPE)
        response.headers.update(self.headers)
        return response


def as_problem(error: Exception) -> Problem:
    """What an error that came out of a view means to the caller."""
    match error:
        case Problem():
            return error
        case IdempotencyMismatch():
            return Problem(
                422,
                "This Idempotency-Key was used before, with another request.",
                code="idempotency_mismatch",
                errors={"Idempotency-Key": ["Used before, with another request."]},
            )
        case AcceptInDoubt():
            return Problem(
                503,
                "The message was accepted or not: the store's answer was lost. Repeat the request "
                "with the same Idempotency-Key, or look the id up.",
                code="accept_in_doubt",
                headers=_RETRY_AFTER,
                extra={"id": error.message_ids[0], "ids": list(error.message_ids)}
                if error.message_ids[1:]
                else {"id": error.message_ids[0]},
            )
        case TemplateFaults():
            return Problem(422, "The request has faults; see errors.", errors=error.errors)
        case RenderingBusy():
            return Problem(
                503, "Too much mail is being rendered. Nothing was kept.", headers=_RETRY_AFTER
            )
        case NotPossible():
            return Problem(409, str(error))
        case WriteInDoubt():
            return Problem(
                503,
                "It was done or not: the store's answer was lost. Look before you repeat it.",
                code="in_doubt",
                headers=_RETRY_AFTER,
            )
        case BacklogFull():
            return Problem(
                503,
                "Too much mail waits to be sent. Nothing was kept.",
                code="backlog_full",
                headers=_RETRY_LATER,
            )
        case StoreUnavailable():
            return Problem(
                503, "The store does not answer. Nothing was kept.", headers=_RETRY_AFTER
            )
        case HTTPException() if error.code is not None and error.code >= 400:
            # Werkzeug adds headers that matter, such as Allow; its HTML body is not ours.
            headers = {
                name: value
                for name, value in error.get_headers()
                if name.lower() not in ("content-type", "content-length")
            }
            detail = _DETAILS.get(error.code) or error.description or ""
            return Problem(error.code, detail, headers=headers)
    log.exception("request failed", request=g.get("request_id"))
    return Problem(500, "Something went wrong here. The log says what.")


def register(app: Flask) -> None:
    """Makes problems of all errors, Flask's own included."""

    def answer(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException) and (error.code is None or error.code < 400):
            return error
        return as_problem(error).response()

    app.register_error_handler(Exception, answer)
