"""Postmark: a JSON object posted to the email of a server."""

import hmac
import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from providers import mailbox
from providers.answers import Answer, Complaint, Rule
from providers.base import BadSettings, HttpProvider, ProviderSetting, Timeouts
from providers.carrying import Limits, envelopes
from providers.errors import (
    AccountRefused,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unavailable,
)
from providers.records import Records, member, objects, searchable
from providers.transport import Call
from providers.types import (
    Accepted,
    Attachment,
    Bounce,
    DeliveryEvent,
    Email,
    EventType,
    NotTaken,
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
    status_code,
    text,
    word,
)

#: Each of the two; the whole message has a limit of its own.
#: https://postmarkapp.com/developer/user-guide/send-email-with-api
_BODY_LIMIT = 5_000_000
_FIELD = re.compile(r"'?(To|Cc|Bcc)'?\b", re.IGNORECASE)
_INACTIVE = re.compile(r"inactive address(?:es)?:(.*)", re.IGNORECASE | re.DOTALL)
#: What stands around an address in Postmark's words.
_AROUND = re.compile(r"[\s,;:<>()\[\]'\"]+")
_PAGE = 50
#: What an event is by its record type, its type or the reason of a suppression, and whether the
#: address is suppressed; the first row that fits counts. Answers of machines are not for us.
#: https://postmarkapp.com/developer/webhooks/webhooks-overview
#: https://postmarkapp.com/developer/api/bounce-api#bounce-types
_EVENTS: tuple[EventRow, ...] = (
    ("Delivery", ".*", ".*", EventType.DELIVERED, None),
    ("Open", ".*", ".*", EventType.OPENED, None),
    ("Click", ".*", ".*", EventType.CLICKED, None),
    ("SpamComplaint", ".*", ".*", EventType.COMPLAINED, None),
    ("Bounce", "HardBounce", ".*", EventType.BOUNCED, Bounce.HARD),
    ("Bounce", "SoftBounce|Unknown", ".*", EventType.BOUNCED, Bounce.SOFT),
    # These three are about the mail, or whom it is from, in the eyes of the recipient's server.
    ("Bounce", "Blocked|DMARCPolicy|VirusNotification", ".*", EventType.BOUNCED, Bounce.BLOCK),
    ("Bounce", "Transient|DnsError|OpenRelayTest", ".*", EventType.DEFERRED, None),
    ("Bounce", "SpamNotification|SpamComplaint", ".*", EventType.COMPLAINED, None),
    ("Bounce", "Unsubscribe|ManualSuppression", ".*", EventType.UNSUBSCRIBED, None),
    ("Bounce", "BadEmailAddress", ".*", EventType.REJECTED, Bounce.HARD),
    ("Bounce", "ManuallyDeactivated|Unconfirmed", ".*", EventType.REJECTED, None),
    ("Bounce", "SMTPApiError|TemplateRenderingFailed", ".*", EventType.REJECTED, None),
    ("SubscriptionChange", "HardBounce", "True", EventType.BOUNCED, Bounce.HARD),
    ("SubscriptionChange", "SpamComplaint", "True", EventType.COMPLAINED, None),
    ("SubscriptionChange", ".*", "True", EventType.UNSUBSCRIBED, None),
)
_TIMES = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")


