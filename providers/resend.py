"""Resend: a JSON object posted to its emails, with a key by which it knows a repeated call."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from providers import mailbox
from providers.answers import Answer, Complaint, Rule
from providers.base import HttpProvider, ProviderSetting, Timeouts
from providers.carrying import Limits, envelopes
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unknown,
)
from providers.transport import Call
from providers.types import Attachment, Email

_FIELD = re.compile(r"\W(to|cc|bcc)\W+field", re.IGNORECASE)


class ResendProvider(HttpProvider):
    """https://resend.com/docs/api-reference/emails/send-email

    An attempt's id is its idempotency key: a call of which nobody knows may be made again.
    """

    name = "resend"
    # Resend keeps a key for 24 hours; its clock and the way there may take some of them.
    # https://resend.com/docs/dashboard/emails/idempotency-keys
    repeatable = timedelta(hours=23)
    settings = (
        ProviderSetting("RESEND_API_KEY", required=True, secret=True),
        ProviderSetting("RESEND_BASE_URL", default="https://api.resend.com"),
    )
    limits = Limits(size=40_000_000, recipients=50)
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

    def refusal(self, email: Email) -> str | None:
        if not email.subject:
            return "Resend wants a subject"
        if not (email.text or email.html):
            return "Resend wants a body"
        if len(envelopes(email)) > 1:
            return "Resend wants somebody in To or Cc where there are several blind copies"
        return super().refusal(email)

    def compose(self, email: Email) -> Call:
        (copy,) = envelopes(email)
        # A repeated call must be the same to the byte: nothing in here may depend on the moment.
        message: dict[str, Any] = {
            "from": mailbox.raw(email.sender),
            "subject": email.subject,
            "tags": [{"name": "attempt_id", "value": email.attempt_id}],
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

    def message_id(self, answer: Answer) -> str | None:
        found = answer.fields.get("id")
        return found if isinstance(found, str) and found else None

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
