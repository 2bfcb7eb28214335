"""The forms of requests and answers about callbacks."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from marshmallow import Schema, ValidationError, fields, validate

from app.api.fields import CallbackUrl, Moment, Switch, WholeNumber
from app.api.texts import OneLine
from app.core.callback_events import CallbackEvent
from app.core.callback_queue import DeliveryState

_LONGEST_DESCRIPTION = 200
_MOST_AT_ONCE = 100


def _different(events: Sequence[CallbackEvent]) -> None:
    if len(set(events)) < len(events):
        raise ValidationError("An event is named twice.")


class EventsField(fields.List[CallbackEvent]):
    """Some of the events that there are, each once."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            fields.Enum(CallbackEvent, by_value=fields.String),
            validate=[validate.Length(min=1), _different],
            **kwargs,
        )
        names = [event.value for event in CallbackEvent]
        self.json_schema = {
            "type": "array",
            "items": {"type": "string", "enum": names},
            "minItems": 1,
            "uniqueItems": True,
        }


class CallbackRequest(Schema):
    """A URL that is to be told what becomes of the caller's mail."""

    url = CallbackUrl(required=True)
    events = EventsField(
        load_default=tuple(CallbackEvent), metadata={"description": "Of what; all if not given."}
    )
    description = fields.String(validate=OneLine(_LONGEST_DESCRIPTION), load_default="")
    enabled = Switch(load_default=True)


class CallbackChange(Schema):
    """What is to be another way; the rest stays. `default` has events and a secret only."""

    url = CallbackUrl()
    events = EventsField()
    description = fields.String(validate=OneLine(_LONGEST_DESCRIPTION))
    enabled = Switch(
        metadata={"description": "While false, nothing is sent there; what waits goes on after."}
    )
    rotate_secret = Switch(
        metadata={
            "description": "If true, there is a new secret, which the answer shows; the one before "
            "signs as well for 24 hours."
        }
    )


class CallbackAnswer(Schema):
    """A callback, and how it went lately. The secret is shown when it is new, and never again.

    `disabled_because` is set where the application did not disable it itself. `left_out` counts
    what was not even tried, as too much waited already.
    """

    id = fields.String(required=True)
    url = fields.String(required=True, allow_none=True)
    events = fields.List(fields.Enum(CallbackEvent, by_value=fields.String), required=True)
    description = fields.String(required=True)
    enabled = fields.Boolean(required=True)
    disabled_because = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True, allow_none=True)
    secret = fields.String(required=True, allow_none=True)
    last_try_at = Moment(required=True, allow_none=True)
    last_fault = fields.String(required=True, allow_none=True)
    failing_since = Moment(required=True, allow_none=True)
    left_out = fields.Integer(required=True)


class CallbacksAnswer(Schema):
    """The callbacks of a key; `default` is for messages that name a `callback_url` themselves."""

    callbacks = fields.List(fields.Nested(CallbackAnswer), required=True)


class DeliveriesQuery(Schema):
    """Which part of the deliveries."""

    limit = WholeNumber(validate=validate.Range(1, _MOST_AT_ONCE), load_default=20)
    after = fields.String(
        load_default=None, metadata={"description": "The `next` of the page before."}
    )


class TryAnswer(Schema):
    """One request to the application; `answer` is how that began, at most a KiB."""

    at = Moment(required=True)
    duration_ms = fields.Integer(required=True)
    status_code = fields.Integer(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    answer = fields.String(required=True)


class PayloadField(fields.Raw):
    """What was told, as the JSON that it is."""

    json_schema: Mapping[str, Any] = {"type": "object", "additionalProperties": {}}

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        return orjson.loads(value)


class DeliveryAnswer(Schema):
    """One event that a callback is told of; its id is the header `webhook-id` of every try."""

    id = fields.String(required=True)
    event = fields.Enum(CallbackEvent, by_value=fields.String, required=True)
    message_id = fields.String(required=True)
    url = fields.String(required=True)
    status = fields.Enum(DeliveryState, by_value=fields.String, required=True, attribute="state")
    created_at = Moment(required=True)
    next_try_at = Moment(required=True, allow_none=True)
    payload = PayloadField(required=True, attribute="body")
    tries = fields.List(fields.Nested(TryAnswer), required=True)


class DeliveryPage(Schema):
    """A page of deliveries, the latest first. `next` is null on the last one."""

    deliveries = fields.List(fields.Nested(DeliveryAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class ReplayAnswer(Schema):
    """That a delivery is tried again."""

    id = fields.String(required=True)
    status = fields.Enum(DeliveryState, by_value=fields.String, required=True)
