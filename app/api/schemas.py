"""The forms of requests; the OpenAPI document is made from them. Each is made once."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from app.api.fields import (
    AddressesField,
    AddressField,
    Moment,
    ProvidersField,
    TextMap,
    WholeNumber,
)
from app.api.texts import LONGEST_LINE, OneLine, Pattern, header_name
from app.core import ids
from app.core.models import MessageState
from app.core.submit import Submission

_KINDS = ("to", "cc", "bcc")
_MOST_RECIPIENTS = 50
"""SES's limit is everybody's limit."""
_MOST_ADDRESSES = 100
"""In one list, where some may be there twice, which counts once."""
_OPTIONAL: Mapping[str, Any] = {"load_default": None, "allow_none": False}


class MessageRequest(Schema):
    """A message to send."""

    json_schema: ClassVar[Mapping[str, Any]] = {
        "allOf": [
            {"anyOf": [{"required": [n], "properties": {n: {"minItems": 1}}} for n in _KINDS]},
            {
                "anyOf": [
                    {"required": [n], "properties": {n: {"type": "string"}}}
                    for n in ("text", "html")
                ]
            },
        ]
    }

    sender = AddressField(data_key="from", required=True)
    to = AddressesField(
        _MOST_ADDRESSES,
        load_default=(),
        metadata={"description": "To, cc and bcc name 50 different addresses at most together."},
    )
    cc = AddressesField(_MOST_ADDRESSES, load_default=())
    bcc = AddressesField(_MOST_ADDRESSES, load_default=())
    reply_to = AddressesField(_MOST_RECIPIENTS, load_default=())
    subject = fields.String(required=True, validate=OneLine(LONGEST_LINE, 1))
    text = fields.String(
        validate=validate.Length(min=1),
        load_default=None,
        metadata={"description": "Made from html where only that is given."},
    )
    html = fields.String(validate=validate.Length(min=1), load_default=None)
    headers = TextMap(
        fields.String(validate=header_name),
        fields.String(validate=OneLine(LONGEST_LINE, 1)),
        validate=validate.Length(max=50),
        load_default=dict,
        metadata={
            "description": "Headers of your own, but none that the service or the provider writes.",
            "examples": [{"X-Order": "17"}],
        },
    )
    tags = fields.List(
        fields.String(validate=OneLine(128, 1)),
        validate=validate.Length(max=20),
        load_default=(),
        metadata={"description": "To find messages by; providers do not see them."},
    )
    metadata = TextMap(
        fields.String(validate=validate.Length(1, 64)),
        fields.String(validate=validate.Length(max=1000)),
        validate=validate.Length(max=50),
        load_default=dict,
        metadata={
            "description": "Yours, and given back with the message; providers do not see it.",
            "examples": [{"order": "17"}],
        },
    )
    providers = ProvidersField(
        metadata={"description": "Whom to ask, in this order, in place of the service's own."}
    )
    on_unknown = fields.String(
        validate=validate.OneOf(("failover", "hold")),
        load_default=None,
        metadata={
            "description": "Where a provider gives no clear answer: ask the next one, which may "
            "make a second copy, or wait for somebody to decide. If null, as the service is set."
        },
    )
    expires_at = Moment(
        load_default=None,
        metadata={
            "description": "When to give up. If null, as the service is set; if past, at once."
        },
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _complete(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        if not isinstance(original, Mapping):
            return
        faults = {}
        if not any(original.get(kind) for kind in _KINDS):
            faults["to"] = ["At least one recipient is needed, in to, cc or bcc."]
        if original.get("text") is None and original.get("html") is None:
            faults["text"] = ["A text or html is needed."]
        recipients = {a.email.casefold() for kind in _KINDS for a in data.get(kind, ())}
        if len(recipients) > _MOST_RECIPIENTS:
            faults["to"] = [f"More than {_MOST_RECIPIENTS} recipients in to, cc and bcc together."]
        if faults:
            raise ValidationError(faults)

    @post_load
    def _submission(self, data: dict[str, Any], **_: Any) -> Submission:
        return Submission(
            sender=data["sender"],
            to=tuple(data["to"]),
            cc=tuple(data["cc"]),
            bcc=tuple(data["bcc"]),
            reply_to=tuple(data["reply_to"]),
            subject=data["subject"],
            text=data["text"],
            html=data["html"],
            headers=tuple(data["headers"].items()),
            tags=tuple(data["tags"]),
            metadata=data["metadata"],
            providers=tuple(data["providers"]),
            on_unknown=data["on_unknown"],
            expires_at=data["expires_at"],
        )


class IdempotencyHeader(Schema):
    """Makes a request safe to repeat: the same key and request give the first answer again."""

    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        **_OPTIONAL,
        validate=Pattern("^[!-~][ -~]{0,254}$", error="1 to 255 printable ASCII characters."),
        metadata={
            "description": "Makes the request safe to repeat: the same key with the same request "
            "gives the first answer again, for a day. With another request it is refused (422)."
        },
    )


class StatusRequest(Schema):
    """A question for the status of a message, or of one of its recipients."""

    id = fields.String(required=True)
    email = fields.String(load_default=None)


class StatusQuery(Schema):
    """Narrows a status to one recipient."""

    email = fields.String(
        **_OPTIONAL,
        metadata={"description": "Only this recipient; case does not matter."},
    )


class MessagesQuery(Schema):
    """Which messages to list."""

    status = fields.Enum(MessageState, by_value=fields.String, **_OPTIONAL)
    recipient = fields.String(
        **_OPTIONAL,
        metadata={"description": "The address of a recipient; case does not matter."},
    )
    tag = fields.String(**_OPTIONAL)
    provider = fields.String(**_OPTIONAL, metadata={"description": "Who took the message."})
    since = Moment(
        **_OPTIONAL,
        metadata={"description": "Messages accepted at this time or later."},
    )
    until = Moment(
        **_OPTIONAL,
        metadata={"description": "Messages accepted before this time."},
    )
    limit = WholeNumber(validate=validate.Range(1, 100), load_default=20)
    after = fields.String(
        **_OPTIONAL,
        validate=Pattern(f"^{ids.MESSAGE_ID}$", error="Not the `next` of a page."),
        metadata={"description": "The `next` of the page before."},
    )


class ResolveRequest(Schema):
    """A person's word for what became of an unknown message."""

    outcome = fields.String(required=True, validate=validate.OneOf(("sent", "not_sent")))


class ResendRequest(Schema):
    """Whom to send a dead letter to again, and by whom."""

    recipients = fields.List(
        fields.String(),
        load_default=(),
        metadata={"description": "Some of those that it did not reach; all of them if empty."},
    )
    providers = ProvidersField(
        metadata={"description": "Whom to ask, in this order, in place of the message's."}
    )