class PostmarkProvider(HttpProvider):
    """https://postmarkapp.com/developer/api/email-api

    The token is that of a server, `POSTMARK_MESSAGE_STREAM` one of its streams.
    """

    name = "postmark"
    records: Records
    settings = (
        ProviderSetting("POSTMARK_SERVER_TOKEN", required=True, secret=True),
        ProviderSetting("POSTMARK_MESSAGE_STREAM", default="outbound"),
        ProviderSetting("POSTMARK_BASE_URL", default="https://api.postmarkapp.com"),
        ProviderSetting("POSTMARK_WEBHOOK_CREDENTIALS", secret=True),
    )
    limits = Limits(
        size=10_000_000, recipients=50, steering=("x-pm-",), wants_body=True, one_copy=True
    )
    #: The code of a complaint is Postmark's `ErrorCode`.
    #: https://postmarkapp.com/developer/api/overview#error-codes
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(AccountRefused, code=r"10|405|412|413|1235|1236"),
        Rule(Unavailable, code=r"100"),
        Rule(MessageRefused, (422,), r"300", r"'?From'? address|'From'"),
        Rule(Rejected, (422,), r"300"),
        Rule(SenderRefused, code=r"400|401"),
        Rule(Rejected, (422,), r"406"),
        # Other providers draw the line of forbidden files elsewhere.
        Rule(MessageRefused, (422,), r"411"),
    )

    def __init__(
        self,
        values: Mapping[str, str],
        timeouts: Timeouts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(values, timeouts, clock=clock)
        self._stream = values["POSTMARK_MESSAGE_STREAM"]
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self._stream):
            raise BadSettings("POSTMARK_MESSAGE_STREAM must be the id of a stream like outbound")
        self._url = f"{self.base_url}/email"
        self._secrets = (values["POSTMARK_SERVER_TOKEN"],)
        token = {"X-Postmark-Server-Token": values["POSTMARK_SERVER_TOKEN"]}
        self._headers = {**token, "Content-Type": "application/json"}
        self._webhook_credentials = values["POSTMARK_WEBHOOK_CREDENTIALS"].encode()
        if self._webhook_credentials and not re.fullmatch(b"[^:]+:.+", self._webhook_credentials):
            raise BadSettings("POSTMARK_WEBHOOK_CREDENTIALS must be like user:password")
        self._outbound = f"{self.base_url}/messages/outbound"
        self.records = self.records_read_with(token, self._secrets)

    def refusal(self, email: Email) -> str | None:
        obstacle = super().refusal(email)
        if obstacle is not None:
            return obstacle
        if any(len((body or "").encode()) > _BODY_LIMIT for body in (email.text, email.html)):
            return "its text or its HTML has more than 5 MB"
        return None

    def compose(self, email: Email) -> Call:
        (copy,) = envelopes(email)
        message: dict[str, Any] = {
            "From": mailbox.raw(email.sender),
            "Subject": email.subject,
            "MessageStream": self._stream,
            "Metadata": {"attempt_id": email.attempt_id},
        }
        for field, addresses in (
            ("To", copy.to),
            ("Cc", copy.cc),
            ("Bcc", copy.bcc),
            ("ReplyTo", email.reply_to),
        ):
            if addresses:
                message[field] = ", ".join(map(mailbox.raw, addresses))
        for field, body in (("TextBody", email.text), ("HtmlBody", email.html)):
            if body:
                message[field] = body
        if email.headers:
            message["Headers"] = [
                {"Name": name, "Value": mailbox.encoded_text(value)}
                for name, value in email.headers
            ]
        if email.opens_tracked:
            message["TrackOpens"] = False
        if email.clicks_tracked:
            message["TrackLinks"] = "None"
        if email.attachments:
            message["Attachments"] = list(map(_attachment, email.attachments))
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        return Call(self._url, self._headers, text.encode(), self._secrets)

    @property
    def hears(self) -> bool:
        return bool(self._webhook_credentials)

    def read_webhook(self, request: WebhookRequest) -> WebhookContent:
        """https://postmarkapp.com/developer/webhooks/webhooks-overview#protecting-your-webhook

        Postmark signs nothing. What it can do is log in: with the user and the password that stand
        in the address of the webhook.
        """
        if not self.hears:
            raise WebhooksNotSetUp("POSTMARK_WEBHOOK_CREDENTIALS is not set")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            credentials = b64decode(given.strip(), validate=True)
        except ValueError:
            credentials = b""
        known = hmac.compare_digest(credentials, self._webhook_credentials)
        if scheme.lower() != "basic" or not known:
            raise NotAuthentic("the user or the password is not that of our webhooks")
        record = parsed(request.body)
        if not isinstance(record, dict):
            raise NotReadable("the body is not an event")
        return WebhookContent.of([(_kind(record), _event(record, request.received_at))])

    def taken(self, email: Email, answer: Answer) -> Accepted:
        accepted = self.accepted(answer)
        said = str(answer.fields.get("Message") or "")
        inactive = _INACTIVE.search(said)
        if inactive is None:
            return accepted
        # The list ends where the next sentence begins; the words after it name no address.
        left_out = _named(email, inactive[1])
        reason = "inactive at Postmark after a bounce, a complaint or by hand"
        not_taken = tuple(NotTaken(address, reason, rejected=True) for address in left_out)
        if left_out and len(left_out) == len(email.recipients):
            raise Rejected(f"{answer.status} {reason}", status=answer.status)
        return Accepted(accepted.provider_message_id, not_taken)

    def message_id(self, answer: Answer) -> str | None:
        return text(answer.fields.get("MessageID"))

    def complaints(self, answer: Answer) -> tuple[Complaint, ...]:
        code, message = answer.fields.get("ErrorCode"), answer.fields.get("Message")
        if code is None and message is None:
            return ()
        return (Complaint(str(message or ""), str(code or "")),)

    def named(self, email: Email, complaint: Complaint) -> tuple[str, ...]:
        found = _named(email, complaint.text)
        if found or complaint.code != "300":
            return found
        field = _FIELD.search(complaint.text)
        if field is None:
            return ()
        (copy,) = envelopes(email)
        addresses = getattr(copy, field[1].lower())
        # Postmark only names the field: that is a name where the field has one address.
        return (addresses[0].email,) if len(addresses) == 1 else ()

    def find(
        self, attempt_id: str, recipients: tuple[str, ...], since: datetime
    ) -> Accepted | None:
        """https://postmarkapp.com/developer/api/messages-api#outbound-message-search"""
        query = {"count": str(_PAGE), "offset": "0", "metadata_attempt_id": attempt_id}
        recipient = searchable(recipients)
        if recipient is not None:
            query["recipient"] = recipient
        page = self.records.search().read(f"{self._outbound}?{urlencode(query)}")
        for message in objects(page.get("Messages")):
            if member(message, "Metadata", "attempt_id") == attempt_id:
                return Accepted(text(message.get("MessageID")))
        return None


