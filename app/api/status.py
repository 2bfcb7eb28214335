"""Routes that say what became of a message."""

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, request
from marshmallow import ValidationError
from msgspec.structs import replace

from app.api.addresses import parse_address
from app.api.answers import Status
from app.api.auth import caller
from app.api.context import services
from app.api.errors import Problem
from app.api.messages import own_message
from app.api.openapi import ApiBlueprint
from app.api.schemas import StatusQuery, StatusRequest
from app.core.models import Message, Recipient

blueprint = ApiBlueprint("status", __name__, description="What became of a message")

_STATUS = Status()
_ETAG = {"ETag": {"schema": {"type": "string"}, "required": True}}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "The ETag of the answer that is known already.",
    "schema": {"type": "string"},
}


@blueprint.route("/status/<message_id:message_id>", methods=["GET"], parameters=[_IF_NONE_MATCH])
@blueprint.doc(operationId="getStatus")
@blueprint.arguments(StatusQuery(), location="query")
@blueprint.response(200, Status, headers=_ETAG)
@blueprint.alt_response(304, description="It is as If-None-Match says", headers=_ETAG)
@blueprint.problems(401, 404, 503)
def get_status(query: Mapping[str, Any], message_id: str) -> Response:
    """What became of a message, and why"""
    response = _answer(message_id, query["email"])
    response.make_conditional(request)
    return response


@blueprint.route("/status", methods=["POST"])
@blueprint.doc(operationId="askForStatus")
@blueprint.arguments(StatusRequest())
@blueprint.response(200, Status, headers=_ETAG)
@blueprint.problems(400, 401, 404, 413, 415, 503)
def ask_for_status(question: Mapping[str, Any]) -> Response:
    """What became of a message, for forms that cannot build a path"""
    return _answer(question["id"], question["email"])


def narrowed(message: Message, email: str) -> Message:
    """The message with that one recipient. Raises Problem (404)."""
    recipient = recipient_of(message, email)
    if recipient is None:
        raise Problem(404, "The message has no such recipient.", code="recipient_not_found")
    return replace(message, recipients=(recipient,))


def recipient_of(message: Message, address: str) -> Recipient | None:
    """The recipient of this address, however it is written."""
    try:
        wanted = parse_address(address).email.casefold()
    except ValidationError:
        return None
    return next((r for r in message.recipients if r.email.casefold() == wanted), None)


def _answer(message_id: str, email: str | None) -> Response:
    message = own_message(services(), caller(), message_id)
    if email is not None:
        message = narrowed(message, email)
    response: Response = jsonify(_STATUS.dump(message))
    response.headers["Cache-Control"] = "private, no-cache"
    response.add_etag(weak=True)
    return response
