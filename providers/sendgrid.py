"""SendGrid: a JSON object posted to the mail/send of its v3 API."""

import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from providers import mailbox
from providers.answers import Answer, Complaint, Rule
from providers.base import BadSettings, HttpProvider, ProviderSetting, Timeouts
from providers.carrying import Envelope, Limits, envelopes
from providers.errors import AccountRefused, Rejected, SenderRefused
from providers.records import member, objects, searchable
from providers.transport import Call
from providers.types import (
    Accepted,
    Address,
    Attachment,
    Bounce,
    DeliveryEvent,
    Email,
    EventType,
)
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
    text,
    within,
    word,
)

#: Every message that was found is read by itself, and few reads a minute are allowed.
_MESSAGES = 10
#: How far SendGrid's clock may be from ours.
_SKEW = timedelta(minutes=1)
#: SendGrid tries for a day to get a batch through, perhaps with its first signature.
#: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
_WEBHOOK_AGE = timedelta(hours=25)
_WEBHOOK_SKEW = timedelta(minutes=5)
_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
#: What an event is by its name, its type or reason, and its classification; the first row that
#: fits counts. https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
_EVENTS: tuple[EventRow, ...] = (
    ("processed", ".*", ".*", EventType.ACCEPTED, None),
    ("delivered", ".*", ".*", EventType.DELIVERED, None),
    ("deferred", ".*", ".*", EventType.DEFERRED, None),
    ("bounce", "blocked", ".*", EventType.BOUNCED, Bounce.BLOCK),
    ("bounce", ".*", "Content|Reputation|Frequency.*", EventType.BOUNCED, Bounce.BLOCK),
    ("bounce", ".*", "Technical|Mailbox Unavailable", EventType.BOUNCED, Bounce.SOFT),
    ("bounce", ".*", ".*", EventType.BOUNCED, Bounce.HARD),
    ("dropped", "Invalid|Bounced Address", ".*", EventType.REJECTED, Bounce.HARD),
    ("dropped", "Spam Content", ".*", EventType.REJECTED, Bounce.BLOCK),
    ("dropped", ".*", ".*", EventType.REJECTED, None),
    ("open", ".*", ".*", EventType.OPENED, None),
    ("click", ".*", ".*", EventType.CLICKED, None),
    ("spamreport", ".*", ".*", EventType.COMPLAINED, None),
    ("unsubscribe|group_unsubscribe", ".*", ".*", EventType.UNSUBSCRIBED, None),
)
_FIELD_OF_RECIPIENT = re.compile(r"personalizations\D+(\d+)\D+?(to|cc|bcc)\W+(\d+)\b.*")


