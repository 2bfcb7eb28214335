"""Mandrill (Mailchimp Transactional): `messages/send`, `messages/search` and `messages/info`."""

import hmac
import os
import re
from collections.abc import Callable
from typing import Any, ClassVar

from simulator.api import Api, Refused, Submission, json_answer, json_object
from simulator.credentials import Credentials
from simulator.http import Answer, Call
from simulator.journal import Journal
from simulator.mail import Mail, Mailbox, is_refused
from simulator.mandrill_events import id_of
from simulator.mandrill_schema import (
    KINDS,
    MOST_TAGS,
    attachments,
    checked,
    error,
    headers,
    invalid,
    is_address,
    metadata,
    recipients,
    reply_to,
    sender,
)
from simulator.mandrill_search import BadQuery, one_message, search
from simulator.switches import Mode, Provider

#: With more of them, a message waits for its turn there.
MOST_AT_ONCE = 10

_BAD_KEY = error("Invalid_Key", "Invalid API key")
_PATH = re.compile(r"/api/1\.[0-9]/messages/(\w+)(?:\.json)?")


class Mandrill(Api):
    """One account, whose key comes in the body."""

    provider: ClassVar[Provider] = Provider.MANDRILL

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        self._key = credentials.mandrill_api_key.encode()
        self._clock = clock

    def submission(self, call: Call, path: str) -> Submission:
        body = self._body(call)
        match = _PATH.fullmatch(path)
        if match is None or match[1] != "send" or call.method != "POST":
            raise Refused(Answer(404, b"<html><body>Not Found</body></html>", "text/html"))
        return _submission(checked(body))

    def report(self, call: Call, path: str, journal: Journal, until: float) -> Answer | None:
        match = _PATH.fullmatch(path)
        if match is None or match[1] not in ("search", "info") or call.method != "POST":
            return None
        try:
            body = self._body(call)
            if match[1] == "search":
                return json_answer(200, search(body, journal, until))
        except Refused as refused:
            return refused.answer
        except BadQuery as bad:
            return invalid(f"Validation error: {bad}")
        found = one_message(body.get("id"), journal, until)
        if found is None:
            return error("Unknown_Message", f"No message exists with the id '{body.get('id')}'", 11)
        return json_answer(200, found)

    def failure(self, mode: Mode, submission: Submission | None, until: float) -> Answer:
        if mode is Mode.RATE_LIMIT:
            # Nothing is documented; what stands before their servers answers like this.
            return error("GeneralError", "Too many requests", status=429)
        if mode is Mode.UNVERIFIED_SENDER:
            mails = submission.mails if submission else ()
            everybody = [one for mail in mails for _, one, _ in mail.recipients]
            return json_answer(200, [_turned_down(one, "unsigned") for one in everybody])
        if mode is Mode.UNAUTHORIZED:
            return _BAD_KEY
        if mode is Mode.HTTP_503:
            return error("ServiceUnavailable", "The service is temporarily unavailable", status=503)
        return error("GeneralError", "An unexpected error occurred")

    def _body(self, call: Call) -> dict[str, Any]:
        """What a call holds. Raises `Refused` without the key."""
        body = json_object(call) or {}
        key = body.get("key")
        if not isinstance(key, str) or not key:
            raise Refused(invalid("You must specify a key value"))
        if not hmac.compare_digest(key.encode(), self._key):
            raise Refused(_BAD_KEY)
        return body


def _submission(message: dict[str, Any]) -> Submission:
    from_, everybody = sender(message), recipients(message)
    if from_ is None:
        answers = [_turned_down(one, "invalid-sender") for _, one in everybody]
        return Submission(mails=(), sender="", success=json_answer(200, answers))
    message_id = os.urandom(16).hex()
    reasons = [_reason(one.email) for _, one in everybody]
    taken = [pair for pair, reason in zip(everybody, reasons, strict=True) if reason is None]
    to, cc, bcc = (tuple(one for kind, one in taken if kind == wanted) for wanted in KINDS)
    mail = Mail(
        provider=Provider.MANDRILL,
        provider_message_id=message_id,
        sender=from_,
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to(message),
        subject=message.get("subject", ""),
        text=message.get("text") or None,
        html=message.get("html") or None,
        headers=headers(message),
        attachments=attachments(message),
        tags=tuple(message.get("tags", ()))[:MOST_TAGS],
        variables=metadata(message),
    )
    ids = {one.email: id_of(message_id, n) for n, (_, one, _) in enumerate(mail.recipients)}
    waits = "attachments" if mail.attachments else None
    if len(everybody) > MOST_AT_ONCE:
        waits = "multiple-recipients"
    answers = [
        _turned_down(one, reason) if reason else _accepted(one, ids[one.email], waits)
        for (_, one), reason in zip(everybody, reasons, strict=True)
    ]
    return Submission(
        mails=(mail,) if taken else (),
        sender=from_.email,
        success=json_answer(200, answers),
    )


def _reason(email: str) -> str | None:
    """Why a recipient is turned down, None if they are not."""
    if not is_address(email):
        return "invalid"
    return "hard-bounce" if is_refused(email) else None


def _accepted(one: Mailbox, id_: str, waits: str | None) -> dict[str, Any]:
    return {
        "email": one.email,
        "status": "queued" if waits else "sent",
        "_id": id_,
        "reject_reason": None,
        "queued_reason": waits,
    }


def _turned_down(one: Mailbox, reason: str) -> dict[str, Any]:
    return {
        "email": one.email,
        "status": "invalid" if reason == "invalid" else "rejected",
        "_id": os.urandom(16).hex(),
        "reject_reason": reason,
        "queued_reason": None,
    }