def _named(email: Email, text: str) -> tuple[str, ...]:
    """The recipients whose addresses occur in a text, spelt as in `email`."""
    words = {word.strip(".").lower() for word in _AROUND.split(text)}
    return tuple(
        address.email
        for address in email.recipients
        if mailbox.ascii_domain(address).lower() in words
    )


def _attachment(file: Attachment) -> dict[str, str]:
    found = {
        "Name": file.filename,
        "Content": b64encode(file.content).decode(),
        "ContentType": file.content_type,
    }
    # One with an id is shown where the HTML says cid:…, any other as a file.
    return found if file.content_id is None else {**found, "ContentID": f"cid:{file.content_id}"}


def _kind(record: Mapping[str, Any]) -> str:
    """What an event calls itself: its record type, and that of a bounce."""
    return " ".join(filter(None, (word(record.get("RecordType")), word(record.get("Type")))))


def _event(record: Mapping[str, Any], now: datetime) -> DeliveryEvent | None:
    """One of Postmark's events; None where it is not for us."""
    why = record.get("Type") or record.get("SuppressionReason")
    found = meaning(_EVENTS, record.get("RecordType"), why, record.get("SuppressSending"))
    if found is None:
        return None
    kind, bounce = found
    at = next(filter(None, map(record.get, _TIMES)), None)
    recipient = record.get("Email") or record.get("Recipient")
    told = (record.get("MessageID"), _kind(record), at, recipient)
    details = record.get("Details")
    return DeliveryEvent(
        # Bounces and complaints alone have an id of their own.
        id=word(record.get("ID")) or " ".join(map(word, told)),
        type=kind,
        occurred_at=moment(at) or now,
        recipient=address(recipient),
        attempt_id=text(member(record, "Metadata", "attempt_id")),
        provider_message_id=text(record.get("MessageID")),
        bounce=bounce,
        code=status_code(details),
        reason=one_line(details) or one_line(record.get("Description")),
        url=one_line(record.get("OriginalLink")),
    )
