"""Resend: `POST /emails` with its idempotency keys, and `GET /emails/{id}`."""

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

from simulator.api import Api, Refused, Submission, json_answer, json_object, new_uuid
from simulator.credentials import Credentials
from simulator.http import Answer, Call
from simulator.journal import DELIVERY, Journal, Record
from simulator.mail import Fate, Mail, is_refused
from simulator.resend_schema import (
    attachments,
    bad_address,
    check_key,
    checked,
    error,
    headers,
    people,
    sender,
    tags,
)
from simulator.switches import Mode, Provider
from simulator.webhook_bodies import iso

#: Seconds for which a key is known.
KEY_LASTS = 24 * 3600.0
_MOST_KEYS = 100_000

_NO_KEY = error(401, "missing_api_key", "Missing API Key")
_BAD_KEY = error(403, "invalid_api_key", "API key is invalid")
# Who fends off robots for them wants every client to say what it is.
_NO_AGENT = Answer(403, b"error code: 1010", "text/plain; charset=UTF-8")
_LAST_EVENTS = {
    Fate.DELIVERED: "delivered",
    Fate.BOUNCE: "bounced",
    Fate.BLOCK: "bounced",
    Fate.COMPLAINT: "complained",
    Fate.DEFER: "delivery_delayed",
}


class _Kept(NamedTuple):
    """The first call with an idempotency key, which goes on until `answered_at`; Unix seconds."""

    accepted_at: float
    answered_at: float
    payload: bytes
    answer: Answer


class Resend(Api):
    """One team, whose key may do anything."""

    provider: ClassVar[Provider] = Provider.RESEND

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        self._key = credentials.resend_api_key.encode()
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def submission(self, call: Call, path: str) -> Submission:
        if refusal := self._refusal(call):
            raise Refused(refusal)
        if path != "/emails":
            raise Refused(error(404, "not_found", "The requested endpoint does not exist"))
        if call.method != "POST":
            raise Refused(error(405, "method_not_allowed", "Method not allowed"))
        body = json_object(call)
        if body is None:
            raise Refused(error(400, "validation_error", "The request body is not valid JSON."))
        key = call.headers.get("idempotency-key")
        check_key(key)
        submission = _submission(checked(body))
        return submission if key is None else self._once(submission, key, call.body)

    def report(self, call: Call, path: str, journal: Journal, until: float) -> Answer | None:
        match = re.fullmatch(r"/emails/([^/]+)", path)
        if match is None or call.method not in ("GET", "HEAD"):
            return None
        if refusal := self._refusal(call):
            return refusal
        for record in journal.newest(Provider.RESEND, 0.0, until):
            if record.message_id == match[1]:
                return json_answer(200, _email(record, until))
        return error(404, "not_found", "Email not found")

    def _refusal(self, call: Call) -> Answer | None:
        """Why a call is not looked at, None if it is."""
        if not call.headers.get("user-agent"):
            return _NO_AGENT
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return _NO_KEY
        return None if hmac.compare_digest(token.strip().encode(), self._key) else _BAD_KEY

    def failure(self, mode: Mode, submission: Submission | None, until: float) -> Answer:
        if mode is Mode.RATE_LIMIT:
            seconds = str(max(1, round(until - self._clock())))
            return error(
                429,
                "rate_limit_exceeded",
                "Too many requests. You can only make 2 requests per second. See rate limit "
                "response headers for more information.",
                ("ratelimit-limit", "2"),
                ("ratelimit-remaining", "0"),
                ("ratelimit-reset", seconds),
                ("retry-after", seconds),
            )
        if mode is Mode.UNVERIFIED_SENDER:
            domain = submission.sender.rpartition("@")[2] if submission else ""
            advice = "Please, add and verify your domain on https://resend.com/domains"
            reason = f"The {domain} domain is not verified. {advice}"
            return error(403, "validation_error", reason)
        if mode is Mode.UNAUTHORIZED:
            return _BAD_KEY
        if mode is Mode.HTTP_503:
            return error(503, "application_error", "Service unavailable")
        return error(500, "internal_server_error", "An unexpected error occurred.")

    def _once(self, submission: Submission, key: str, payload: bytes) -> Submission:
        """The submission, or the answer that the key's first call had."""
        now, digest = self._clock(), hashlib.sha256(payload).digest()
        while self._kept and self._oldest().accepted_at + KEY_LASTS <= now:
            self._kept.popitem(last=False)
        kept = self._kept.get(key)
        if kept is None:
            return replace(submission, taken=partial(self._keep, key, digest, submission.success))
        if kept.payload != digest:
            reason = "This idempotency key was used with another payload."
            raise Refused(error(409, "invalid_idempotent_request", reason))
        if kept.answered_at > now:
            reason = "Another call with this idempotency key is in progress."
            raise Refused(error(409, "concurrent_idempotent_requests", reason))
        return Submission(mails=(), sender=submission.sender, success=kept.answer)

    def _keep(self, key: str, digest: bytes, answer: Answer, seconds: float) -> None:
        now = self._clock()
        self._kept[key] = _Kept(now, now + seconds, digest, answer)
        if len(self._kept) > _MOST_KEYS:
            self._kept.popitem(last=False)

    def _oldest(self) -> _Kept:
        return next(iter(self._kept.values()))


def _submission(email: dict[str, Any]) -> Submission:
    message_id = new_uuid()
    mail = Mail(
        provider=Provider.RESEND,
        provider_message_id=message_id,
        sender=sender(email),
        to=people(email, "to"),
        cc=people(email, "cc"),
        bcc=people(email, "bcc"),
        reply_to=people(email, "reply_to"),
        subject=email["subject"],
        text=email.get("text") or None,
        html=email.get("html") or None,
        headers=headers(email),
        attachments=attachments(email),
        variables=tags(email),
    )
    refused = [kind for kind, one, _ in mail.recipients if is_refused(one.email)]
    return Submission(
        mails=(mail,),
        sender=mail.sender.email,
        success=json_answer(200, {"id": message_id}),
        bad_recipient=error(422, "validation_error", bad_address(refused[0])) if refused else None,
    )


def _email(record: Record, until: float) -> dict[str, Any]:
    decided = record.accepted_at + DELIVERY <= until
    return {
        "object": "email",
        "id": record.message_id,
        "to": list(record.to),
        "from": record.sender,
        "created_at": iso(record.accepted_at),
        "subject": record.subject,
        "last_event": _LAST_EVENTS[record.fate_of(record.recipients[0])] if decided else "sent",
    }
