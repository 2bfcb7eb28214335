"""The route for sending many messages in one request."""

from collections.abc import Mapping
from typing import Any

from flask import url_for
from marshmallow import ValidationError

from app.api.answers import BatchAnswer
from app.api.auth import caller
from app.api.context import services
from app.api.errors import Problem
from app.api.messages import accepted, replay_headers
from app.api.openapi import ApiBlueprint
from app.api.parsing import flatten
from app.api.schemas import BatchQuery, BatchRequest, IdempotencyHeader, MessageRequest
from app.core.submit import Faults, Submission, Submitted, fingerprint

blueprint = ApiBlueprint("batch", __name__, description="Sending many messages at once")

_MESSAGE = MessageRequest()


@blueprint.route("/messages/batch", methods=["POST"])
@blueprint.doc(operationId="sendMessages")
@blueprint.arguments(BatchRequest())
@blueprint.arguments(BatchQuery(), location="query")
@blueprint.undocumented_arguments(IdempotencyHeader(), location="headers")
@blueprint.response(202, BatchAnswer, headers=replay_headers)
@blueprint.problems(400, 401, 413, 415, 503)
def send_messages(
    batch: Mapping[str, Any], query: Mapping[str, Any], headers: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Send up to 1000 messages

    All are stored in one step, or none. The answer has an entry for each message, in order. With
    `mode=permissive`, messages with faults have `errors` in their entries, and the others are
    accepted; where none can be, it is 422 as in strict mode.

    The header Idempotency-Key (see components) makes the request, as a whole, safe to repeat.
    """
    defaults = batch["defaults"]
    requests = [_load(defaults, message) for message in batch["messages"]]
    requests = services().submitter.rendered(caller(), requests)
    good = [request for request in requests if isinstance(request, Submission)]
    if not good or (len(good) < len(requests) and query["mode"] == "strict"):
        earlier = services().submitter.replay(
            caller(), headers["idempotency_key"], fingerprint([query["mode"], batch])
        )
        if earlier is None:
            faults = _by_index(batch, requests)
            raise Problem(422, "The request has faults; see errors.", errors=faults)
        submitted = earlier
    else:
        submitted = services().submitter.submit_batch(
            caller(), requests, headers["idempotency_key"], fingerprint([query["mode"], batch])
        )
    entries = [
        accepted(entry, url_for("status.get_status", message_id=entry.message_id))
        if isinstance(entry, Submitted)
        else {"errors": entry}
        for entry in submitted.entries
    ]
    replayed = {"Idempotency-Replayed": "true"} if submitted.replayed else {}
    return {"messages": entries}, replayed


def _load(defaults: Mapping[str, Any], message: Any) -> Submission | Faults:
    """The message with what it does not say itself, or what is wrong with it."""
    whole = {**defaults, **message} if isinstance(message, Mapping) else message
    try:
        submission: Submission = _MESSAGE.load(whole)
    except ValidationError as error:
        return flatten(error.messages)
    return submission


def _by_index(
    batch: Mapping[str, Any], requests: list[Submission | Faults]
) -> dict[str, list[str]]:
    """What is wrong with the request: each fault once, where it stands in it."""
    errors: dict[str, list[str]] = {}
    for index, faults in enumerate(requests):
        if isinstance(faults, Submission):
            continue
        message = batch["messages"][index]
        for path, texts in faults.items():
            field = path.partition(".")[0]
            inherited = field in batch["defaults"] and field not in message
            where = "defaults" if inherited else f"messages.{index}"
            errors[f"{where}.{path}" if path else where] = texts
    return errors
