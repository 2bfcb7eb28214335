"""Mandrill (Mailchimp Transactional): a JSON object posted to messages/send of its API."""

import hmac
import json
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from providers import mailbox
from providers.answers import Answer, Complaint, Rule
from providers.base import HttpProvider, ProviderSetting, Timeouts
from providers.carrying import Limits
from providers.errors import (
    AccountRefused,
    MessageRefused,
    ProviderFailure,
    Rejected,
    SenderRefused,
    Unavailable,
)
from providers.records import Records, member, searchable
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

#: Whatever else it may be of a recipient: sent, queued, scheduled.
_NOT_TAKEN = ("rejected", "invalid")
#: Reasons to turn a recipient down that are about our side, and hold for nobody else.
#: https://mailchimp.com/developer/transactional/docs/error-glossary/
_OURS: Mapping[str, type[ProviderFailure]] = {
    "invalid-sender": SenderRefused,
    "unsigned": SenderRefused,
    "test-mode-limit": AccountRefused,
}
#: What an event is by its name, by the number of the kind of bounce, and by the reason of a
#: rejection; the first row that fits counts. Numbers of fifty and more are about the message and
#: its sender. https://mailchimp.com/developer/transactional/docs/webhooks/
#: https://mailchimp.com/developer/transactional/docs/reputation-rejections/#bounces
_EVENTS: tuple[EventRow, ...] = (
    ("send", ".*", ".*", EventType.ACCEPTED, None),
    ("delivered", ".*", ".*", EventType.DELIVERED, None),
    ("deferral", ".*", ".*", EventType.DEFERRED, None),
    ("(hard|soft)_bounce", "25|5[0-4]", ".*", EventType.BOUNCED, Bounce.BLOCK),
    ("hard_bounce", ".*", ".*", EventType.BOUNCED, Bounce.HARD),
    ("soft_bounce", ".*", ".*", EventType.BOUNCED, Bounce.SOFT),
    ("reject", ".*", "hard-bounce|invalid", EventType.REJECTED, Bounce.HARD),
    ("reject", ".*", ".*", EventType.REJECTED, None),
    ("spam", ".*", ".*", EventType.COMPLAINED, None),
    ("unsub", ".*", ".*", EventType.UNSUBSCRIBED, None),
    ("open", ".*", ".*", EventType.OPENED, None),
    ("click", ".*", ".*", EventType.CLICKED, None),
)
_JSON = {"Content-Type": "application/json"}
#: So many messages to one recipient are looked through.
_MESSAGES = 100
#: How far Mandrill's clock may be behind ours.
_SKEW = timedelta(minutes=1)
#: So many fields may a form have, of which Mandrill fills one.
_FIELDS = 100


