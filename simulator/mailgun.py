"""Mailgun: `POST /v3/{domain}/messages` and `messages.mime`, and `GET /v3/{domain}/events`."""

import base64
import hmac
import os
import re
import time
from collections.abc import Callable
from typing import ClassVar
from urllib.parse import unquote

from simulator.api import Api, Refused, Submission, json_answer
from simulator.credentials import Credentials
from simulator.forms import Form, parse_form
from simulator.http import Answer, Call
from simulator.journal import Journal
from simulator.mail import Mail, Mailbox, is_refused
from simulator.mailgun_events import BadQuery, page
from simulator.mailgun_schema import (
    BadParameter,
    bad_address,
    check_parameters,
    content,
    recipients,
    sender,
)
from simulator.mime import Content, parse_mime
from simulator.switches import Mode, Provider

MOST_RECIPIENTS = 1_000
MESSAGE_BYTES = 25 * 1024 * 1024

BANNER = Answer(200, b"Mailgun Magnificent API\n", "text/plain; charset=utf-8")
FORBIDDEN = Answer(401, b"Forbidden", "text/plain", (("WWW-Authenticate", 'Basic realm="MG API"'),))
UNAVAILABLE = Answer(
    503,
    b"<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n"
    b"<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx</center>"
    b"\r\n</body>\r\n</html>\r\n",
    "text/html",
)

_PATH = re.compile(r"/v3/([^/]+)/messages(\.mime)?")
_EVENTS = re.compile(r"/v3/([^/]+)/events(?:/([^/]*))?")


def _message(status: int, text: str) -> Answer:
    return json_answer(status, {"message": text})


class Mailgun(Api):
    """One account with one domain."""

    provider: ClassVar[Provider] = Provider.MAILGUN

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        self._domain = credentials.mailgun_domain
        self._authorization = base64.b64encode(f"api:{credentials.mailgun_api_key}".encode())
        self._clock = clock

    def submission(self, call: Call, path: str) -> Submission:
        match = _PATH.fullmatch(unquote(path))
        if match is None:
            raise Refused(BANNER)
        if refusal := self._refusal(call, match[1]):
            raise Refused(refusal)
        if call.method != "POST":
            raise Refused(_message(405, "Method Not Allowed"))
        if len(call.body) > MESSAGE_BYTES:
            raise Refused(_message(413, "Request Entity Too Large"))
        try:
            form = parse_form(call.headers.get("content-type", ""), call.body)
        except ValueError:
            raise Refused(_message(400, "malformed multipart body")) from None
        try:
            return self._whole_message(form) if match[2] else self._fields(form)
        except BadParameter as bad:
            raise Refused(_message(400, str(bad))) from None

    def report(self, call: Call, path: str, journal: Journal, until: float) -> Answer | None:
        if call.method not in ("GET", "HEAD"):
            return None
        match = _EVENTS.fullmatch(unquote(path))
        if match is None:
            return None
        if refusal := self._refusal(call, match[1]):
            return refusal
        try:
            return json_answer(200, page(call, match[2], journal, until))
        except BadQuery as bad:
            return _message(400, str(bad))

    def _refusal(self, call: Call, domain: str) -> Answer | None:
        """Why a call to a domain of ours is not looked at, None if it is."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic" or not hmac.compare_digest(
            token.strip().encode(), self._authorization
        ):
            return FORBIDDEN
        if domain.lower() != self._domain:
            return _message(404, f"Domain not found: {domain}")
        return None

    def failure(self, mode: Mode, submission: Submission | None, until: float) -> Answer:
        if mode is Mode.RATE_LIMIT:
            seconds = max(1, round(until - self._clock()))
            text = "account-requests-per-sec limit exceeded, try again after"
            limited = {"message": f"{text} {seconds} seconds"}
            return json_answer(429, limited, ("X-RateLimit-Reset", f"{until:.3f}"))
        if mode is Mode.UNVERIFIED_SENDER:
            reason = "The domain is unverified and requires DNS configuration."
            return _message(403, f"Domain {self._domain} is not allowed to send: {reason}")
        if mode is Mode.UNAUTHORIZED:
            return FORBIDDEN
        return UNAVAILABLE if mode is Mode.HTTP_503 else _message(500, "Internal Server Error")

    def _fields(self, form: Form) -> Submission:
        from_, to = sender(form), recipients(form, "to")
        kinds = (to, recipients(form, "cc"), recipients(form, "bcc"))
        return self._submission(form, from_, kinds, content(form))

    def _whole_message(self, form: Form) -> Submission:
        envelope = recipients(form, "to")
        files = [file.content for file in form.files if file.name == "message"]
        source = files[0] if files else (form.first("message") or "").encode()
        if not source:
            raise BadParameter("message parameter is missing")
        check_parameters(form)
        found = parse_mime(source)
        if found.sender is None:
            raise BadParameter(bad_address("from"))
        return self._submission(form, found.sender, found.kinds(envelope), found)

    def _submission(
        self, form: Form, from_: Mailbox, kinds: tuple[tuple[Mailbox, ...], ...], found: Content
    ) -> Submission:
        to, cc, bcc = kinds
        if len(to) + len(cc) + len(bcc) > MOST_RECIPIENTS:
            raise BadParameter(f"too many recipients, the limit is {MOST_RECIPIENTS}")
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(self._clock()))
        message_id = f"<{stamp}.1.{os.urandom(8).hex().upper()}@{self._domain}>"
        mail = Mail(
            provider=Provider.MAILGUN,
            provider_message_id=message_id,
            sender=from_,
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=found.reply_to,
            subject=found.subject,
            text=found.text,
            html=found.html,
            headers=found.headers,
            attachments=found.attachments,
            tags=tuple(form.fields.get("o:tag", ())),
            variables={
                name[2:]: values[0] for name, values in form.fields.items() if name[:2] == "v:"
            },
        )
        rehearsal = form.first("o:testmode") in ("yes", "true")
        refused = [kind for kind, one, _ in mail.recipients if is_refused(one.email)]
        return Submission(
            mails=() if rehearsal else (mail,),
            sender=from_.email,
            success=json_answer(200, {"id": message_id, "message": "Queued. Thank you."}),
            bad_recipient=_message(400, bad_address(refused[0])) if refused else None,
        )
