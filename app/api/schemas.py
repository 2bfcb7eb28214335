"""The forms of requests and answers; the OpenAPI document is made from them. Each is made once."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from marshmallow import (
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    validate,
    validates_schema,
)

from app.api.fields import LONGEST_LINE, AddressField, HeadersField, HeaderText, OneOrMany
from app.core.models import MessageState, Outcome, RecipientState
from app.core.submit import Submission

_MOST_RECIPIENTS = 50


def _addresses(**kwargs: Any) -> OneOrMany:
    return OneOrMany(AddressField(), validate=validate.Length(max=_MOST_RECIPIENTS), **kwargs)


class MessageRequest(Schema):
    """A message to send."""

    class Meta:
        unknown = RAISE

    sender = AddressField(data_key="from", required=True)
    to = _addresses(load_default=())
    cc = _addresses(load_default=())
    bcc = _addresses(load_default=())
    reply_to = _addresses(load_default=())
    subject = HeaderText(required=True, validate=validate.Length(1, LONGEST_LINE))
    text = fields.String(validate=validate.Length(min=1), load_default=None)
    html = fields.String(validate=validate.Length(min=1), load_default=None)
    headers = HeadersField(load_default=dict)
    tags = fields.List(
        HeaderText(validate=validate.Length(1, 128)),
        validate=validate.Length(max=20),
        load_default=(),
    )
    metadata = fields.Dict(
        fields.String(validate=validate.Length(1, 64)),
        fields.String(validate=validate.Length(max=1000)),
        validate=validate.Length(max=50),
        load_default=dict,
    )
    providers = fields.List(fields.String(), load_default=())
    on_unknown = fields.String(validate=validate.OneOf(("failover", "hold")), load_default=None)
    expires_at = fields.AwareDateTime("iso", load_default=None)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _complete(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        given = original if isinstance(original, Mapping) else {}
        faults = {}
        if not any(given.get(kind) for kind in ("to", "cc", "bcc")):
            faults["to"] = ["At least one recipient is needed, in to, cc or bcc."]
        if given.get("text") is None and given.get("html") is None:
            faults["text"] = ["A text or html is needed."]
        recipients = [a for kind in ("to", "cc", "bcc") for a in data.get(kind, ())]
        if len({a.email.casefold() for a in recipients}) > _MOST_RECIPIENTS:
            faults["to"] = [f"More than {_MOST_RECIPIENTS} recipients in to, cc and bcc together."]
        if len(set(data.get("providers", ()))) < len(data.get("providers", ())):
            faults["providers"] = ["A provider is named twice."]
        if faults:
            raise ValidationError(faults)

    @post_load
    def _submission(self, data: dict[str, Any], **_: Any) -> Submission:
        expires_at = data["expires_at"]
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
            expires_at=None if expires_at is None else expires_at.astimezone(UTC),
        )


class StatusRequest(Schema):
    """A question for the status of a message, or of one of its recipients."""

    class Meta:
        unknown = RAISE

    id = fields.String(required=True)
    email = fields.String(load_default=None)


class StatusQuery(Schema):
    """Narrows a status to one recipient."""

    class Meta:
        unknown = RAISE

    email = fields.String(load_default=None)


class MessagesQuery(Schema):
    """Which messages to list. `after` is the `next` of the page before."""

    class Meta:
        unknown = RAISE

    status = fields.Enum(MessageState, by_value=True, load_default=None)
    recipient = fields.String(load_default=None)
    tag = fields.String(load_default=None)
    provider = fields.String(load_default=None)
    since = fields.AwareDateTime("iso", load_default=None)
    until = fields.AwareDateTime("iso", load_default=None)
    limit = fields.Integer(validate=validate.Range(1, 100), load_default=20)
    after = fields.String(load_default=None)


class IdempotencyHeader(Schema):
    """Makes a request safe to repeat: the same key and request give the first answer again."""

    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        load_default=None,
        validate=validate.Regexp(r"[!-~][ -~]{0,254}\Z", error="1 to 255 printable characters."),
    )


class Accepted(Schema):
    """The answer to an accepted message."""

    id = fields.String(required=True)
    status = fields.Enum(MessageState, by_value=True, required=True)
    status_url = fields.Url(required=True, require_tld=False)
    message = fields.String(required=True)


class RecipientStatus(Schema):
    """What became of a message for one recipient."""

    email = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(("to", "cc", "bcc")))
    status = fields.Enum(RecipientState, by_value=True, required=True, attribute="state")
    reason = fields.String(required=True, allow_none=True)


class AttemptStatus(Schema):
    """One call to one provider; `outcome` is null while it is under way."""

    id = fields.String(required=True)
    provider = fields.String(required=True)
    outcome = fields.Enum(Outcome, by_value=True, required=True, allow_none=True)
    scope = fields.String(
        required=True, allow_none=True, validate=validate.OneOf(("account", "sender", "message"))
    )
    why = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    status_code = fields.Integer(required=True, allow_none=True)
    provider_message_id = fields.String(required=True, allow_none=True)
    round = fields.Integer(required=True)
    started_at = fields.AwareDateTime("iso", required=True)
    duration_ms = fields.Integer(required=True, allow_none=True)


class Status(Schema):
    """What became of a message, recipient by recipient, and why."""

    id = fields.String(required=True)
    status = fields.Enum(MessageState, by_value=True, required=True, attribute="state")
    reason = fields.String(required=True, allow_none=True)
    provider = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime("iso", required=True)
    updated_at = fields.AwareDateTime("iso", required=True)
    expires_at = fields.AwareDateTime("iso", required=True)
    next_attempt_at = fields.AwareDateTime("iso", required=True, allow_none=True)
    possible_duplicate = fields.Boolean(required=True)
    recipients = fields.List(fields.Nested(RecipientStatus), required=True)
    attempts = fields.List(fields.Nested(AttemptStatus), required=True)


class AddressAnswer(Schema):
    """An address with its name, which may be empty."""

    email = fields.String(required=True)
    name = fields.String(required=True)


class NamedRecipientStatus(RecipientStatus):
    """What became of a message for one recipient, with the recipient's name."""

    name = fields.String(required=True)


