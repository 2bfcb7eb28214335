"""Postmark: a JSON object posted to the email of a server."""

import json
import re
import time
from base64 import b64encode
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
from providers.types import Accepted, Attachment, Email, NotTaken

#: Each of the two; the whole message has a limit of its own.
#: https://postmarkapp.com/developer/user-guide/send-email-with-api
_BODY_LIMIT = 5_000_000
_FIELD = re.compile(r"'?(To|Cc|Bcc)'?\b", re.IGNORECASE)
_INACTIVE = re.compile(r"inactive address(?:es)?:(.*)", re.IGNORECASE | re.DOTALL)
#: What stands around an address in Postmark's words.
_AROUND = re.compile(r"[\s,;:<>()\[\]'\"]+")
_PAGE = 50


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
    )
    limits = Limits(size=10_000_000, recipients=50, steering=("x-pm-",))
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
        self._outbound = f"{self.base_url}/messages/outbound"
        self.records = self.records_read_with(token, self._secrets)

    def refusal(self, email: Email) -> str | None:
        if not (email.text or email.html):
            return "Postmark wants a body"
        if len(envelopes(email)) > 1:
            return "Postmark wants somebody in To or Cc where there are several blind copies"
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
        if email.attachments:
            message["Attachments"] = list(map(_attachment, email.attachments))
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        return Call(self._url, self._headers, text.encode(), self._secrets)

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
        found = answer.fields.get("MessageID")
        return found if isinstance(found, str) and found else None

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
                found = message.get("MessageID")
                return Accepted(found if isinstance(found, str) and found else None)
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