class MandrillProvider(HttpProvider):
    """https://mailchimp.com/developer/transactional/api/messages/send-new-message/"""

    name = "mandrill"
    records: Records
    settings = (
        ProviderSetting("MANDRILL_API_KEY", required=True, secret=True),
        ProviderSetting("MANDRILL_BASE_URL", default="https://mandrillapp.com"),
        ProviderSetting("MANDRILL_WEBHOOK_KEY", secret=True),
    )
    limits = Limits(size=25_000_000, recipients=1000, steering=("x-mc-",), wants_body=True)
    #: The code of a complaint is the `name` of the error; they come with 500, or with a 4xx.
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(AccountRefused, code=r"Invalid_Key|PaymentRequired|Unknown_(Subaccount|Template)"),
        Rule(Rejected, code=r"ValidationError"),
        Rule(Unavailable, code=r"ServiceUnavailable"),
    )

    def __init__(
        self,
        values: Mapping[str, str],
        timeouts: Timeouts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(values, timeouts, clock=clock)
        self._url = f"{self.base_url}/api/1.0/messages/send.json"
        self._key = values["MANDRILL_API_KEY"]
        self._search = f"{self.base_url}/api/1.0/messages/search.json"
        self.records = self.records_read_with(
            _JSON, (self._key,), lambda answer: _name(answer) == "Invalid_Key"
        )
        self._webhook_key = values["MANDRILL_WEBHOOK_KEY"].encode()

    def refusal(self, email: Email) -> str | None:
        images = (file for file in email.attachments if file.content_id is not None)
        if not all(file.content_type.lower().startswith("image/") for file in images):
            return "Mandrill takes nothing but images for what stands in the HTML"
        return super().refusal(email)

    def compose(self, email: Email) -> Call:
        message: dict[str, Any] = {
            "from_email": mailbox.ascii_domain(email.sender),
            "subject": email.subject,
            "to": [
                {"email": mailbox.ascii_domain(address), "name": address.name, "type": kind}
                for kind, addresses in (("to", email.to), ("cc", email.cc), ("bcc", email.bcc))
                for address in addresses
            ],
            "metadata": {"attempt_id": email.attempt_id},
            # One message for all: those in Cc are shown, those in Bcc are not.
            "preserve_recipients": True,
        }
        if email.sender.name:
            message["from_name"] = email.sender.name
        for field, body in (("text", email.text), ("html", email.html)):
            if body:
                message[field] = body
        if email.opens_tracked:
            message["track_opens"] = False
        if email.clicks_tracked:
            message["track_clicks"] = False
        headers = {name: mailbox.encoded_text(value) for name, value in email.headers}
        if email.reply_to:
            headers["Reply-To"] = ", ".join(map(mailbox.encoded, email.reply_to))
        if headers:
            message["headers"] = headers
        files = [_file(f, f.filename) for f in email.attachments if f.content_id is None]
        images = [_file(f, f.content_id) for f in email.attachments if f.content_id is not None]
        message |= {k: v for k, v in (("attachments", files), ("images", images)) if v}
        whole = json.dumps({"key": self._key, "message": message}, ensure_ascii=False)
        return Call(self._url, _JSON, whole.encode(), (self._key,))

    def taken(self, email: Email, answer: Answer) -> Accepted:
        accepted = self.accepted(answer)
        results = {str(one.get("email") or "").lower(): one for one in _results(answer)}
        not_taken: list[NotTaken] = []
        refusals: list[type[ProviderFailure]] = []
        for recipient in email.recipients:
            result = results.get(mailbox.ascii_domain(recipient).lower(), {})
            if result.get("status") not in _NOT_TAKEN:
                continue
            why = str(result.get("reject_reason") or result["status"])[:80]
            refusal = _OURS.get(why)
            if refusal is not None:
                refusals.append(refusal)
            reason = f"{result['status']} at Mandrill: {why}"
            not_taken.append(NotTaken(recipient.email, reason, rejected=refusal is None))
        if len(not_taken) < len(email.recipients):
            return Accepted(accepted.provider_message_id, tuple(not_taken))
        reasons = "; ".join(dict.fromkeys(one.reason for one in not_taken))
        line = f"{answer.status} {reasons}"[:300]
        if len(refusals) == len(not_taken):
            raise refusals[0](line, status=answer.status)
        named = tuple(one.email for one in not_taken if one.rejected)
        raise Rejected(line, status=answer.status, recipients=named)

    def find(
        self, attempt_id: str, recipients: tuple[str, ...], since: datetime
    ) -> Accepted | None:
        """https://mailchimp.com/developer/transactional/api/messages/search-messages/

        Metadata can be searched for only where the account says so. The messages of one recipient
        can be looked through anywhere.
        """
        recipient = searchable(recipients)
        if recipient is None:
            return None
        question = {
            "key": self._key,
            "query": f"full_email:{recipient}",
            "date_from": (since - _SKEW).astimezone(UTC).date().isoformat(),
            "limit": _MESSAGES,
        }
        for message in self.records.search().ask(self._search, question):
            known = member(message, "metadata", "attempt_id") == attempt_id
            if known and message.get("state") not in _NOT_TAKEN:
                return Accepted(text(message.get("_id")))
        return None

    @property
    def hears(self) -> bool:
        return bool(self._webhook_key)

    def read_webhook(self, request: WebhookRequest) -> WebhookContent:
        """https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/

        The signature covers the address too, to the letter as it stands in Mandrill's list.
        """
        try:
            body = request.body.decode()
            fields = parse_qsl(body, True, errors="strict", max_num_fields=_FIELDS)
        except ValueError:
            raise NotReadable("the body is not a form") from None
        batches = [value for name, value in fields if name == "mandrill_events"]
        # Before a webhook has a key, Mandrill sends it no events, and wants to hear a yes.
        if [batch.strip() for batch in batches] == ["[]"]:
            return WebhookContent()
        if not self.hears:
            raise WebhooksNotSetUp("MANDRILL_WEBHOOK_KEY is not set")
        signed = request.url + "".join(name + value for name, value in sorted(fields))
        digest = hmac.digest(self._webhook_key, signed.encode("utf-8", "replace"), "sha1")
        given = request.headers.get("x-mandrill-signature", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, b64encode(digest)):
            raise NotAuthentic("the signature is not Mandrill's, or for another address than this")
        batch = parsed(batches[0].encode()) if len(batches) == 1 else None
        if not isinstance(batch, list):
            raise NotReadable("there is no list of mandrill_events in it")
        records = [record for record in batch if isinstance(record, dict)]
        return WebhookContent.of(
            (word(one.get("event") or one.get("type")), _event(one, request.received_at))
            for one in records
        )

    def message_id(self, answer: Answer) -> str | None:
        """That of the first recipient for whom it was taken: each has one of their own."""
        for one in _results(answer):
            if one.get("status") not in _NOT_TAKEN and isinstance(one.get("_id"), str):
                return str(one["_id"]) or None
        return None

    def complaints(self, answer: Answer) -> tuple[Complaint, ...]:
        name, message = _name(answer), answer.fields.get("message")
        if name is None and message is None:
            return ()
        return (Complaint(str(message or ""), str(name or "")),)

    def verdict(self, email: Email, answer: Answer, complaint: Complaint) -> type[ProviderFailure]:
        found = super().verdict(email, answer, complaint)
        # It says which field is wrong, and where that is the sender's, others may know them.
        if found is Rejected and "from_email" in complaint.text:
            return MessageRefused
        return found


def _name(answer: Answer) -> object:
    """The name of an error; they come with 500 as a rule."""
    return answer.fields.get("name")


def _results(answer: Answer) -> list[Mapping[str, Any]]:
    """What became of each recipient, as far as it can be read."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _file(file: Attachment, name: str | None) -> dict[str, str | None]:
    """The name of an image is its content id."""
    return {
        "type": file.content_type,
        "name": name,
        "content": b64encode(file.content).decode(),
    }


def _event(record: Mapping[str, Any], now: datetime) -> DeliveryEvent | None:
    """One of Mandrill's events; None where it is not for us."""
    name, message = record.get("event"), record.get("msg")
    found = meaning(
        _EVENTS, name, member(message, "bgtools_code"), member(message, "reject", "reason")
    )
    if found is None:
        return None
    kind, bounce = found
    recipient, at = member(message, "email"), record.get("ts")
    said = [member(message, "diag"), _last_answer(message)]
    why = [*said, member(message, "bounce_description"), member(message, "reject", "reason")]
    return DeliveryEvent(
        # That of the message, which has one for each recipient; of one moment, links differ.
        id=" ".join(map(word, (record.get("_id"), name, at, recipient, record.get("url")))),
        type=kind,
        occurred_at=moment(at) or now,
        recipient=address(recipient),
        attempt_id=text(member(message, "metadata", "attempt_id")),
        provider_message_id=text(record.get("_id")),
        bounce=bounce,
        code=next(filter(None, map(status_code, said)), None),
        reason=next(filter(None, map(one_line, why)), None),
        url=one_line(record.get("url")),
    )


def _last_answer(message: object) -> object:
    """What the recipient's server said last, of a message that it has put off."""
    answers = member(message, "smtp_events")
    return member(answers[-1], "diag") if isinstance(answers, list) and answers else None
