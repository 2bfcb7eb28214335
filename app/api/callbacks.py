"""Routes for callbacks: where applications are told of their mail, and how that went."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import structlog

from app.api.auth import caller
from app.api.callback_schemas import (
    CallbackAnswer,
    CallbackChange,
    CallbackRequest,
    CallbacksAnswer,
    DeliveriesQuery,
    DeliveryPage,
    ReplayAnswer,
)
from app.api.context import services
from app.api.errors import Problem
from app.api.openapi import ApiBlueprint
from app.core.callback_book import DEFAULT, MOST_ENDPOINTS, Endpoint, TooManyCallbacks
from app.core.callback_events import CallbackEvent
from app.core.callback_queue import Condition, DeliveryState

log = structlog.get_logger(__name__)

blueprint = ApiBlueprint(
    "callbacks", __name__, description="Telling applications what becomes of their mail"
)


@blueprint.route("/callbacks", methods=["GET"])
@blueprint.doc(operationId="listCallbacks")
@blueprint.response(200, CallbacksAnswer)
@blueprint.problems(401, 503)
def list_callbacks() -> dict[str, Any]:
    """List the callbacks of the key

    The first is always `default`: what it says is for messages with a `callback_url` of their own.
    """
    endpoints = services().callback_book.all(caller())
    conditions = services().callback_queue.conditions(endpoints)
    return {"callbacks": [_answer(e, c) for e, c in zip(endpoints, conditions, strict=True)]}


@blueprint.route("/callbacks", methods=["POST"])
@blueprint.doc(operationId="addCallback")
@blueprint.arguments(CallbackRequest())
@blueprint.response(201, CallbackAnswer)
@blueprint.problems(400, 401, 409, 413, 415, 503)
def add_callback(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Register a callback

    It is told of everything that happens from now on, signed as Standard Webhooks has it with the
    `secret` in the answer. 409 where there are too many.
    """
    try:
        endpoint = services().callback_book.add(
            caller(),
            wanted["url"],
            frozenset(wanted["events"]),
            wanted["description"],
            wanted["enabled"],
        )
    except TooManyCallbacks as error:
        raise Problem(
            409, f"There are {MOST_ENDPOINTS} callbacks, the most there may be."
        ) from error
    log.info("callback added", key=caller(), callback=endpoint.id)
    return _answer(endpoint, Condition(), endpoint.secret)


@blueprint.route("/callbacks/<string:callback_id>", methods=["PATCH"])
@blueprint.doc(operationId="changeCallback")
@blueprint.arguments(CallbackChange(), required=False)
@blueprint.response(200, CallbackAnswer)
@blueprint.problems(400, 401, 404, 413, 415, 503)
def change_callback(wanted: Mapping[str, Any], callback_id: str) -> dict[str, Any]:
    """Change a callback, or give it a new secret

    One that is enabled again goes on with what waits; what happened meanwhile it is not told.
    """
    _refuse_for_default(callback_id, wanted)
    changes = {name: value for name, value in wanted.items() if name != "rotate_secret"}
    if "events" in changes:
        changes["events"] = frozenset(changes["events"])
    if "enabled" in changes:
        changes["disabled_because"] = None
    rotate, now = wanted.get("rotate_secret", False), services().clock()

    def changed(seen: Endpoint) -> Endpoint:
        seen = replace(seen, **changes)
        return seen.rotated(now) if rotate else seen

    endpoint = services().callback_book.change(caller(), callback_id, changed)
    if endpoint is None:
        raise _not_found()
    log.info("callback changed", key=caller(), callback=endpoint.id, fields=sorted(wanted))
    (condition,) = services().callback_queue.conditions([endpoint])
    return _answer(endpoint, condition, endpoint.secret if rotate else None)


@blueprint.route("/callbacks/<string:callback_id>", methods=["DELETE"])
@blueprint.doc(operationId="removeCallback")
@blueprint.response(204)
@blueprint.problems(401, 404, 409, 503)
def remove_callback(callback_id: str) -> None:
    """Remove a callback, with what it was still to be told

    409 for `default`, which is always there.
    """
    if callback_id == DEFAULT:
        raise Problem(409, "The default callback is always there; messages without a URL skip it.")
    if not services().callback_book.remove(caller(), callback_id):
        raise _not_found()
    log.info("callback removed", key=caller(), callback=callback_id)


@blueprint.route("/callbacks/<string:callback_id>/deliveries", methods=["GET"])
@blueprint.doc(operationId="listDeliveries")
@blueprint.arguments(DeliveriesQuery(), location="query")
@blueprint.response(200, DeliveryPage)
@blueprint.problems(401, 404, 503)
def list_deliveries(query: Mapping[str, Any], callback_id: str) -> dict[str, Any]:
    """List what a callback was or is to be told, the latest first, with every try

    Kept for 8 days; of those that are over, the last 1000.
    """
    found, following = services().callback_queue.page(
        _own(callback_id), query["after"], query["limit"]
    )
    return {"deliveries": found, "next": following}


@blueprint.route(
    "/callbacks/<string:callback_id>/deliveries/<string:delivery_id>/replay", methods=["POST"]
)
@blueprint.doc(operationId="replayDelivery")
@blueprint.response(202, ReplayAnswer)
@blueprint.problems(401, 404, 409, 503)
def replay_delivery(callback_id: str, delivery_id: str) -> dict[str, Any]:
    """Tell a callback something again, now, under the same `webhook-id`

    409 while it is being told, and where the callback is disabled.
    """
    endpoint = _own(callback_id)
    if not endpoint.enabled:
        raise Problem(409, "This callback is disabled. Enable it first.")
    became = services().callback_queue.replay(endpoint, delivery_id, services().clock())
    if became == "gone":
        raise Problem(404, "There is no such delivery, or no longer.")
    if became == "busy":
        raise Problem(409, "It is being delivered right now.")
    log.info("callback replayed", key=caller(), callback=endpoint.id, delivery=delivery_id)
    return {"id": delivery_id, "status": DeliveryState.WAITING}


def _own(callback_id: str) -> Endpoint:
    endpoint = services().callback_book.get(caller(), callback_id)
    if endpoint is None:
        raise _not_found()
    return endpoint


def _not_found() -> Problem:
    return Problem(404, "There is no such callback.")


def _refuse_for_default(callback_id: str, wanted: Iterable[str]) -> None:
    refused = sorted({"url", "enabled", "description"}.intersection(wanted))
    if callback_id == DEFAULT and refused:
        faults = {name: ["Not for default: messages say where they report to."] for name in refused}
        raise Problem(422, "The request has faults; see errors.", errors=faults)


def _answer(endpoint: Endpoint, condition: Condition, secret: str | None = None) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": [event for event in CallbackEvent if event in endpoint.events],
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "disabled_because": endpoint.disabled_because,
        "created_at": None if endpoint.id == DEFAULT else endpoint.created_at,
        "secret": secret,
        **asdict(condition),
    }