class MessageAnswer(Status):
    """Everything that is known of a message but its body."""

    sender = fields.Nested(
        AddressAnswer, data_key="from", attribute="envelope.sender", required=True
    )
    recipients = fields.List(fields.Nested(NamedRecipientStatus), required=True)
    reply_to = fields.List(
        fields.Nested(AddressAnswer), attribute="envelope.reply_to", required=True
    )
    subject = fields.String(attribute="envelope.subject", required=True)
    headers = fields.Function(
        lambda message: dict(message.envelope.headers),
        metadata={"type": "object", "additionalProperties": {"type": "string"}},
    )
    tags = fields.List(fields.String(), attribute="envelope.tags", required=True)
    metadata = fields.Dict(
        fields.String(), fields.String(), attribute="envelope.metadata", required=True
    )
    providers = fields.List(fields.String(), attribute="envelope.providers", required=True)
    on_unknown = fields.String(attribute="envelope.on_unknown", required=True)


class MessagePage(Schema):
    """A page of messages, newest first. `next` is null on the last one."""

    messages = fields.List(fields.Nested(MessageAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class ProviderAnswer(Schema):
    """A provider and its place in the order, counted from 1."""

    name = fields.String(required=True)
    place = fields.Integer(required=True)


class ProvidersAnswer(Schema):
    """The providers in the order in which they are asked."""

    providers = fields.List(fields.Nested(ProviderAnswer), required=True)


class HealthAnswer(Schema):
    """That the process, or the service, is well."""

    status = fields.Constant("ok", required=True)


class VersionAnswer(Schema):
    """Which program answers."""

    name = fields.String(required=True)
    version = fields.String(required=True)


class ProblemAnswer(Schema):
    """An error (RFC 9457). `code` is for programs; `errors` maps a field's path to texts (422)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    errors = fields.Dict(fields.String(), fields.List(fields.String()))
    id = fields.String()
