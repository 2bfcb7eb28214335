"""The forms of answers; the OpenAPI document is made from them. Each is made once."""

from marshmallow import Schema, fields, validate

from app.api.fields import Moment, TextPairs
from app.core.breaker import BreakerState
from app.core.models import Finding, MessageState, Outcome, RecipientState, Source


class Accepted(Schema):
    """The answer to an accepted message."""

    id = fields.String(required=True)
    status = fields.Enum(MessageState, by_value=fields.String, required=True)
    status_url = fields.String(required=True, metadata={"format": "uri"})
    message = fields.String(required=True)


class RecipientStatus(Schema):
    """What became of a message for one recipient."""

    email = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(("to", "cc", "bcc")))
    status = fields.Enum(RecipientState, by_value=fields.String, required=True, attribute="state")
    reason = fields.String(required=True, allow_none=True)


class EvidenceStatus(Schema):
    """What settled an attempt of which nobody knew, and how it was learnt."""

    finding = fields.Enum(Finding, by_value=True, required=True)
    source = fields.Enum(Source, by_value=True, required=True)
    reason = fields.String(required=True, allow_none=True)
    at = Moment(required=True)


class AttemptStatus(Schema):
    """One call to one provider; `outcome` is null while it is under way."""

    id = fields.String(required=True)
    provider = fields.String(required=True)
    outcome = fields.Enum(Outcome, by_value=fields.String, required=True, allow_none=True)
    scope = fields.String(
        required=True, allow_none=True, validate=validate.OneOf(("account", "sender", "message"))
    )
    why = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    status_code = fields.Integer(required=True, allow_none=True)
    provider_message_id = fields.String(required=True, allow_none=True)
    round = fields.Integer(required=True)
    started_at = Moment(required=True)
    duration_ms = fields.Integer(required=True, allow_none=True)
    evidence = fields.Nested(EvidenceStatus, required=True, allow_none=True)


class Status(Schema):
    """What became of a message, recipient by recipient, and why."""

    id = fields.String(required=True)
    status = fields.Enum(MessageState, by_value=fields.String, required=True, attribute="state")
    reason = fields.String(required=True, allow_none=True)
    provider = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
    expires_at = Moment(required=True)
    next_attempt_at = Moment(required=True, allow_none=True)
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
    headers = TextPairs(
        fields.String(), fields.String(), attribute="envelope.headers", required=True
    )
    tags = fields.List(fields.String(), attribute="envelope.tags", required=True)
    metadata = fields.Dict(
        fields.String(), fields.String(), attribute="envelope.metadata", required=True
    )
    providers = fields.List(fields.String(), attribute="envelope.providers", required=True)
    on_unknown = fields.String(
        attribute="envelope.on_unknown",
        required=True,
        validate=validate.OneOf(("failover", "hold")),
    )


class MessagePage(Schema):
    """A page of messages, newest first. `next` is null on the last one."""

    messages = fields.List(fields.Nested(MessageAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class ResentAnswer(Schema):
    """The ids of the messages that are sent again; `next` is null when there are no more."""

    resent = fields.List(fields.String(), required=True)
    next = fields.String(required=True, allow_none=True)


class ProviderAnswer(Schema):
    """A provider: its place in the order, counted from 1, and whether it is asked now.

    `breaker` is not closed where it did not work; `failures` in a row open it, `until` it is not
    asked, then once to find out. `rest_until` is what the provider asked for itself.
    """

    name = fields.String(required=True)
    place = fields.Integer(required=True)
    fit = fields.Boolean(required=True)
    breaker = fields.Enum(BreakerState, by_value=fields.String, required=True)
    failures = fields.Integer(required=True)
    reason = fields.String(required=True, allow_none=True)
    changed_at = Moment(required=True, allow_none=True)
    until = Moment(required=True, allow_none=True)
    rest_until = Moment(required=True, allow_none=True)
    paused = fields.Boolean(required=True)


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
    """An error (RFC 9457). `code` is for programs, `detail` for people.

    `errors` maps a field's path (`to.1`) to texts, with 422; `id` is that of a message whose
    acceptance is in doubt.
    """

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    errors = fields.Dict(fields.String(), fields.List(fields.String()))
    id = fields.String()
