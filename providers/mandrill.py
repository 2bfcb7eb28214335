"""Mandrill (Mailchimp Transactional): a JSON object posted to messages/send of its API."""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

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
from providers.transport import Call
from providers.types import Accepted, Attachment, Email, NotTaken

#: Whatever else it may be of a recipient: sent, queued, scheduled.
_NOT_TAKEN = ("rejected", "invalid")
#: Reasons to turn a recipient down that are about our side, and hold for nobody else.
#: https://mailchimp.com/developer/transactional/docs/error-glossary/
_OURS: Mapping[str, type[ProviderFailure]] = {
    "invalid-sender": SenderRefused,
    "unsigned": SenderRefused,
    "test-mode-limit": AccountRefused,
}


class MandrillProvider(HttpProvider):
    """https://mailchimp.com/developer/transactional/api/messages/send-new-message/"""

    name = "mandrill"
    settings = (
        ProviderSetting("MANDRILL_API_KEY", required=True, secret=True),
        ProviderSetting("MANDRILL_BASE_URL", default="https://mandrillapp.com"),
    )
    limits = Limits(size=25_000_000, recipients=1000, steering=("x-mc-",))
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

    def refusal(self, email: Email) -> str | None:
        if not (email.text or email.html):
            return "Mandrill wants a body"
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
        headers = {name: mailbox.encoded_text(value) for name, value in email.headers}
        if email.reply_to:
            headers["Reply-To"] = ", ".join(map(mailbox.encoded, email.reply_to))
        if headers:
            message["headers"] = headers
        files = [_file(f, f.filename) for f in email.attachments if f.content_id is None]
        images = [_file(f, f.content_id) for f in email.attachments if f.content_id is not None]
        message |= {k: v for k, v in (("attachments", files), ("images", images)) if v}
        whole = json.dumps({"key": self._key, "message": message}, ensure_ascii=False)
        return Call(self._url, {"Content-Type": "application/json"}, whole.encode(), (self._key,))

    def taken(self, email: Email, answer: Answer) -> Accepted:
        accepted = self.accepted(answer)
        results = {str(one.get("email") or "").lower(): one for one in _results(answer)}
        not_taken: list[NotTaken] = []
        refusals: list[type[ProviderFailure]] = []
        for address in email.recipients:
            result = results.get(mailbox.ascii_domain(address).lower(), {})
            if result.get("status") not in _NOT_TAKEN:
                continue
            why = str(result.get("reject_reason") or result["status"])[:80]
            refusal = _OURS.get(why)
            if refusal is not None:
                refusals.append(refusal)
            reason = f"{result['status']} at Mandrill: {why}"
            not_taken.append(NotTaken(address.email, reason, rejected=refusal is None))
        if len(not_taken) < len(email.recipients):
            return Accepted(accepted.provider_message_id, tuple(not_taken))
        reasons = "; ".join(dict.fromkeys(one.reason for one in not_taken))
        line = f"{answer.status} {reasons}"[:300]
        if len(refusals) == len(not_taken):
            raise refusals[0](line, status=answer.status)
        named = tuple(one.email for one in not_taken if one.rejected)
        raise Rejected(line, status=answer.status, recipients=named)

    def message_id(self, answer: Answer) -> str | None:
        """That of the first recipient for whom it was taken: each has one of their own."""
        for one in _results(answer):
            if one.get("status") not in _NOT_TAKEN and isinstance(one.get("_id"), str):
                return str(one["_id"]) or None
        return None

    def complaints(self, answer: Answer) -> tuple[Complaint, ...]:
        name, message = answer.fields.get("name"), answer.fields.get("message")
        if name is None and message is None:
            return ()
        return (Complaint(str(message or ""), str(name or "")),)

    def verdict(self, email: Email, answer: Answer, complaint: Complaint) -> type[ProviderFailure]:
        found = super().verdict(email, answer, complaint)
        # It says which field is wrong, and where that is the sender's, others may know them.
        if found is Rejected and "from_email" in complaint.text:
            return MessageRefused
        return found


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
