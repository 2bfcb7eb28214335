"""Amazon SES: a JSON object posted to SendEmail of its v2 API, signed by AWS Signature 4."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from email.header import Header
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from typing import Any, ClassVar

from providers import mailbox
from providers.answers import Answer, Complaint, Rule
from providers.aws import Credentials, sign
from providers.base import BadSettings, HttpProvider, MissingSettings, ProviderSetting, Timeouts
from providers.carrying import Limits
from providers.errors import (
    AccountRefused,
    Limited,
    ProviderFailure,
    Rejected,
    SenderRefused,
)
from providers.transport import Call
from providers.types import Address, Email

#: What `Simple` takes as a header; anything else goes as `Raw`.
#: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageHeader.html
_SIMPLE_HEADERS = 15
_SIMPLE_HEADER = re.compile(r"[!-9;-~]{1,126}: [ -~]{1,995}")
_SIMPLE_HEADER_LENGTH = 996
#: RFC 5322 allows 998 in a line. Folding needs blanks; encoded words bring their own.
_LINE_LIMIT = 900

_REGION = re.compile(r"[a-z]+(-[a-z]+)+-\d+")
_IDENTITIES = re.compile(r"failed the check in region [\w-]+:(.*)", re.IGNORECASE | re.DOTALL)


class SesProvider(HttpProvider):
    """https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html

    Keys in the settings win; otherwise the usual chain has them: profile, container, instance.
    """

    name = "ses"
    settings = (
        ProviderSetting("AWS_ACCESS_KEY_ID"),
        ProviderSetting("AWS_SECRET_ACCESS_KEY", secret=True),
        ProviderSetting("AWS_SESSION_TOKEN", secret=True),
        ProviderSetting("AWS_REGION"),
        ProviderSetting("SES_BASE_URL"),
        ProviderSetting("SES_CONFIGURATION_SET"),
    )
    #: https://docs.aws.amazon.com/ses/latest/dg/quotas.html
    limits = Limits(size=40_000_000, recipients=50, steering=("x-ses-",), repeated_headers=True)
    #: The code of a complaint is the type of AWS's exception.
    #: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
    #: https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(SenderRefused, (400,), "MessageRejected", r"not verified"),
        Rule(Rejected, (400,), "MessageRejected"),
        Rule(SenderRefused, (400,), "MailFromDomainNotVerifiedException"),
        Rule(AccountRefused, (400,), "AccountSuspendedException|SendingPausedException"),
        Rule(AccountRefused, (400,), "LimitExceededException"),
        Rule(Rejected, (400,), "BadRequestException"),
        Rule(AccountRefused, (400,), "Throttling(Exception)?", r"daily|quota"),
        Rule(Limited, (400,), "Throttling(Exception)?|TooManyRequestsException"),
        # These come with 403, and some of them with 400.
        Rule(AccountRefused, (400,), "IncompleteSignature|RequestExpired|OptInRequired"),
        Rule(AccountRefused, (400,), "NotAuthorized|AccessDenied(Exception)?"),
        Rule(
            AccountRefused,
            (400,),
            "ExpiredToken(Exception)?|MissingAuthenticationToken(Exception)?",
        ),
        Rule(AccountRefused, (400,), "UnrecognizedClientException|InvalidClientTokenId"),
        Rule(AccountRefused, (400,), "SignatureDoesNotMatch|InvalidSignatureException"),
    )

    def __init__(
        self,
        values: Mapping[str, str],
        timeouts: Timeouts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = Credentials(
            values["AWS_ACCESS_KEY_ID"],
            values["AWS_SECRET_ACCESS_KEY"],
            values["AWS_SESSION_TOKEN"],
        )
        region = values["AWS_REGION"] or self._credentials.region()
        if not region:
            raise MissingSettings(self.name, ("AWS_REGION",))
        if not _REGION.fullmatch(region):
            raise BadSettings("AWS_REGION must be a region such as eu-west-1")
        host = f"email.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
        base_url = values["SES_BASE_URL"] or f"https://{host}"
        super().__init__({**values, "SES_BASE_URL": base_url}, timeouts, clock=clock)
        self._region = region
        self._url = f"{self.base_url}/v2/email/outbound-emails"
        self._configuration_set = values["SES_CONFIGURATION_SET"]

    def compose(self, email: Email) -> Call:
        message: dict[str, Any] = {
            "FromEmailAddress": mailbox.encoded(email.sender),
            "Destination": {
                kind: list(map(mailbox.encoded, addresses))
                for kind, addresses in (
                    ("ToAddresses", email.to),
                    ("CcAddresses", email.cc),
                    ("BccAddresses", email.bcc),
                )
                if addresses
            },
            "EmailTags": [{"Name": "attempt_id", "Value": email.attempt_id}],
        }
        if _fits_simple(email):
            message["Content"] = {"Simple": _simple(email)}
            if email.reply_to:
                message["ReplyToAddresses"] = list(map(mailbox.encoded, email.reply_to))
        else:
            message["Content"] = {"Raw": {"Data": b64encode(_mime(email)).decode()}}
        if self._configuration_set:
            message["ConfigurationSetName"] = self._configuration_set
        body = json.dumps(message, separators=(",", ":")).encode()
        keys = self._credentials.current()
        headers = sign(self._url, body, keys, self._region, self._clock())
        return Call(self._url, headers, body, (keys.secret_key, keys.token or ""))

    def message_id(self, answer: Answer) -> str | None:
        found = answer.fields.get("MessageId")
        return found if isinstance(found, str) and found else None

    def complaints(self, answer: Answer) -> tuple[Complaint, ...]:
        fields = answer.fields
        # The header may go on with a colon and an address, the field begin with a namespace.
        kind = answer.headers.get("x-amzn-ErrorType") or str(fields.get("__type") or "")
        text = str(fields.get("message") or fields.get("Message") or "")
        return (Complaint(text, kind.partition(":")[0].rpartition("#")[2].strip()),)

    def verdict(self, email: Email, answer: Answer, complaint: Complaint) -> type[ProviderFailure]:
        found = super().verdict(email, answer, complaint)
        identities = _IDENTITIES.search(complaint.text)
        if found is SenderRefused and identities is not None:
            named = {name.strip(" .<>").lower() for name in re.split(r"[,\s]+", identities[1])}
            sender = mailbox.ascii_domain(email.sender).lower()
            # In the sandbox, recipients must be verified too, and that is about the account.
            # https://docs.aws.amazon.com/ses/latest/dg/request-production-access.html
            if not {sender, sender.rpartition("@")[2]} & named:
                return AccountRefused
        return found


def _fits_simple(email: Email) -> bool:
    names = {name.lower() for name, _ in email.headers}
    return (
        len(email.headers) <= _SIMPLE_HEADERS
        and len(names) == len(email.headers)
        and all(
            mailbox.is_plain(value)
            and _SIMPLE_HEADER.fullmatch(f"{name}: {value}")
            and len(name) + len(value) <= _SIMPLE_HEADER_LENGTH
            for name, value in email.headers
        )
    )


def _simple(email: Email) -> dict[str, Any]:
    bodies = (("Text", email.text), ("Html", email.html))
    content: dict[str, Any] = {
        "Subject": _utf8(email.subject),
        "Body": {kind: _utf8(text) for kind, text in bodies if text is not None},
    }
    if email.headers:
        content["Headers"] = [{"Name": name, "Value": value} for name, value in email.headers]
    return content


def _utf8(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _mime(email: Email) -> bytes:
    """The message for `Raw`, where Bcc is in Destination only; SES adds Date and Message-ID."""
    parts: list[Message[Any, Any]] = [
        MIMEText(text, kind, "utf-8")
        for kind, text in (("plain", email.text), ("html", email.html))
        if text is not None
    ]
    alone = len(parts) == 1
    message: Message[Any, Any] = (
        parts[0] if alone else MIMEMultipart("alternative", _subparts=parts)
    )
    message["From"] = mailbox.encoded(email.sender)
    addresses = (("To", email.to), ("Cc", email.cc), ("Reply-To", email.reply_to))
    for name, group in addresses:
        if group:
            message[name] = _addresses(group)
    for name, value in (("Subject", email.subject), *email.headers):
        longest = len(name) + max(map(len, value.split(" ")))
        plain = mailbox.is_plain(value) and longest <= _LINE_LIMIT
        message[name] = Header(value, "us-ascii" if plain else "utf-8")
    return message.as_bytes(policy=compat32.clone(linesep="\r\n"))


def _addresses(group: tuple[Address, ...]) -> str:
    return ", ".join(map(mailbox.encoded, group))
