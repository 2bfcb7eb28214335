"""The forms of answers; the OpenAPI document is made from them. Each is made once."""

from marshmallow import Schema, fields, validate

from app.api.fields import Moment, TextPairs
from app.core.breaker import BreakerState
from app.core.models import Finding, MessageState, Outcome, Priority, RecipientState, Source
from app.core.track_record import Impression
from providers.types import Bounce, EventType


class Accepted(Schema):
    """The answer to an accepted message."""

    id = fields.String(required=True)
    status = fields.Enum(MessageState, by_value=fields.String, required=True)
    status_url = fields.String(required=True, metadata={"format": "uri"})
    message = fields.String(required=True)


class BatchEntry(Schema):
    """What became of a message of a batch: as for one by itself, or `errors` by its fields."""

    id = fields.String()
    status = fields.Enum(MessageState, by_value=fields.String)
    status_url = fields.String(metadata={"format": "uri"})
    message = fields.String()
    errors = fields.Dict(fields.String(), fields.List(fields.String()))


class BatchAnswer(Schema):
    """One entry for each message, in the order of the request."""

    messages = fields.List(fields.Nested(BatchEntry), required=True)


class EngagementStatus(Schema):
    """How often a recipient opened or clicked, and when first and last."""

    count = fields.Integer(required=True)
    first_at = Moment(required=True)
    last_at = Moment(required=True)


class TrackAnswer(Schema):
    """What of a message is tracked."""

    opens = fields.Boolean(required=True)
    clicks = fields.Boolean(required=True)


class RecipientStatus(Schema):
    """What became of a message for one recipient.

    `bounce` says of what kind a bounce was: `hard` (the address is bad), `soft`, or `block` (policy
    or reputation); `code` and `reason` are the provider's.
    """

    email = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(("to", "cc", "bcc")))
    status = fields.Enum(RecipientState, by_value=fields.String, required=True, attribute="state")
    reason = fields.String(required=True, allow_none=True)
    bounce = fields.Enum(Bounce, by_value=fields.String, required=True, allow_none=True)
    code = fields.String(required=True, allow_none=True)
    opened = fields.Nested(EngagementStatus, required=True, allow_none=True)
    clicked = fields.Nested(EngagementStatus, required=True, allow_none=True)
    unsubscribed_at = Moment(required=True, allow_none=True)


class EventStatus(Schema):
    """What a provider reported, or `steadpost` saw; `recipient` is empty where nobody knows whose.

    `automatic` marks what a machine opened or clicked, where that can be told.
    """

    type = fields.Enum(EventType, by_value=fields.String, required=True)
    at = Moment(required=True)
    provider = fields.String(required=True)
    attempt = fields.Integer(required=True)
    recipient = fields.String(required=True)
    bounce = fields.Enum(Bounce, by_value=fields.String, required=True, allow_none=True)
    code = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)
    url = fields.String(required=True, allow_none=True)
    automatic = fields.Boolean(required=True)


class EvidenceStatus(Schema):
    """What settled an attempt of which nobody knew, and how it was learnt."""

    finding = fields.Enum(Finding, by_value=True, required=True)
    source = fields.Enum(Source, by_value=True, required=True)
    reason = fields.String(required=True, allow_none=True)
    at = Moment(required=True)


class AttemptStatus(Schema):
    """One call to one provider; `outcome` is null while it is under way.

    `repeats` counts how often it was made again, unchanged, to learn of an unknown outcome.
    """

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
    repeats = fields.Integer(required=True)
    evidence = fields.Nested(EvidenceStatus, required=True, allow_none=True)


class Status(Schema):
    """What became of a message, recipient by recipient, and why.

    Its own `opened` and `clicked` are of those of several recipients who cannot be told apart.
    """

    id = fields.String(required=True)
    status = fields.Enum(MessageState, by_value=fields.String, required=True, attribute="state")
    reason = fields.String(required=True, allow_none=True)
    provider = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
    expires_at = Moment(required=True)
    send_at = Moment(required=True, allow_none=True)
    next_attempt_at = Moment(required=True, allow_none=True)
    possible_duplicate = fields.Boolean(required=True)
    opened = fields.Nested(EngagementStatus, required=True, allow_none=True)
    clicked = fields.Nested(EngagementStatus, required=True, allow_none=True)
    recipients = fields.List(fields.Nested(RecipientStatus), required=True)
    attempts = fields.List(fields.Nested(AttemptStatus), required=True)


class AddressAnswer(Schema):
    """An address with its name, which may be empty."""

    email = fields.String(required=True)
    name = fields.String(required=True)


