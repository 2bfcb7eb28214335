"""Resend: a JSON object posted to its emails, with a key by which it knows a repeated call."""

import hmac
import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from providers import mailbox
from providers.answers import Answer, Complaint, Rule
from providers.base import BadSettings, HttpProvider, ProviderSetting, Timeouts
from providers.carrying import RISKY_FILES, Limits, envelopes
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unknown,
)
from providers.records import member
from providers.transport import Call
from providers.types import Attachment, Bounce, DeliveryEvent, Email, EventType
from providers.webhooks import (
    EventRow,
    NotAuthentic,
    NotReadable,
    WebhookContent,
    WebhookRequest,
    WebhooksNotSetUp,
    address,
    meaning,
    moment,
    one_line,
    parsed,
    status_code,
    text,
    within,
    word,
)

_FIELD = re.compile(r"\W(to|cc|bcc)\W+field", re.IGNORECASE)
#: Every attempt to get a webhook through is signed anew.
#: https://docs.svix.com/receiving/verifying-payloads/how-manual
_WEBHOOK_SKEW = timedelta(minutes=5)
#: They are told for about 28 hours, under one id. https://docs.svix.com/retries
_WEBHOOK_ID_LASTS = timedelta(hours=30)
#: What an event is by its type, the type of a bounce, and the words about it; the first row that
#: fits counts. https://resend.com/docs/webhooks/event-types
_EVENTS: tuple[EventRow, ...] = (
    ("email.(sent|scheduled)", ".*", ".*", EventType.ACCEPTED, None),
    ("email.delivered", ".*", ".*", EventType.DELIVERED, None),
    ("email.delivery_delayed", ".*", ".*", EventType.DEFERRED, None),
    # It was not sent: the address had bounced before, and is on Resend's list.
    ("email.bounced", "(Permanent)?", ".*[Ss]uppress.*", EventType.REJECTED, Bounce.HARD),
    ("email.bounced", "Permanent", ".*", EventType.BOUNCED, Bounce.HARD),
    ("email.bounced", ".*", "(Content|Attachment)Rejected.*", EventType.BOUNCED, Bounce.BLOCK),
    ("email.bounced", ".*", ".*", EventType.BOUNCED, Bounce.SOFT),
    ("email.suppressed", ".*", ".*[Bb]ounce.*", EventType.REJECTED, Bounce.HARD),
    ("email.(suppressed|failed)", ".*", ".*", EventType.REJECTED, None),
    ("email.complained", ".*", ".*", EventType.COMPLAINED, None),
    ("email.opened", ".*", ".*", EventType.OPENED, None),
    ("email.clicked", ".*", ".*", EventType.CLICKED, None),
)
#: Where an event has what it tells besides.
_DETAILS = {
    "email.bounced": "bounce",
    "email.suppressed": "suppressed",
    "email.failed": "failed",
    "email.clicked": "click",
}


