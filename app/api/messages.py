"""Routes for sending messages and looking at them."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from flask import current_app, g, url_for

from app.api import errors
from app.api.auth import caller
from app.api.context import services
from app.api.openapi import ApiBlueprint
from app.api.schemas import (
    Accepted,
    IdempotencyHeader,
    MessageAnswer,
    MessagePage,
    MessageRequest,
    MessagesQuery,
)
from app.core import ids
from app.core.models import Message, MessageState
from app.core.records import to_ms
from app.core.store import MessageStore
from app.core.submit import Submission, fingerprint
from app.services import Services

blueprint = ApiBlueprint("messages", __name__, description="Sending mail, and looking at it")

_MOST_LOOKED_AT = 1000
_REQUEST = MessageRequest()
_text = {"type": "string"}
_texts = {"type": "array", "items": _text}
_FORM = {
    "type": "object",
    "description": "The same fields: lists by repeating a field, objects as JSON text.",
    "required": ["from", "subject"],
    "additionalProperties": False,
    "properties": {
        "from": _text,
        **dict.fromkeys(("to", "cc", "bcc", "reply_to", "tags", "providers"), _texts),
        **dict.fromkeys(("subject", "text", "html", "on_unknown", "expires_at"), _text),
        **{
            name: {"type": "string", "contentMediaType": "application/json"}
            for name in ("headers", "metadata")
        },
    },
}


@blueprint.route("/messages", methods=["POST"])
@blueprint.doc(
    requestBody={
        "content": {
            "application/x-www-form-urlencoded": {"schema": _FORM},
            "multipart/form-data": {"schema": _FORM},
        }
    }
)
@blueprint.arguments(_REQUEST)
@blueprint.arguments(IdempotencyHeader, location="headers")
@blueprint.response(
    202,
    Accepted,
    headers={
        "Location": {"schema": {"type": "string"}, "description": "Where its status is"},
        "Idempotency-Replayed": {
            "schema": {"type": "string", "const": "true"},
            "description": "This is the answer to an earlier request with the same key",
        },
    },
)
@blueprint.problems(400, 401, 413, 415, 503)
def send_message(
    submission: Submission, headers: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """Send a message

    It is stored before the answer comes, and is sent soon after. The answer leads to its status.
    """
    submitted = services().submitter.submit(
        caller(), submission, headers["idempotency_key"], fingerprint(submission)
    )
    g.message_id = submitted.message_id
    path = url_for("status.get_status", message_id=submitted.message_id)
    answer = {
        "id": submitted.message_id,
        "status": MessageState.QUEUED,
        "status_url": current_app.config["PUBLIC_URL"] + path,
        "message": "Accepted. Its status says what becomes of it.",
    }
    replayed = {"Idempotency-Replayed": "true"} if submitted.replayed else {}
    return answer, {"Location": path, **replayed}


@blueprint.route("/messages", methods=["GET"])
@blueprint.arguments(MessagesQuery, location="query")
@blueprint.response(200, MessagePage)
@blueprint.problems(401, 503)
def list_messages(query: Mapping[str, Any]) -> dict[str, Any]:
    """List messages, newest first

    Where filters pass over many, a page may hold fewer than `limit` and still have a `next`.
    """
    after = query["after"]
    if after is not None and not ids.is_message_id(after):
        raise errors.Problem(422, "See errors.", errors={"after": ["Not the `next` of a page."]})
    before = after or _bound(query["until"])
    wanted: list[Message] = []
    newest_first = _newest_first(services().store, query, before)
    for looked_at, (message_id, message) in enumerate(newest_first, 1):
        if message is not None and _matches(message, query):
            wanted.append(message)
        if len(wanted) == query["limit"] or looked_at == _MOST_LOOKED_AT:
            return {"messages": wanted, "next": message_id}
    return {"messages": wanted, "next": None}


@blueprint.route("/messages/<string:message_id>", methods=["GET"])
@blueprint.response(200, MessageAnswer)
@blueprint.problems(401, 404, 503)
def get_message(message_id: str) -> Message:
    """Everything that is known of a message, but its body"""
    return own_message(services(), caller(), message_id)


def own_message(services: Services, api_key: str, message_id: str) -> Message:
    """The message, if there is one that came with the key. Raises Problem (404)."""
    message = services.store.get(message_id) if ids.is_message_id(message_id) else None
    if message is None or message.key != api_key:
        raise errors.Problem(404, "There is no such message, or no longer.")
    return message


def _bound(at: datetime | None) -> str | None:
    return None if at is None else ids.time_bound(to_ms(at))


def _newest_first(
    store: MessageStore, query: Mapping[str, Any], before: str | None
) -> Iterator[tuple[str, Message | None]]:
    since = _bound(query["since"])
    while page := store.page(caller(), query["status"], before, since, query["limit"]):
        yield from zip(page, store.get_many(page), strict=True)
        before = page[-1]


_FILTERS: Mapping[str, Callable[[Message, str], bool]] = {
    "recipient": lambda m, text: any(r.email.casefold() == text.casefold() for r in m.recipients),
    "tag": lambda m, text: text in m.envelope.tags,
    "provider": lambda m, text: m.provider == text,
}


def _matches(message: Message, query: Mapping[str, Any]) -> bool:
    return all(query[n] is None or matches(message, query[n]) for n, matches in _FILTERS.items())
