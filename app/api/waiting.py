"""Routes for mail that waits: calling it back, and having it sent at another time."""

from collections.abc import Mapping
from typing import Any

from app.api.answers import MessageAnswer
from app.api.auth import caller
from app.api.context import services
from app.api.errors import Problem
from app.api.messages import own_message
from app.api.openapi import ApiBlueprint
from app.api.schemas import ScheduleRequest
from app.core.models import Message
from app.core.waiting import TooLate

blueprint = ApiBlueprint("waiting", __name__, description="Mail that waits")


@blueprint.route("/messages/<message_id:message_id>", methods=["PATCH"])
@blueprint.doc(operationId="moveMessage")
@blueprint.arguments(ScheduleRequest())
@blueprint.response(200, MessageAnswer)
@blueprint.problems(400, 401, 404, 409, 413, 415, 503)
def move(schedule: Mapping[str, Any], message_id: str) -> Message:
    """Send a scheduled message at another time

    At once if that is past. It expires when it said that it does, or as long after as before.
    """
    message = own_message(services(), caller(), message_id)
    try:
        return services().waiting.move(message, schedule["send_at"])
    except TooLate as error:
        raise Problem(
            422, "The request has faults; see errors.", errors={"send_at": [str(error)]}
        ) from error


@blueprint.route("/messages/<message_id:message_id>/cancel", methods=["POST"])
@blueprint.doc(operationId="cancelMessage")
@blueprint.response(200, MessageAnswer)
@blueprint.problems(401, 404, 409, 503)
def cancel(message_id: str) -> Message:
    """Call a message back that waits to be sent

    Nothing more is sent then; where an attempt may have been accepted it is `unknown`, otherwise
    `cancelled`. 409 while a provider is being asked, and when everything has been done.
    """
    return services().waiting.cancel(own_message(services(), caller(), message_id))
