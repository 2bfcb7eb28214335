"""Amazon SES v2: `POST /v2/email/outbound-emails`."""

from collections.abc import Callable
from typing import Any, ClassVar

from simulator.api import Api, Refused, Submission, json_answer, json_object, new_uuid
from simulator.credentials import Credentials
from simulator.http import Answer, Call
from simulator.mail import Mail, Mailbox, is_refused
from simulator.mime import Content
from simulator.ses_schema import (
    MOST_RECIPIENTS,
    BadRequest,
    address,
    addresses,
    check_overrides,
    member,
    message_tags,
    raw,
    simple,
    tags,
)
from simulator.sigv4 import BadSignature, Verifier
from simulator.switches import Mode, Provider

# 40 MB of message as base64 in JSON.
MESSAGE_BYTES = 54 * 1024 * 1024

# Message ids begin with a number for the region.
_REGION_NUMBERS = {"us-east-1": "0100", "us-west-2": "0101", "eu-west-1": "0102"}


def _error(status: int, kind: str, message: str) -> Answer:
    return json_answer(
        status, {"message": message}, ("x-amzn-RequestId", new_uuid()), ("x-amzn-ErrorType", kind)
    )


class Ses(Api):
    """One account in one region, out of the sandbox."""

    provider: ClassVar[Provider] = Provider.SES

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        self._region = credentials.aws_region
        self._verifier = Verifier(
            credentials.aws_access_key_id, credentials.aws_secret_access_key, self._region
        )
        self._clock = clock

    def submission(self, call: Call, path: str) -> Submission:
        try:
            self._verifier.verify(call, self._clock())
        except BadSignature as bad:
            raise Refused(_error(403, bad.kind, bad.message)) from None
        if path != "/v2/email/outbound-emails":
            raise Refused(_error(404, "UnknownOperationException", "Unknown operation"))
        if call.method != "POST":
            raise Refused(_error(405, "MethodNotAllowedException", "Method not allowed"))
        if len(call.body) > MESSAGE_BYTES:
            raise Refused(_error(413, "RequestEntityTooLarge", "Request is too large"))
        body = json_object(call)
        try:
            if body is None:
                raise BadRequest("The body is not a JSON object", "SerializationException")
            return self._accepted(body)
        except BadRequest as bad:
            raise Refused(_error(bad.status, bad.kind, bad.message)) from None

    def failure(self, mode: Mode, submission: Submission | None, until: float) -> Answer:
        if mode is Mode.RATE_LIMIT:
            return _error(429, "TooManyRequestsException", "Maximum sending rate exceeded.")
        if mode is Mode.UNVERIFIED_SENDER:
            sender = submission.sender if submission else ""
            return _error(
                400,
                "MessageRejected",
                "Email address is not verified. The following identities failed the check in "
                f"region {self._region.upper()}: {sender}",
            )
        if mode is Mode.UNAUTHORIZED:
            text = "The security token included in the request is invalid."
            return _error(403, "UnrecognizedClientException", text)
        if mode is Mode.HTTP_503:
            return _error(503, "ServiceUnavailableException", "Service Unavailable")
        return _error(500, "InternalServiceErrorException", "Internal Service Error")

    def _accepted(self, body: dict[str, Any]) -> Submission:
        content = _content(member(body, "Content", dict, required=True))
        whole = "Raw" in body["Content"]
        given = member(body, "FromEmailAddress", str)
        sender = address(given) if given else content.sender
        if sender is None:
            raise BadRequest("Missing required header 'From'.")
        recipients = _recipients(body, content, whole)
        check_overrides(body)
        variables = {**(message_tags(content) if whole else {}), **tags(body)}
        message_id = self._message_id()
        to, cc, bcc = recipients
        mail = Mail(
            provider=Provider.SES,
            provider_message_id=message_id,
            sender=sender,
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=addresses(body, "ReplyToAddresses") or content.reply_to,
            subject=content.subject,
            text=content.text,
            html=content.html,
            # Like the real one, ours takes its own headers out of the message.
            headers=tuple(
                (name, value)
                for name, value in content.headers
                if not name.lower().startswith("x-ses-")
            ),
            attachments=content.attachments,
            variables=variables,
        )
        refused = any(is_refused(one.email) for _, one, _ in mail.recipients)
        return Submission(
            mails=(mail,),
            sender=sender.email,
            success=json_answer(200, {"MessageId": message_id}, ("x-amzn-RequestId", new_uuid())),
            bad_recipient=_error(400, "BadRequestException", "Illegal address")
            if refused
            else None,
        )

    def _message_id(self) -> str:
        moment = int(self._clock() * 1000)
        prefix = _REGION_NUMBERS.get(self._region, "0107")
        return f"{prefix}{moment:012x}-{new_uuid()}-000000"


def _content(content: dict[str, Any]) -> Content:
    given = [name for name in ("Simple", "Raw", "Template") if content.get(name) is not None]
    if len(given) != 1:
        raise BadRequest("Exactly one of Simple, Raw and Template must be given in Content.")
    holder = member(content, given[0], dict)
    if given[0] == "Template":
        # Nobody can store a template here, so that none exists.
        name = member(holder, "TemplateName", str)
        raise BadRequest(f"Template {name} does not exist", "NotFoundException", 404)
    return raw(holder) if given[0] == "Raw" else simple(holder)


def _recipients(
    body: dict[str, Any], content: Content, whole: bool
) -> tuple[tuple[Mailbox, ...], ...]:
    destination = member(body, "Destination", dict) or {}
    kinds = tuple(
        addresses(destination, name) for name in ("ToAddresses", "CcAddresses", "BccAddresses")
    )
    if whole:
        # With a whole message the destination is the envelope; without one, the headers are.
        envelope = tuple(one for kind in kinds for one in kind) or (content.to + content.cc)
        kinds = content.kinds(envelope)
    count = sum(map(len, kinds))
    if count == 0:
        raise BadRequest("Destination is empty: at least one recipient is needed.")
    if count > MOST_RECIPIENTS:
        raise BadRequest(f"Recipient count exceeds {MOST_RECIPIENTS}.")
    return kinds
