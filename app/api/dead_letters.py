"""Routes for mail that came to no good end: a person's word, another try, or giving up."""

from collections.abc import Mapping
from typing import Any

from app.api.answers import MessageAnswer, ResentAnswer
from app.api.auth import caller
from app.api.context import services
from app.api.messages import find_messages, own_message
from app.api.openapi import ApiBlueprint
from app.api.schemas import MessagesQuery, ResendRequest, ResolveRequest
from app.api.status import recipient_of
from app.core.dead_letters import NotPossible
from app.core.models import Message, MessageState

blueprint = ApiBlueprint("dead letters", __name__, description="Mail that did not arrive")

_DEAD = (MessageState.FAILED, MessageState.EXPIRED, MessageState.PARTIAL)


@blueprint.route("/messages/<message_id:message_id>/resolve", methods=["POST"])
@blueprint.doc(operationId="resolveMessage")
@blueprint.arguments(ResolveRequest())
@blueprint.response(200, MessageAnswer)
@blueprint.problems(400, 401, 404, 409, 413, 415, 503)
def resolve(word: Mapping[str, Any], message_id: str) -> Message:
    """Say what became of an unknown message

    After `not_sent` it is sent, and says `possible_duplicate`: nobody can be sure.
    """
    message = own_message(services(), caller(), message_id)
    return services().dead_letters.resolve(message, word["outcome"])


@blueprint.route("/messages/<message_id:message_id>/resend", methods=["POST"])
@blueprint.doc(operationId="resendMessage")
@blueprint.arguments(ResendRequest(), required=False)
@blueprint.response(202, MessageAnswer)
@blueprint.problems(400, 401, 404, 409, 413, 415, 503)
def resend(choice: Mapping[str, Any], message_id: str) -> Message:
    """Send a dead letter again

    To all whom it did not reach, or to some of them; under its id, with its old attempts.
    """
    message = own_message(services(), caller(), message_id)
    chosen = [recipient_of(message, address) for address in choice["recipients"]]
    if None in chosen:
        raise NotPossible("The message has no such recipient.")
    emails = [recipient.email for recipient in chosen if recipient is not None]
    return services().dead_letters.resend(message, emails, choice["providers"])


@blueprint.route("/messages/<message_id:message_id>/drop", methods=["POST"])
@blueprint.doc(operationId="dropMessage")
@blueprint.response(200, MessageAnswer)
@blueprint.problems(401, 404, 409, 503)
def drop(message_id: str) -> Message:
    """Give a dead letter up

    Its content goes, and it cannot be sent again; its record stays.
    """
    message = own_message(services(), caller(), message_id)
    return services().dead_letters.drop(message)


@blueprint.route("/messages/resend", methods=["POST"])
@blueprint.doc(operationId="resendMessages")
@blueprint.arguments(MessagesQuery(), location="query")
@blueprint.response(202, ResentAnswer)
@blueprint.problems(401, 503)
def resend_many(query: Mapping[str, Any]) -> dict[str, Any]:
    """Send dead letters again, newest first

    Those of a page of `GET /messages` with the same filters; of every dead state without `status`.
    """
    found, following = find_messages(query, [query["status"]] if query["status"] else _DEAD)
    resent = []
    for message in found:
        try:
            resent.append(services().dead_letters.resend(message).id)
        except NotPossible:
            continue
    return {"resent": resent, "next": following}