class AttachmentAnswer(Schema):
    """A file of a message, without its content; `size` is in bytes."""

    filename = fields.String(required=True)
    content_type = fields.String(required=True)
    size = fields.Integer(required=True)
    content_id = fields.String(required=True, allow_none=True)


class TemplateUsedAnswer(Schema):
    """Which template a message was made by, and which version of it; that of a shipped one is 0."""

    name = fields.String(required=True)
    version = fields.Integer(required=True)


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
    template = fields.Nested(
        TemplateUsedAnswer, attribute="envelope.template", required=True, allow_none=True
    )
    headers = TextPairs(
        fields.String(), fields.String(), attribute="envelope.headers", required=True
    )
    tags = fields.List(fields.String(), attribute="envelope.tags", required=True)
    metadata = fields.Dict(
        fields.String(), fields.String(), attribute="envelope.metadata", required=True
    )
    attachments = fields.List(
        fields.Nested(AttachmentAnswer), attribute="envelope.attachments", required=True
    )
    providers = fields.List(fields.String(), attribute="envelope.providers", required=True)
    priority = fields.Enum(Priority, by_value=fields.String, required=True)
    on_unknown = fields.String(
        attribute="envelope.on_unknown",
        required=True,
        validate=validate.OneOf(("failover", "hold")),
    )
    failover_on_block = fields.Boolean(attribute="envelope.failover_on_block", required=True)
    unsubscribe = fields.Boolean(attribute="envelope.unsubscribe", required=True)
    track = fields.Nested(TrackAnswer, attribute="envelope.track", required=True)
    override_suppression = fields.String(
        attribute="envelope.override_suppression", required=True, allow_none=True
    )
    callback_url = fields.String(attribute="envelope.callback_url", required=True, allow_none=True)


class MessageDetail(MessageAnswer):
    """Everything that is known of a message but its body, and what providers reported of it."""

    events = fields.List(fields.Nested(EventStatus), required=True)


class MessagePage(Schema):
    """A page of messages, newest first. `next` is null on the last one."""

    messages = fields.List(fields.Nested(MessageAnswer), required=True)
    next = fields.String(required=True, allow_none=True)


class ResentAnswer(Schema):
    """The ids of the messages that are sent again; `next` is null when there are no more."""

    resent = fields.List(fields.String(), required=True)
    next = fields.String(required=True, allow_none=True)


class QuotaAnswer(Schema):
    """How much a provider is given at most within any second, or any 24 hours.

    `used` is what it was given within the last ones, and what workers have set aside for now.
    """

    per = fields.String(required=True, validate=validate.OneOf(("second", "day")))
    limit = fields.Integer(required=True)
    counts = fields.String(required=True, validate=validate.OneOf(("messages", "recipients")))
    used = fields.Integer(required=True)


class TrackRecordAnswer(Schema):
    """What a provider did with the mail of the last hours, in recipients.

    It took mail for so many (`taken`), and told of so many what became of it (`heard`), of which
    were `blocked` for reasons of policy or reputation. `reason` says what looks bad, if anything.
    """

    impression = fields.Enum(Impression, by_value=fields.String, required=True)
    reason = fields.String(required=True, allow_none=True)
    taken = fields.Integer(required=True, attribute="counts.taken")
    heard = fields.Integer(required=True, attribute="counts.heard")
    blocked = fields.Integer(required=True, attribute="counts.blocked")


class HeardAnswer(Schema):
    """What a provider has told us so far, by webhooks or when it was asked, and when last.

    `strays` are events of mail that is not ours or no longer kept, `given_up` those that could not
    be applied, `repeated` are webhooks that came before, and `ignored` those that mean nothing to
    us, by their kind. What a provider tells again when it is asked counts again.
    """

    last_at = Moment(required=True, allow_none=True)
    events = fields.Integer(required=True)
    repeated = fields.Integer(required=True)
    strays = fields.Integer(required=True)
    given_up = fields.Integer(required=True)
    ignored = fields.Dict(fields.String(), fields.Integer(), required=True)


class ProviderAnswer(Schema):
    """A provider: its place in the order, counted from 1, and whether it is asked now.

    `breaker` is not closed where it did not work; `failures` in a row open it, `until` it is not
    asked, then once to find out. `rest_until` is what the provider asked for itself. It is
    `moved_back` where it seems to deliver nothing, and the service is set to ask it last then.
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
    quotas = fields.List(fields.Nested(QuotaAnswer), required=True)
    track_record = fields.Nested(TrackRecordAnswer, required=True)
    moved_back = fields.Boolean(required=True)
    webhooks = fields.Nested(HeardAnswer, required=True)


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
    acceptance is in doubt, `ids` are those of a batch.
    """

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    errors = fields.Dict(fields.String(), fields.List(fields.String()))
    id = fields.String()
    ids = fields.List(fields.String())
