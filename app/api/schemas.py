"""The forms of requests; the OpenAPI document is made from them. Each is made once."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from marshmallow import (
    Schema,
    ValidationError,
    fields,
    post_load,
    validate,
    validates,
    validates_schema,
)

from app.api.attachments import AttachmentsField
from app.api.auth import caller
from app.api.context import services
from app.api.fields import (
    AddressesField,
    AddressField,
    CallbackUrl,
    MessagePart,
    Moment,
    ProvidersField,
    Switch,
    TextMap,
    WholeNumber,
)
from app.api.texts import LONGEST_LINE, OneLine, Pattern, header_name
from app.api.values import MOST_VARIABLES, ValuesField, template_name
from app.core import ids
from app.core.models import UNTRACKED, MessageState, Priority, Track
from app.core.rendering import TemplateFaults
from app.core.submit import Submission

_KINDS = ("to", "cc", "bcc")
_REQUIRED = str(fields.Field.default_error_messages["required"])
_CONTENT = ("subject", "text", "html")
_MOST_RECIPIENTS = 50
"""SES's limit is everybody's limit."""
_MOST_ADDRESSES = 100
"""In one list, where some may be there twice, which counts once."""
_OPTIONAL: Mapping[str, Any] = {"load_default": None, "allow_none": False}
_MOST_MESSAGES = 1000
_HORIZON = timedelta(days=366)
_UNSUBSCRIBE_HEADERS = ("list-unsubscribe", "list-unsubscribe-post")


def _within_the_horizon(at: datetime) -> None:
    if at > services().clock() + _HORIZON:
        raise ValidationError("More than a year ahead.")


class TrackRequest(Schema):
    """What of the HTML is tracked: see the README for what that can tell."""

    opens = Switch(load_default=False, metadata={"description": "An image that is fetched."})
    clicks = Switch(
        load_default=False,
        metadata={
            "description": "Links that lead over this service; not those with the attribute "
            "data-no-track, and none by which a recipient unsubscribes."
        },
    )

    @post_load
    def _track(self, data: dict[str, Any], **_: Any) -> Track:
        return Track(**data)


class MessageRequest(Schema):
    """A message to send."""

    json_schema: ClassVar[Mapping[str, Any]] = {
        "allOf": [
            {"anyOf": [{"required": [n], "properties": {n: {"minItems": 1}}} for n in _KINDS]},
            {
                "anyOf": [
                    *(
                        {
                            "required": ["subject", content],
                            "properties": {
                                "subject": {"type": "string"},
                                content: {"type": "string"},
                                "template": {"type": "null"},
                                "variables": {"not": {}},
                            },
                        }
                        for content in ("text", "html")
                    ),
                    {
                        "required": ["template"],
                        "properties": {
                            "template": {"type": "string"},
                            **{n: {"type": "null"} for n in _CONTENT},
                        },
                    },
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
    subject = fields.String(validate=OneLine(LONGEST_LINE, 1), load_default=None)
    text = fields.String(
        validate=validate.Length(min=1),
        load_default=None,
        metadata={"description": "Made from html where only that is given."},
    )
    html = fields.String(validate=validate.Length(min=1), load_default=None)
    template = fields.String(
        validate=template_name,
        load_default=None,
        metadata={"description": "Gives the subject, the text and the HTML, as it is now."},
    )
    variables = ValuesField(
        MOST_VARIABLES,
        **_OPTIONAL,
        metadata={"description": "What the template asks for; all of it must be here."},
    )
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
    failover_on_block = Switch(
        load_default=None,
        metadata={
            "description": "Where a provider took it and reports a block for reasons of policy or "
            "reputation: offer it once to another one. If null, as the service is set."
        },
    )
    expires_at = Moment(
        load_default=None,
        metadata={
            "description": "When to give up; after send_at. If null, as the service is set, "
            "counted from send_at; if past, at once."
        },
    )
    send_at = Moment(
        load_default=None,
        validate=_within_the_horizon,
        metadata={"description": "When to send it, at most a year ahead. If null or past, now."},
    )
    attachments = AttachmentsField(load_default=())
    priority = fields.Enum(
        Priority,
        by_value=fields.String,
        load_default=Priority.NORMAL,
        metadata={"description": "Bulk mail does not keep the other mail waiting."},
    )
    unsubscribe = Switch(
        load_default=False,
        metadata={
            "description": "Adds a link by which the recipient unsubscribes with one click "
            "(RFC 8058); for mail to one recipient, without a List-Unsubscribe of your own."
        },
    )
    track = fields.Nested(TrackRequest, **_OPTIONAL)
    override_suppression = fields.String(
        load_default=None,
        validate=OneLine(200, 1),
        metadata={
            "description": "Why it goes to suppressed addresses as well, such as a mail that "
            "somebody has just asked for. It is kept with the message, and logged."
        },
    )
    callback_url = CallbackUrl(
        load_default=None,
        metadata={
            "description": "Where to report what becomes of this message, besides the callbacks "
            "of the key; signed with the secret of its callback `default`."
        },
    )

    def load(self, data: Any, *, partial: Any = True, **options: Any) -> Any:
        """The submission. What is not given costs nothing: otherwise each field is looked into."""
        return super().load(data, partial=partial, **options)

    @validates_schema(skip_on_field_errors=False)
    def _in_order(self, data: Mapping[str, Any], **_: Any) -> None:
        send_at, expires_at = data.get("send_at"), data.get("expires_at")
        if send_at is None or expires_at is None or expires_at > send_at:
            return
        if send_at > services().clock():
            raise ValidationError({"expires_at": ["It would expire before it is sent."]})

    @validates_schema(skip_on_field_errors=False)
    def _for_one(self, data: Mapping[str, Any], **_: Any) -> None:
        if data.get("unsubscribe") is not True:
            return
        faults = {}
        if len({a.email.casefold() for kind in _KINDS for a in data.get(kind, ())}) > 1:
            faults["unsubscribe"] = ["Only for mail to one recipient: each has a link of its own."]
        if any(name.lower() in _UNSUBSCRIBE_HEADERS for name in data.get("headers", ())):
            faults["headers"] = ["With unsubscribe, the service writes List-Unsubscribe itself."]
        if faults:
            raise ValidationError(faults)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _complete(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        if not isinstance(original, Mapping):
            return
        faults = {}
        if "from" not in original:
            faults["from"] = [_REQUIRED]
        if not any(original.get(kind) for kind in _KINDS):
            faults["to"] = ["At least one recipient is needed, in to, cc or bcc."]
        given = {name for name in (*_CONTENT, "template") if original.get(name) is not None}
        if "template" in given:
            faults |= {name: ["The template gives it."] for name in _CONTENT if name in given}
        else:
            if "subject" not in given:
                faults["subject"] = [_REQUIRED]
            if not given & {"text", "html"}:
                faults["text"] = ["A text or html is needed."]
            if "variables" in original:
                faults["variables"] = ["They are for a template, and there is none."]
        recipients = {a.email.casefold() for kind in _KINDS for a in data.get(kind, ())}
        if len(recipients) > _MOST_RECIPIENTS:
            faults["to"] = [f"More than {_MOST_RECIPIENTS} recipients in to, cc and bcc together."]
        if faults:
            raise ValidationError(faults)

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> None:
        """Adds what is wrong between template and variables: all faults are told at once."""
        valid = error.valid_data
        if not isinstance(valid, dict) or not isinstance(error.messages, dict):
            return
        name = valid.get("template")
        if name is None or not error.messages.keys().isdisjoint({"template", "variables"}):
            return
        try:
            services().templates.content(caller(), name, valid.get("variables") or {})
        except TemplateFaults as faults:
            error.messages.update(faults.errors)

    @post_load
    def _submission(self, data: dict[str, Any], **_: Any) -> Submission:
        return Submission(
            sender=data["sender"],
            to=tuple(data.get("to", ())),
            cc=tuple(data.get("cc", ())),
            bcc=tuple(data.get("bcc", ())),
            reply_to=tuple(data.get("reply_to", ())),
            subject=data.get("subject") or "",
            text=data.get("text"),
            html=data.get("html"),
            headers=tuple(data.get("headers", {}).items()),
            tags=tuple(data.get("tags", ())),
            metadata=data.get("metadata", {}),
            providers=tuple(data.get("providers", ())),
            on_unknown=data.get("on_unknown"),
            failover_on_block=data.get("failover_on_block"),
            expires_at=data.get("expires_at"),
            send_at=data.get("send_at"),
            priority=data.get("priority", Priority.NORMAL),
            attachments=tuple(data.get("attachments", ())),
            template=data.get("template"),
            variables=data.get("variables"),
            unsubscribe=data.get("unsubscribe", False),
            override_suppression=data.get("override_suppression"),
            track=data.get("track") or UNTRACKED,
            callback_url=data.get("callback_url"),
        )


class BatchRequest(Schema):
    """Messages to send; each is read after what it does not say itself was put in from defaults."""

    messages = fields.List(
        MessagePart(allow_none=True),
        required=True,
        validate=validate.Length(1, _MOST_MESSAGES),
        metadata={
            "description": "As for `POST /messages`. Each goes to its own recipients only.",
            "examples": [[{"to": "ann@example.net"}, {"to": "bob@example.net"}]],
        },
    )
    defaults = MessagePart(
        load_default=dict,
        metadata={"description": "Fields for all messages that do not have them themselves."},
    )

    @validates("defaults")
    def _object(self, value: Any, data_key: str) -> None:
        if not isinstance(value, Mapping):
            raise ValidationError("Not an object.")


class BatchQuery(Schema):
    """What is to be done about messages with faults."""

    mode = fields.String(
        validate=validate.OneOf(("strict", "permissive")),
        load_default="strict",
        metadata={"description": "Accept all messages or none, or those that have no faults."},
    )


class ScheduleRequest(Schema):
    """When to send a scheduled message instead."""

    send_at = Moment(
        required=True,
        validate=_within_the_horizon,
        metadata={"description": "At most a year ahead; if past, now."},
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