class SendGridProvider(HttpProvider):
    """https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send

    Subusers pinned to Europe want the base URL https://api.eu.sendgrid.com. `SENDGRID_ACTIVITY` is
    `on` where the account has bought the history of Email Activity.
    """

    name = "sendgrid"
    settings = (
        ProviderSetting("SENDGRID_API_KEY", required=True, secret=True),
        ProviderSetting("SENDGRID_BASE_URL", default="https://api.sendgrid.com"),
        ProviderSetting("SENDGRID_ACTIVITY", default="off"),
        ProviderSetting("SENDGRID_WEBHOOK_PUBLIC_KEY"),
    )
    limits = Limits(
        size=30_000_000,
        recipients=1000,
        steering=("x-sg-", "x-smtpapi"),
        wants_subject=True,
        wants_body=True,
    )
    #: The code of a complaint is the field of the request that it is about.
    #: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(SenderRefused, (400, 401, 403), text=r"verified sender identity"),
        Rule(SenderRefused, (403,), code=r"from\b.*"),
        Rule(Rejected, (400,), code=r"(personalizations|from|reply_to|reply_to_list)\b.*"),
        Rule(Rejected, (400,), code=r"(subject|content|attachments|headers)\b.*"),
        Rule(Rejected, (400,), code=r"(categories|custom_args|send_at)\b.*"),
        Rule(AccountRefused, (400,), code=r"(template_id|asm|ip_pool_name|batch_id)\b.*"),
    )

    def __init__(
        self,
        values: Mapping[str, str],
        timeouts: Timeouts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(values, timeouts, clock=clock)
        self._url = f"{self.base_url}/v3/mail/send"
        self._secrets = (values["SENDGRID_API_KEY"],)
        self._headers = {
            "Authorization": f"Bearer {values['SENDGRID_API_KEY']}",
            "Content-Type": "application/json",
        }
        if values["SENDGRID_ACTIVITY"] not in ("on", "off"):
            raise BadSettings("SENDGRID_ACTIVITY must be on or off")
        self._webhook_key = _public_key(values["SENDGRID_WEBHOOK_PUBLIC_KEY"])
        self._messages = f"{self.base_url}/v3/messages"
        if values["SENDGRID_ACTIVITY"] == "on":
            self.records = self.records_read_with(
                {"Authorization": self._headers["Authorization"]}, self._secrets
            )

    def refusal(self, email: Email) -> str | None:
        if not all(file.content for file in email.attachments):
            return "SendGrid takes no empty files"
        return super().refusal(email)

    def compose(self, email: Email) -> Call:
        message: dict[str, Any] = {
            "personalizations": list(map(_personalization, envelopes(email))),
            "from": _mailbox(email.sender),
            "subject": email.subject,
            # Plain text first, and no value may be empty.
            "content": [
                {"type": kind, "value": value}
                for kind, value in (("text/plain", email.text), ("text/html", email.html))
                if value
            ],
            "custom_args": {"attempt_id": email.attempt_id},
        }
        if len(email.reply_to) == 1:
            message["reply_to"] = _mailbox(email.reply_to[0])
        elif email.reply_to:
            message["reply_to_list"] = [_mailbox(address) for address in email.reply_to]
        if email.attachments:
            message["attachments"] = list(map(_attachment, email.attachments))
        if email.headers:
            message["headers"] = {k: mailbox.encoded_text(v) for k, v in email.headers}
        tracking = _tracking(email)
        if tracking:
            message["tracking_settings"] = tracking
        body = orjson.dumps(message)
        return Call(self._url, self._headers, body, self._secrets)

    def accepted(self, answer: Answer) -> Accepted:
        # Its body is empty, and has been called text/plain.
        if answer.content_type == "text/plain" and not answer.body:
            return Accepted(self.message_id(answer))
        return super().accepted(answer)

    def message_id(self, answer: Answer) -> str | None:
        return answer.headers.get("X-Message-Id")

    def find(
        self, attempt_id: str, recipients: tuple[str, ...], since: datetime
    ) -> Accepted | None:
        """https://www.twilio.com/docs/sendgrid/api-reference/email-activity

        No query is sure to see our id, so the messages to one recipient are looked through.
        """
        recipient = searchable(recipients)
        if self.records is None or recipient is None:
            return None
        begin = _timestamp(since - _SKEW)
        end = _timestamp(datetime.fromtimestamp(self._clock(), UTC) + _SKEW)
        between = f'last_event_time BETWEEN TIMESTAMP "{begin}" AND TIMESTAMP "{end}"'
        query = {"limit": str(_MESSAGES), "query": f'to_email="{recipient}" AND {between}'}
        search = self.records.search()
        found = search.read(f"{self._messages}?{urlencode(query, quote_via=quote)}")
        for message in objects(found.get("messages"))[:_MESSAGES]:
            name = message.get("msg_id")
            if not isinstance(name, str) or not name:
                continue
            whole = search.read(f"{self._messages}/{quote(name, safe='')}")
            if member(whole, "unique_args", "attempt_id") == attempt_id:
                # What follows the first dot tells the recipients of one message apart.
                return Accepted(name.partition(".")[0] or None)
        return None

    @property
    def hears(self) -> bool:
        return self._webhook_key is not None

    def read_webhook(self, request: WebhookRequest) -> WebhookContent:
        """https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features"""
        if self._webhook_key is None:
            raise WebhooksNotSetUp("SENDGRID_WEBHOOK_PUBLIC_KEY is not set")
        stamp = request.headers.get(_TIMESTAMP, "")
        try:
            signature = b64decode(request.headers.get(_SIGNATURE, ""), validate=True)
            signed = stamp.encode("latin-1", "replace") + request.body
            self._webhook_key.verify(signature, signed, ec.ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            raise NotAuthentic("the signature is not SendGrid's") from None
        at = moment(stamp)
        if at is None or not within(at, request.received_at, _WEBHOOK_AGE, _WEBHOOK_SKEW):
            raise NotAuthentic("the signature is of another time")
        batch = parsed(request.body)
        if not isinstance(batch, list):
            raise NotReadable("the body is not a list of events")
        records = [record for record in batch if isinstance(record, dict)]
        return WebhookContent.of(
            (word(record.get("event")), _event(record, request.received_at)) for record in records
        )

    def complaints(self, answer: Answer) -> tuple[Complaint, ...]:
        errors = answer.fields.get("errors")
        return tuple(
            Complaint(str(error.get("message") or ""), str(error.get("field") or ""))
            for error in (errors if isinstance(errors, list) else ())
            if isinstance(error, dict)
        )

    def named(self, email: Email, complaint: Complaint) -> tuple[str, ...]:
        found = _FIELD_OF_RECIPIENT.fullmatch(complaint.code)
        if found is None:
            return ()
        copies = envelopes(email)[int(found[1]) :][:1]
        addresses = [a for copy in copies for a in getattr(copy, found[2])][int(found[3]) :]
        return (addresses[0].email,) if addresses else ()


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tracking(email: Email) -> dict[str, dict[str, bool]]:
    """What keeps SendGrid from tracking once more."""
    found = {}
    if email.opens_tracked:
        found["open_tracking"] = {"enable": False}
    if email.clicks_tracked:
        found["click_tracking"] = {"enable": False, "enable_text": False}
    return found


def _personalization(copy: Envelope) -> dict[str, list[dict[str, str]]]:
    kinds = {"to": copy.to, "cc": copy.cc, "bcc": copy.bcc}
    return {
        kind: list(map(_recipient, addresses)) for kind, addresses in kinds.items() if addresses
    }


def _mailbox(address: Address) -> dict[str, str]:
    bare = {"email": mailbox.ascii_domain(address)}
    return {**bare, "name": address.name} if address.name else bare


def _recipient(address: Address) -> dict[str, str]:
    # SendGrid does not quote the names of recipients, and takes a comma in one for the end of it.
    # https://github.com/sendgrid/sendgrid-python/issues/291
    found = _mailbox(address)
    if {",", ";"} & set(address.name):
        found["name"] = mailbox.quoted(address.name)
    return found


def _attachment(file: Attachment) -> dict[str, str]:
    found = {
        "content": b64encode(file.content).decode(),
        "filename": file.filename,
        "type": file.content_type,
    }
    if file.content_id is None:
        return {**found, "disposition": "attachment"}
    return {**found, "disposition": "inline", "content_id": file.content_id}


def _public_key(setting: str) -> ec.EllipticCurvePublicKey | None:
    """The key as SendGrid's console shows it; None where there is none."""
    if not setting:
        return None
    inner = re.sub(r"-----[A-Z ]+-----|\s", "", setting)
    try:
        key = load_der_public_key(b64decode(inner, validate=True))
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadSettings("SENDGRID_WEBHOOK_PUBLIC_KEY must be the key that SendGrid's page shows")
    return key


def _event(record: Mapping[str, Any], now: datetime) -> DeliveryEvent | None:
    """One of SendGrid's events; None where it is not for us."""
    name = record.get("event")
    why = record.get("type" if name == "bounce" else "reason")
    found = meaning(_EVENTS, name, why, record.get("bounce_classification"))
    if found is None:
        return None
    kind, bounce = found
    recipient, at = record.get("email"), record.get("timestamp")
    message_id = text(record.get("sg_message_id"))
    return DeliveryEvent(
        id=text(record.get("sg_event_id"))
        or " ".join(map(word, (message_id, name, recipient, at))),
        type=kind,
        occurred_at=moment(at) or now,
        recipient=address(recipient),
        attempt_id=text(record.get("attempt_id")),
        # What follows the first dot tells the recipients of one message apart.
        provider_message_id=message_id.partition(".")[0] if message_id else None,
        bounce=bounce,
        code=one_line(record.get("status")),
        reason=one_line(record.get("reason")) or one_line(record.get("response")),
        url=one_line(record.get("url")),
        automatic=record.get("sg_machine_open") is True,
    )