class ResendProvider(HttpProvider):
    """https://resend.com/docs/api-reference/emails/send-email

    An attempt's id is its idempotency key: a call of which nobody knows may be made again.
    """

    name = "resend"
    # Resend keeps a key for 24 hours; its clock and the way there may take some of them.
    # https://resend.com/docs/dashboard/emails/idempotency-keys
    repeatable = timedelta(hours=23)
    names_recipients = False
    settings = (
        ProviderSetting("RESEND_API_KEY", required=True, secret=True),
        ProviderSetting("RESEND_BASE_URL", default="https://api.resend.com"),
        ProviderSetting("RESEND_WEBHOOK_SECRET", secret=True),
    )
    #: https://resend.com/docs/knowledge-base/what-attachment-types-are-not-supported
    limits = Limits(
        size=40_000_000,
        recipients=50,
        refused_files=RISKY_FILES,
        wants_subject=True,
        wants_body=True,
        one_copy=True,
    )
    #: The code of a complaint is the `name` of the error.
    #: https://resend.com/docs/api-reference/errors
    rules: ClassVar[tuple[Rule, ...]] = (
        # Another payload under the same key, or a first call that still runs: it may be taken.
        Rule(Unknown, (409,)),
        Rule(AccountRefused, (429,), r"(daily|monthly)_quota_exceeded"),
        Rule(Limited, (429,)),
        Rule(SenderRefused, (403,), text=r"domain is not verified|not (a )?verified domain"),
        Rule(MessageRefused, (400, 422), r"invalid_from_address|invalid_idempotency_key"),
        Rule(MessageRefused, (400, 422), text=r"\Wfrom\W+field"),
        Rule(AccountRefused, (400, 422), r"invalid_region"),
        Rule(Rejected, (400, 422), r"validation_error|missing_required_field"),
        Rule(Rejected, (400, 422), r"invalid_attachment|invalid_parameter"),
        Rule(Rejected, (451,), r"security_error"),
    )

    def __init__(
        self,
        values: Mapping[str, str],
        timeouts: Timeouts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(values, timeouts, clock=clock)
        self._url = f"{self.base_url}/emails"
        self._secrets = (values["RESEND_API_KEY"],)
        self._headers = {
            "Authorization": f"Bearer {values['RESEND_API_KEY']}",
            "Content-Type": "application/json",
        }
        self._webhook_key = _key(values["RESEND_WEBHOOK_SECRET"])

    def compose(self, email: Email) -> Call:
        (copy,) = envelopes(email)
        # A repeated call must be the same to the byte: nothing in here may depend on the moment.
        message: dict[str, Any] = {
            "from": mailbox.raw(email.sender),
            "subject": email.subject,
            "tags": [
                {"name": "attempt_id", "value": email.attempt_id},
                # Its events do not say whose they are; this tells that there is no question.
                {"name": "recipients", "value": str(len(email.recipients))},
            ],
        }
        for field, addresses in (
            ("to", copy.to),
            ("cc", copy.cc),
            ("bcc", copy.bcc),
            ("reply_to", email.reply_to),
        ):
            if addresses:
                message[field] = list(map(mailbox.raw, addresses))
        for field, body in (("text", email.text), ("html", email.html)):
            if body:
                message[field] = body
        if email.headers:
            message["headers"] = {k: mailbox.encoded_text(v) for k, v in email.headers}
        if email.attachments:
            message["attachments"] = list(map(_attachment, email.attachments))
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        headers = {**self._headers, "Idempotency-Key": email.attempt_id}
        return Call(self._url, headers, text.encode(), self._secrets)

    @property
    def hears(self) -> bool:
        return bool(self._webhook_key)

    def read_webhook(self, request: WebhookRequest) -> WebhookContent:
        """https://resend.com/docs/webhooks/verify-webhooks-requests"""
        if not self.hears:
            raise WebhooksNotSetUp("RESEND_WEBHOOK_SECRET is not set")
        token = self._verified(request)
        told = parsed(request.body)
        if not isinstance(told, dict):
            raise NotReadable("the body is not an event")
        event = _event(told, token, request.received_at)
        return WebhookContent.of([(word(told.get("type")), event)], token, _WEBHOOK_ID_LASTS)

    def _verified(self, request: WebhookRequest) -> str:
        """The id of a request whose signature is ours and fresh."""
        names = ("svix-id", "svix-timestamp", "svix-signature")
        token, stamp, signatures = (request.headers.get(name, "") for name in names)
        signed = f"{token}.{stamp}.".encode("latin-1", "replace") + request.body
        expected = b64encode(hmac.digest(self._webhook_key, signed, "sha256"))
        # While the secret is being exchanged there is one by the old and one by the new.
        given = (one.encode("latin-1", "replace") for one in signatures.split())
        # A dot in the id could be the one that ends it.
        if "." in token or not any(hmac.compare_digest(one, b"v1," + expected) for one in given):
            raise NotAuthentic("the signature is not Resend's")
        at = moment(stamp)
        if at is None or not within(at, request.received_at, _WEBHOOK_SKEW, _WEBHOOK_SKEW):
            raise NotAuthentic("the signature is of another time")
        return token

    def message_id(self, answer: Answer) -> str | None:
        return text(answer.fields.get("id"))

    def complaints(self, answer: Answer) -> tuple[Complaint, ...]:
        name, message = answer.fields.get("name"), answer.fields.get("message")
        if name is None and message is None:
            return ()
        return (Complaint(str(message or ""), str(name or "")),)

    def named(self, email: Email, complaint: Complaint) -> tuple[str, ...]:
        # Resend only names the field: that is a name where the field has one address.
        field = _FIELD.search(complaint.text)
        if field is None:
            return ()
        (copy,) = envelopes(email)
        addresses = getattr(copy, field[1].lower())
        return (addresses[0].email,) if len(addresses) == 1 else ()


def _attachment(file: Attachment) -> dict[str, str]:
    found = {
        "filename": file.filename,
        "content": b64encode(file.content).decode(),
        "content_type": file.content_type,
    }
    return found if file.content_id is None else {**found, "content_id": file.content_id}


def _key(secret: str) -> bytes:
    """What webhooks are signed with, out of the secret as Resend shows it; empty for none."""
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if secret and not (key and secret.startswith("whsec_")):
        raise BadSettings("RESEND_WEBHOOK_SECRET must be the secret that Resend shows, whsec_…")
    return key


def _event(told: Mapping[str, Any], token: str, now: datetime) -> DeliveryEvent | None:
    """One of Resend's events; None where it is not for us."""
    name, data = word(told.get("type")), told.get("data")
    about = member(data, _DETAILS.get(name, ""))
    words = [member(about, key) for key in ("subType", "message", "reason")]
    found = meaning(_EVENTS, name, member(about, "type"), " ".join(map(word, words)))
    if found is None:
        return None
    kind, bounce = found
    said, to = member(about, "diagnosticCode"), member(data, "to")
    answers = said if isinstance(said, list) else [said]
    alone = member(data, "tags", "recipients") == "1"
    return DeliveryEvent(
        id=token,
        type=kind,
        occurred_at=moment(told.get("created_at")) or now,
        recipient=address(to[0]) if alone and isinstance(to, list) and to else "",
        attempt_id=text(member(data, "tags", "attempt_id")),
        provider_message_id=text(member(data, "email_id")),
        bounce=bounce,
        code=next(filter(None, map(status_code, answers)), None),
        reason=next(filter(None, map(one_line, (*answers, *words[1:]))), None),
        url=one_line(member(about, "link")),
    )
