"""Amazon SES: a JSON object posted to SendEmail of its v2 API, signed by AWS Signature 4."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from providers import mailbox, mime
from providers.answers import Answer, Complaint, Rule
from providers.aws import Credentials, sign
from providers.base import BadSettings, HttpProvider, MissingSettings, ProviderSetting, Timeouts
from providers.carrying import RISKY_FILES, Limits
from providers.errors import (
    AccountRefused,
    Limited,
    ProviderFailure,
    Rejected,
    SenderRefused,
)
from providers.records import member
from providers.sns import Sns
from providers.transport import Call
from providers.types import Attachment, Bounce, DeliveryEvent, Email, EventType
from providers.webhooks import (
    EventRow,
    WebhookContent,
    WebhookRequest,
    WebhooksNotSetUp,
    address,
    meaning,
    moment,
    one_line,
    text,
    word,
)

#: What `Simple` takes as a header; anything else goes as `Raw`.
#: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageHeader.html
_SIMPLE_HEADERS = 15
_SIMPLE_HEADER = re.compile(r"[!-9;-~]{1,126}: [ -~]{1,995}")
_SIMPLE_HEADER_LENGTH = 996
#: What `Simple` takes as a file; its page says nothing of names in other alphabets.
#: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Attachment.html
_SIMPLE_NAME = re.compile(r"[ !#-\[\]-~]{1,255}")
_SIMPLE_KIND_LENGTH = 78

#: What an event is by its name, and by the types of a bounce or a complaint; the first row that
#: fits counts. https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
_SUPPRESSED = "Suppressed|OnAccountSuppressionList|OnTenantSuppressionList|UnsubscribedRecipient"
_EVENTS: tuple[EventRow, ...] = (
    ("Send", ".*", ".*", EventType.ACCEPTED, None),
    ("Delivery", ".*", ".*", EventType.DELIVERED, None),
    ("DeliveryDelay", ".*", ".*", EventType.DEFERRED, None),
    ("Bounce", "Permanent", _SUPPRESSED, EventType.REJECTED, Bounce.HARD),
    ("Bounce", "Permanent", ".*", EventType.BOUNCED, Bounce.HARD),
    ("Bounce", "Transient", "(Content|Attachment)Rejected", EventType.BOUNCED, Bounce.BLOCK),
    ("Bounce", ".*", ".*", EventType.BOUNCED, Bounce.SOFT),
    # Somebody complained before, and it was not sent.
    ("Complaint", ".*", _SUPPRESSED, EventType.REJECTED, None),
    ("Complaint", "(?!not-spam).*", ".*", EventType.COMPLAINED, None),
    ("Reject", ".*", ".*", EventType.REJECTED, Bounce.BLOCK),
    ("Rendering Failure", ".*", ".*", EventType.REJECTED, None),
    ("Open", ".*", ".*", EventType.OPENED, None),
    ("Click", ".*", ".*", EventType.CLICKED, None),
    ("Subscription", "True", ".*", EventType.UNSUBSCRIBED, None),
)
#: Where an event has what it tells, and whom it is about; the others are about all recipients.
_DETAILS = {"DeliveryDelay": "deliveryDelay", "Rendering Failure": "failure"}
_RECIPIENTS = {
    "Bounce": "bouncedRecipients",
    "Complaint": "complainedRecipients",
    "Delivery": "recipients",
    "DeliveryDelay": "delayedRecipients",
}
_TYPES = {
    "Bounce": ("bounceType", "bounceSubType"),
    "Complaint": ("complaintFeedbackType", "complaintSubType"),
}

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
        ProviderSetting("SES_TOPIC_ARNS"),
    )
    #: https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html
    rate_counts_recipients = True
    #: https://docs.aws.amazon.com/ses/latest/dg/quotas.html
    limits = Limits(
        size=40_000_000,
        recipients=50,
        steering=("x-ses-",),
        repeated_headers=True,
        refused_files=RISKY_FILES,
    )
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
        self._sns = Sns(part.strip() for part in values["SES_TOPIC_ARNS"].split(",") if part)

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
            # Bcc is in Destination only, and SES adds Date and Message-ID.
            message["Content"] = {"Raw": {"Data": b64encode(mime.build(email)).decode()}}
        if self._configuration_set:
            message["ConfigurationSetName"] = self._configuration_set
        tracking = _tracking(email)
        if tracking:
            message["ConfigurationOverrides"] = {"Tracking": tracking}
        body = json.dumps(message, separators=(",", ":")).encode()
        keys = self._credentials.current()
        headers = sign(self._url, body, keys, self._region, self._clock())
        return Call(self._url, headers, body, (keys.secret_key, keys.token or ""))

    def message_id(self, answer: Answer) -> str | None:
        return text(answer.fields.get("MessageId"))

    @property
    def hears(self) -> bool:
        return bool(self._sns.topics)

    def read_webhook(self, request: WebhookRequest) -> WebhookContent:
        """https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html"""
        if not self.hears:
            raise WebhooksNotSetUp("SES_TOPIC_ARNS is not set")
        notice = self._sns.read(request)
        try:
            told = json.loads(notice.text) if notice.kind == "Notification" else None
        except (ValueError, RecursionError):
            # When a topic is linked, SES says so in plain words.
            told = None
        if not isinstance(told, dict):
            return WebhookContent(ignored=(notice.kind,))
        name = word(told.get("eventType") or told.get("notificationType"))
        events = _events(name, told, notice.id, request.received_at)
        return WebhookContent(events, () if events else (name,))

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
        not email.shows_others
        and all(_fits_simple_file(email, file) for file in email.attachments)
        and len(email.headers) <= _SIMPLE_HEADERS
        and len(names) == len(email.headers)
        and all(
            mailbox.is_plain(value)
            and _SIMPLE_HEADER.fullmatch(f"{name}: {value}")
            and len(name) + len(value) <= _SIMPLE_HEADER_LENGTH
            for name, value in email.headers
        )
    )


def _fits_simple_file(email: Email, file: Attachment) -> bool:
    return (
        _SIMPLE_NAME.fullmatch(file.filename) is not None
        and mailbox.is_plain(file.filename)
        and len(file.content_type) <= _SIMPLE_KIND_LENGTH
        and not file.content_type.lower().startswith(("message/", "multipart/"))
        and (
            file.content_id is None
            or (email.html is not None and len(file.content_id) <= _SIMPLE_KIND_LENGTH)
        )
    )


def _tracking(email: Email) -> dict[str, str]:
    """What keeps SES from tracking once more.

    https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_TrackingConfigurationOverrides.html
    """
    done = (
        ("OpenTrackingEnabled", email.opens_tracked),
        ("ClickTrackingEnabled", email.clicks_tracked),
    )
    return {name: "DISABLED" for name, tracked in done if tracked}


def _simple(email: Email) -> dict[str, Any]:
    bodies = (("Text", email.text), ("Html", email.html))
    content: dict[str, Any] = {
        "Subject": _utf8(email.subject),
        "Body": {kind: _utf8(text) for kind, text in bodies if text is not None},
    }
    if email.headers:
        content["Headers"] = [{"Name": name, "Value": value} for name, value in email.headers]
    if email.attachments:
        content["Attachments"] = list(map(_attachment, email.attachments))
    return content


def _utf8(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _attachment(file: Attachment) -> dict[str, str]:
    found = {
        "FileName": file.filename,
        "RawContent": b64encode(file.content).decode(),
        "ContentType": file.content_type,
        "ContentDisposition": "ATTACHMENT" if file.content_id is None else "INLINE",
        # Of the encoding in the mail; by itself it would be none.
        "ContentTransferEncoding": "BASE64",
    }
    return found if file.content_id is None else {**found, "ContentId": file.content_id}


def _events(
    name: str, told: Mapping[str, Any], notice_id: str, now: datetime
) -> tuple[DeliveryEvent, ...]:
    """What one of SES's events tells, recipient by recipient; nothing where it is not for us."""
    details = member(told, _DETAILS.get(name, name.lower()))
    kinds = [member(details, key) for key in _TYPES.get(name, ("", ""))]
    if name == "Subscription":
        kinds[0] = _unsubscribed(details)
    found = meaning(_EVENTS, name, *kinds)
    if found is None:
        return ()
    kind, bounce = found
    mail = member(told, "mail")
    attempts = member(mail, "tags", "attempt_id")
    at = moment(member(details, "timestamp")) or moment(member(mail, "timestamp")) or now
    words = [one_line(member(details, key)) for key in ("reason", "errorMessage", "smtpResponse")]
    return tuple(
        DeliveryEvent(
            id=f"{notice_id} {recipient}",
            type=kind,
            occurred_at=at,
            recipient=recipient,
            attempt_id=text(attempts[0]) if isinstance(attempts, list) and attempts else None,
            provider_message_id=text(member(mail, "messageId")),
            bounce=bounce,
            code=one_line(member(about, "status")),
            reason=one_line(member(about, "diagnosticCode")) or next(filter(None, words), None),
            url=one_line(member(details, "link")),
        )
        for recipient, about in _recipients(name, details, mail)
    )


def _recipients(name: str, details: object, mail: object) -> list[tuple[str, object]]:
    """Whom an event is about, with what it says of each."""
    key = _RECIPIENTS.get(name)
    found = member(details, key) if key else member(mail, "destination")
    listed = found if isinstance(found, list) else []
    people: list[tuple[str, object]] = [
        (address(member(one, "emailAddress") or one), one) for one in listed
    ]
    if name in ("Open", "Click", "Send") and len(people) > 1:
        # It does not say whose.
        return [("", None)]
    return people or [("", None)]


def _unsubscribed(details: object) -> bool:
    def opted_out(when: str) -> set[object]:
        topics = member(details, when, "topicSubscriptionStatus")
        return {
            member(topic, "topicName")
            for topic in (topics if isinstance(topics, list) else ())
            if member(topic, "subscriptionStatus") == "OptOut"
        }

    if member(details, "newTopicPreferences", "unsubscribeAll") is True:
        return True
    return bool(opted_out("newTopicPreferences") - opted_out("oldTopicPreferences"))
