"""SendGrid: `POST /v3/mail/send`, and `GET /v3/messages` of Email Activity."""

import base64
import hmac
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, ClassVar
from urllib.parse import unquote

from simulator.api import Api, Refused, Submission, json_answer, json_object
from simulator.credentials import Credentials
from simulator.http import Answer, Call
from simulator.journal import Journal
from simulator.mail import Attachment, Mail, Mailbox, decoded, is_refused, unquoted
from simulator.sendgrid_activity import BadQuery, messages, one_message
from simulator.sendgrid_schema import BAD_REQUEST, Fault, bad_address, faults
from simulator.switches import Mode, Provider

MESSAGE_BYTES = 30 * 1024 * 1024


def _errors(status: int, found: Iterable[Fault], *headers: tuple[str, str]) -> Answer:
    return json_answer(status, {"errors": [asdict(fault) for fault in found]}, *headers)


def _error(status: int, message: str, *headers: tuple[str, str]) -> Answer:
    return json_answer(status, {"errors": [{"field": None, "message": message}]}, *headers)


UNAUTHORIZED = _errors(
    401, [Fault("The provided authorization grant is invalid, expired, or revoked")]
)
UNVERIFIED = _errors(
    403,
    [
        Fault(
            "The from address does not match a verified Sender Identity. Mail cannot be sent until "
            "this error is resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/"
            "sender-identity/ to see the Sender Identity requirements",
            "from",
        )
    ],
)


class SendGrid(Api):
    """One account, whose key may do anything."""

    provider: ClassVar[Provider] = Provider.SENDGRID

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        self._key = credentials.sendgrid_api_key.encode()
        self._clock = clock

    def submission(self, call: Call, path: str) -> Submission:
        if refusal := self._refusal(call):
            raise Refused(refusal)
        if path != "/v3/mail/send":
            raise Refused(_error(404, "not found"))
        if call.method != "POST":
            raise Refused(_error(405, "method not allowed", ("Allow", "POST")))
        if not call.headers.get("content-type", "").lower().startswith("application/json"):
            raise Refused(_error(415, "Content-Type should be application/json."))
        if len(call.body) > MESSAGE_BYTES:
            raise Refused(_error(413, "Payload too large"))
        body = json_object(call)
        if body is None:
            raise Refused(_errors(400, [BAD_REQUEST]))
        if found := faults(body, self._clock()):
            raise Refused(_errors(400, found))
        return _submission(body)

    def report(self, call: Call, path: str, journal: Journal, until: float) -> Answer | None:
        if call.method not in ("GET", "HEAD"):
            return None
        match = re.fullmatch(r"/v3/messages(?:/([^/]+))?", path)
        if match is None:
            return None
        if refusal := self._refusal(call):
            return refusal
        if match[1]:
            found = one_message(unquote(match[1]), journal, until)
            return json_answer(200, found) if found else _error(404, "not found")
        try:
            return json_answer(200, {"messages": messages(call.query, journal, until)})
        except BadQuery as bad:
            return _errors(400, [Fault(str(bad), bad.field)])

    def _refusal(self, call: Call) -> Answer | None:
        """Why a call is not looked at, None if it is."""
        authorization = call.headers.get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        if not authorization:
            return _error(401, "authorization required")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._key):
            return UNAUTHORIZED
        return None

    def failure(self, mode: Mode, submission: Submission | None, until: float) -> Answer:
        if mode is Mode.RATE_LIMIT:
            return _error(
                429,
                "too many requests",
                ("X-RateLimit-Limit", "600"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", f"{until:.0f}"),
            )
        if mode is Mode.UNVERIFIED_SENDER:
            return UNVERIFIED
        if mode is Mode.UNAUTHORIZED:
            return UNAUTHORIZED
        if mode is Mode.HTTP_503:
            return _errors(503, [Fault("Service Unavailable")])
        return _errors(500, [Fault("Internal Server Error")])


def _submission(body: dict[str, Any]) -> Submission:
    rehearsal = body.get("mail_settings", {}).get("sandbox_mode", {}).get("enable", False)
    message_id = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()
    envelopes = body["personalizations"]
    refused = [
        bad_address(f"personalizations.{number}.{kind}.{place}")
        for number, envelope in enumerate(envelopes)
        for kind in ("to", "cc", "bcc")
        for place, one in enumerate(envelope.get(kind, ()))
        if is_refused(one["email"])
    ]
    accepted = Answer(202, headers=(("X-Message-Id", message_id),))
    return Submission(
        mails=()
        if rehearsal
        else tuple(_mail(body, envelope, message_id) for envelope in envelopes),
        sender=body["from"]["email"],
        success=Answer(200) if rehearsal else accepted,
        bad_recipient=_errors(400, refused) if refused else None,
    )


def _mail(body: dict[str, Any], envelope: dict[str, Any], message_id: str) -> Mail:
    """What the recipients of one personalization get."""

    def filled(text: str) -> str:
        for mark, value in envelope.get("substitutions", {}).items():
            text = text.replace(mark, value)
        return text

    content = {block["type"].lower(): filled(block["value"]) for block in body["content"]}
    headers = {**body.get("headers", {}), **envelope.get("headers", {})}
    reply_to = [body["reply_to"]] if "reply_to" in body else body.get("reply_to_list", ())
    to, cc, bcc = (_people(envelope.get(kind, ())) for kind in ("to", "cc", "bcc"))
    return Mail(
        provider=Provider.SENDGRID,
        provider_message_id=message_id,
        sender=_people([envelope.get("from", body["from"])])[0],
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=_people(reply_to),
        subject=filled(envelope.get("subject") or body["subject"]),
        text=content.get("text/plain"),
        html=content.get("text/html"),
        headers=tuple((name, decoded(value)) for name, value in headers.items()),
        attachments=tuple(_attachment(one) for one in body.get("attachments", ())),
        tags=tuple(body.get("categories", ())),
        variables={**body.get("custom_args", {}), **envelope.get("custom_args", {})},
    )


def _people(people: Iterable[dict[str, str]]) -> tuple[Mailbox, ...]:
    return tuple(Mailbox(one["email"], unquoted(one.get("name", ""))) for one in people)


def _attachment(one: dict[str, str]) -> Attachment:
    return Attachment(
        filename=one["filename"],
        content_type=one.get("type", "application/octet-stream"),
        content=base64.b64decode(one["content"]),
        content_id=one.get("content_id", ""),
        inline=one.get("disposition") == "inline",
    )
