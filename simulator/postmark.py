"""Postmark: `POST /email`, and `GET /messages/outbound` of its Messages API."""

import hmac
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from simulator.api import Api, Refused, Submission, json_answer, json_object, new_uuid
from simulator.credentials import Credentials
from simulator.http import Answer, Call
from simulator.journal import Journal
from simulator.mail import Mail, Mailbox, is_refused
from simulator.postmark_schema import (
    attachments,
    check_content,
    checked,
    error,
    headers,
    metadata,
    people,
    recipients,
    sender,
)
from simulator.postmark_search import BadQuery, details, search
from simulator.switches import Mode, Provider
from simulator.webhook_bodies import iso

#: Checks a message as any other key does, and throws it away.
REHEARSAL_TOKEN = b"POSTMARK_API_TEST"

_NO_TOKEN = error(
    401,
    10,
    "No Account or Server API tokens were supplied in the HTTP headers. Please add a header for "
    "either X-Postmark-Server-Token or X-Postmark-Account-Token.",
)
_BAD_TOKEN = error(401, 10, "Request does not contain a valid Server token.")
_NOT_FOUND = Answer(404, b"<html><body>Not Found</body></html>", "text/html")
_WHY_INACTIVE = (
    "Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual "
    "suppression."
)
_OUTBOUND = re.compile(r"/messages/outbound(?:/([^/]+)/details)?")


class Postmark(Api):
    """One server of an account, where every sender is known."""

    provider: ClassVar[Provider] = Provider.POSTMARK

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        self._token = credentials.postmark_server_token.encode()
        self._clock = clock

    def submission(self, call: Call, path: str) -> Submission:
        token = _token(call)
        rehearsal = token == REHEARSAL_TOKEN
        if not rehearsal and (refusal := self._refusal(token)):
            raise Refused(refusal)
        if path != "/email":
            raise Refused(_NOT_FOUND)
        if call.method != "POST":
            raise Refused(error(405, 405, "Method not allowed."))
        if not call.headers.get("content-type", "").lower().startswith("application/json"):
            reason = "The Content-Type and Accept headers must be set to application/json."
            raise Refused(error(422, 409, reason))
        body = json_object(call)
        if body is None:
            raise Refused(error(422, 402, "Received invalid JSON input."))
        return self._submission(checked(body), rehearsal)

    def report(self, call: Call, path: str, journal: Journal, until: float) -> Answer | None:
        match = _OUTBOUND.fullmatch(path)
        if match is None or call.method not in ("GET", "HEAD"):
            return None
        if refusal := self._refusal(_token(call)):
            return refusal
        try:
            found = details(match[1], journal, until) if match[1] else search(call, journal, until)
        except BadQuery as bad:
            return error(422, bad.code, str(bad))
        return json_answer(200, found)

    def _refusal(self, token: bytes) -> Answer | None:
        """Why a call with this token is not looked at, None if it is."""
        if not token:
            return _NO_TOKEN
        return None if hmac.compare_digest(token, self._token) else _BAD_TOKEN

    def failure(self, mode: Mode, submission: Submission | None, until: float) -> Answer:
        if mode is Mode.RATE_LIMIT:
            return error(429, 429, "Rate limit exceeded.")
        if mode is Mode.UNVERIFIED_SENDER:
            sender = submission.sender if submission else ""
            return error(
                422,
                400,
                f"The 'From' address you supplied ({sender}) is not a Sender Signature on your "
                "account. Please add and confirm this address in order to be able to use it in the "
                "'From' field of your messages.",
            )
        if mode is Mode.UNAUTHORIZED:
            return _BAD_TOKEN
        if mode is Mode.HTTP_503:
            return error(503, 100, "Offline for maintenance.")
        return error(500, 500, "Internal Server Error.")

    def _submission(self, email: dict[str, Any], rehearsal: bool) -> Submission:
        from_, kinds = sender(email), recipients(email)
        check_content(email)
        inactive = [one.email for kind in kinds for one in kind if is_refused(one.email)]
        to, cc, bcc = (_active(kind) for kind in kinds)
        mail = Mail(
            provider=Provider.POSTMARK,
            provider_message_id=new_uuid(),
            sender=from_,
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=people(email, "ReplyTo"),
            subject=email.get("Subject", ""),
            text=email.get("TextBody") or None,
            html=email.get("HtmlBody") or None,
            headers=headers(email),
            attachments=attachments(email),
            tags=(email["Tag"],) if email.get("Tag") else (),
            variables=metadata(email),
        )
        answer = {
            **{field: email[field] for field in ("To", "Cc", "Bcc") if email.get(field)},
            "SubmittedAt": iso(self._clock()),
            "MessageID": mail.provider_message_id,
            "ErrorCode": 0,
            "Message": "Test job accepted" if rehearsal else _message(inactive),
        }
        refusal = (
            "You tried to send to recipient(s) that have been marked as inactive. Found inactive "
            f"addresses: {', '.join(inactive)}. {_WHY_INACTIVE}"
        )
        return Submission(
            mails=() if rehearsal else (mail,),
            sender=from_.email,
            success=json_answer(200, answer),
            bad_recipient=None if to or cc or bcc else error(422, 406, refusal),
        )


def _token(call: Call) -> bytes:
    return call.headers.get("x-postmark-server-token", "").encode("latin-1")


def _active(people: Sequence[Mailbox]) -> tuple[Mailbox, ...]:
    return tuple(one for one in people if not is_refused(one.email))


def _message(inactive: Sequence[str]) -> str:
    if not inactive:
        return "OK"
    found = ", ".join(inactive)
    return f"Message OK, but will not deliver to these inactive addresses: {found}. {_WHY_INACTIVE}"
