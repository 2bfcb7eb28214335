"""Routes for sending messages and looking at them."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from flask import current_app, g, url_for
from msgspec import structs

from app.api.answers import Accepted, MessageDetail, MessagePage
from app.api.auth import caller
from app.api.context import services
from app.api.errors import Problem
from app.api.openapi import ApiBlueprint
from app.api.schemas import IdempotencyHeader, MessageRequest, MessagesQuery
from app.core import ids
from app.core.models import Message, MessageState
from app.core.records import to_ms
from app.core.store import MessageStore
from app.core.submit import Submission, Submitted, fingerprint
from app.services import Services

blueprint = ApiBlueprint("messages", __name__, description="Sending mail, and looking at it")

_MOST_LOOKED_AT = 1000
_FILTERED_AT_ONCE = 200
_LINKS = {
    name: {"operationId": name, "parameters": {"message_id": "$response.body#/id"}}
    for name in (
        "getStatus",
        "getMessage",
        "cancelMessage",
        "resolveMessage",
        "resendMessage",
        "dropMessage",
    )
}
replay_headers = {
    "Idempotency-Replayed": {
        "schema": {"type": "string", "const": "true"},
        "description": "This is the answer to an earlier request with the same key",
    },
}


@blueprint.route("/messages", methods=["POST"])
@blueprint.doc(operationId="sendMessage", responses={202: {"links": _LINKS}})
@blueprint.arguments(MessageRequest())
@blueprint.undocumented_arguments(IdempotencyHeader(), location="headers")
@blueprint.response(
    202,
    Accepted,
    headers={
        "Location": {
            "schema": {"type": "string", "format": "uri-reference"},
            "required": True,
            "description": "Where its status is",
        },
        **replay_headers,
    },
)
@blueprint.problems(400, 401, 413, 415, 503)
def send_message(
    submission: Submission, headers: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """Send a message

    It is stored before the answer comes, and is sent soon after, or at `send_at`. The answer leads
    to its status.

    The header Idempotency-Key (see components) makes the request safe to repeat.
    """
    key = headers["idempotency_key"]
    submitted = services().submitter.submit(
        caller(), submission, key, "" if key is None else fingerprint(submission)
    )
    g.message_id = submitted.message_id
    path = url_for("status.get_status", message_id=submitted.message_id)
    replayed = {"Idempotency-Replayed": "true"} if submitted.replayed else {}
    return accepted(submitted, path), {"Location": path, **replayed}


@blueprint.route("/messages", methods=["GET"])
@blueprint.doc(operationId="listMessages")
@blueprint.arguments(MessagesQuery(), location="query")
@blueprint.response(200, MessagePage)
@blueprint.problems(401, 503)
def list_messages(query: Mapping[str, Any]) -> dict[str, Any]:
    """List messages, newest first

    A page may hold fewer than `limit` and still have a `next`, where filters pass over many.
    """
    found, following = find_messages(query, [query["status"]])
    return {"messages": found, "next": following}


@blueprint.route("/messages/<message_id:message_id>", methods=["GET"])
@blueprint.doc(operationId="getMessage")
@blueprint.response(200, MessageDetail)
@blueprint.problems(401, 404, 503)
def get_message(message_id: str) -> dict[str, Any]:
    """Everything that is known of a message, but its body

    `events` is what its providers have reported, oldest first: at least the first 200 reports.
    """
    message = own_message(services(), caller(), message_id)
    names = (*(field.name for field in structs.fields(message)), "provider")
    known = {name: getattr(message, name) for name in names}
    return {**known, "events": services().store.timeline(message_id)}


def accepted(submitted: Submitted, path: str) -> dict[str, str]:
    """The answer for an accepted message; `path` leads to its status."""
    return {
        "id": submitted.message_id,
        "status": submitted.state,
        "status_url": current_app.config["PUBLIC_URL"] + path,
        "message": "Accepted. Its status says what becomes of it.",
    }


def find_messages(
    query: Mapping[str, Any], states: Sequence[MessageState | None]
) -> tuple[list[Message], str | None]:
    """A page of the caller's messages in these states (None: in any), and its `next`."""
    found: list[Message] = []
    store = services().store
    by_state = [_newest_first(store, query, state) for state in states]
    newest_first = heapq.merge(*by_state, key=itemgetter(0), reverse=True)
    for looked_at, (message_id, message) in enumerate(newest_first, 1):
        if message is not None and _matches(message, query):
            found.append(message)
        if len(found) == query["limit"] or looked_at == _MOST_LOOKED_AT:
            return found, message_id
    return found, None


def own_message(services: Services, api_key: str, message_id: str) -> Message:
    """The message, if there is one that came with the key. Raises Problem (404)."""
    message = services.store.get(message_id) if ids.is_message_id(message_id) else None
    if message is None or message.key != api_key:
        raise Problem(404, "There is no such message, or no longer.")
    return message


def _newest_first(
    store: MessageStore, query: Mapping[str, Any], state: MessageState | None
) -> Iterator[tuple[str, Message | None]]:
    since, until = _bound(query["since"]), _bound(query["until"])
    before = min((bound for bound in (query["after"], until) if bound is not None), default=None)
    filtered = any(query[name] is not None for name in _FILTERS)
    count = _FILTERED_AT_ONCE if filtered else query["limit"]
    while page := store.page(caller(), state, before, since, count):
        yield from zip(page, store.get_many(page), strict=True)
        before = page[-1]


def _bound(at: datetime | None) -> str | None:
    return None if at is None else ids.time_bound(to_ms(at))


_FILTERS: Mapping[str, Callable[[Message, str], bool]] = {
    "recipient": lambda m, text: any(r.email.casefold() == text.casefold() for r in m.recipients),
    "tag": lambda m, text: text in m.envelope.tags,
    "provider": lambda m, text: m.provider == text,
}


def _matches(message: Message, query: Mapping[str, Any]) -> bool:
    return all(query[n] is None or matches(message, query[n]) for n, matches in _FILTERS.items())
