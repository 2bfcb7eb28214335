"""Mailgun: a form posted to the messages of a domain."""

import hmac
import json
import re
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlencode

from providers import mailbox, mime
from providers.answers import Answer, Complaint, Rule
from providers.base import BadSettings, HttpProvider, ProviderSetting, Timeouts
from providers.carrying import Limits, envelopes
from providers.errors import AccountRefused, Limited, MessageRefused, Rejected, SenderRefused
from providers.records import Records, member, objects, searchable
from providers.transport import Call
from providers.types import Accepted, Attachment, Bounce, DeliveryEvent, Email, EventType
from providers.webhooks import (
    EventRow,
    NotAuthentic,
    NotReadable,
    WebhookContent,
    WebhookRequest,
    WebhooksNotSetUp,
    address,
    meaning,
    moment,
    one_line,
    parsed,
    text,
    within,
    word,
)

#: The parameters that begin with o:, h:, v: or t: have 16 KB together.
#: https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
_OPTIONS_LIMIT = 16_000
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
#: The events of mail that Mailgun had accepted; `rejected` is that of mail that it had not.
#: https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-types
_TAKEN = {"accepted", "delivered", "failed", "opened", "clicked", "complained", "unsubscribed"}
#: A hundred events may have half a megabyte. So many pages are read at most.
_PAGE, _PAGES = 100, 10
#: How far Mailgun's clock may be behind ours.
_SKEW = timedelta(minutes=1)
#: Events surface late: what is older than this is complete.
_SETTLED = timedelta(minutes=30)
#: Mailgun tries for about eight hours to get a webhook through, perhaps with its first signature.
#: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhooks
_WEBHOOK_AGE = timedelta(hours=10)
_WEBHOOK_SKEW = timedelta(minutes=5)
#: What an event is by its name, its severity and its reason; the first row that fits counts.
#: https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure
_EVENTS: tuple[EventRow, ...] = (
    ("accepted", ".*", ".*", EventType.ACCEPTED, None),
    ("delivered", ".*", ".*", EventType.DELIVERED, None),
    ("opened", ".*", ".*", EventType.OPENED, None),
    ("clicked", ".*", ".*", EventType.CLICKED, None),
    ("complained", ".*", ".*", EventType.COMPLAINED, None),
    ("unsubscribed", ".*", ".*", EventType.UNSUBSCRIBED, None),
    ("rejected", ".*", ".*", EventType.REJECTED, None),
    ("failed", "temporary", ".*", EventType.DEFERRED, None),
    ("failed", ".*", "suppress-bounce", EventType.REJECTED, Bounce.HARD),
    ("failed", ".*", "suppress-.*", EventType.REJECTED, None),
    ("failed", ".*", "espblock|blacklisted", EventType.BOUNCED, Bounce.BLOCK),
    ("failed", ".*", "bounce|hardfail", EventType.BOUNCED, Bounce.HARD),
    ("failed", ".*", ".*", EventType.BOUNCED, Bounce.SOFT),
)
_ADDRESS_FIELD = re.compile(r"^'?(to|cc|bcc)'? parameter", re.IGNORECASE)


class MailgunProvider(HttpProvider):
    """https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages

    Domains live in one region; those in Europe want the base URL https://api.eu.mailgun.net.
    """

    name = "mailgun"
    records: Records
    settings = (
        ProviderSetting("MAILGUN_API_KEY", required=True, secret=True),
        ProviderSetting("MAILGUN_DOMAIN", required=True),
        ProviderSetting("MAILGUN_BASE_URL", default="https://api.mailgun.net"),
        ProviderSetting("MAILGUN_WEBHOOK_SIGNING_KEY", secret=True),
    )
    # Mailgun takes addresses with a non-ASCII local part as recipients, but writes broken headers
    # for them in From: https://anymail.dev/en/stable/esps/mailgun/
    limits = Limits(
        size=25_000_000,
        recipients=1000,
        steering=("x-mailgun-",),
        utf8_recipients=True,
        wants_body=True,
    )
    #: https://documentation.mailgun.com/docs/mailgun/quickstart-guide/responses
    rules: ClassVar[tuple[Rule, ...]] = (
        # Seen with 400, 403, 420 and 429, before and after the words "is not allowed to send".
        Rule(Limited, (400, 403, 420, 429), text=r"limit exceeded|try again after"),
        # Of all its reasons this one is about who may send, and passes when the DNS is set.
        Rule(SenderRefused, (400, 403), text=r"is not allowed to send.*(unverified|not verified)"),
        # Sandbox recipients, free or disabled accounts: every message fares the same.
        Rule(AccountRefused, (400, 403), text=r"is not allowed to send"),
        Rule(Rejected, (400,), text=r"^'?(to|cc|bcc)'? parameter"),
        Rule(MessageRefused, (400,), text=r"^'?from'? parameter"),
        Rule(MessageRefused, (400,), text=r"16 ?kB|too many recipients"),
        Rule(Rejected, (400,), text=r"at least one of|\bASCII\b|RFC[ -]?2822|recipient-variables"),
        Rule(Rejected, (400,), text=r"^malformed"),
    )

    def __init__(
        self,
        values: Mapping[str, str],
        timeouts: Timeouts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(values, timeouts, clock=clock)
        domain = values["MAILGUN_DOMAIN"]
        # A slash would make it another path, and unknown paths answer 200.
        if not _DOMAIN.fullmatch(domain):
            raise BadSettings("MAILGUN_DOMAIN must be a domain such as mg.example.com")
        self._url = f"{self.base_url}/v3/{domain}/messages"
        self._whole_url = f"{self._url}.mime"
        credentials = b64encode(f"api:{values['MAILGUN_API_KEY']}".encode()).decode()
        self._secrets = (values["MAILGUN_API_KEY"], credentials)
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._signing_key = values["MAILGUN_WEBHOOK_SIGNING_KEY"].encode()
        self._events = f"{self.base_url}/v3/{domain}/events"
        self.records = self.records_read_with(self._headers, self._secrets)

    def refusal(self, email: Email) -> str | None:
        obstacle = super().refusal(email)
        if obstacle is not None:
            return obstacle
        options = [] if _goes_whole(email) else _options(email)
        size = sum(len(name) + len(value.encode()) for name, value in options)
        if size > _OPTIONS_LIMIT:
            return f"its headers have {size / 1000:.1f} KB together, the limit is 16 KB"
        return None

    def compose(self, email: Email) -> Call:
        if _goes_whole(email):
            return self._whole(email)
        fields = [("from", mailbox.raw(email.sender))]
        copies = envelopes(email)
        for copy in copies:
            for kind, addresses in (("to", copy.to), ("cc", copy.cc), ("bcc", copy.bcc)):
                fields += [(kind, mailbox.raw(address)) for address in addresses]
        if len(copies) > 1:
            # Variables, even none, make Mailgun write every recipient a message of their own.
            # https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/batch-sending
            alone: dict[str, dict[str, str]] = {
                mailbox.ascii_domain(address): {} for copy in copies for address in copy.to
            }
            fields.append(("recipient-variables", json.dumps(alone, ensure_ascii=False)))
        fields.append(("subject", email.subject))
        fields += [(k, v) for k, v in (("text", email.text), ("html", email.html)) if v]
        fields += _options(email)
        files = [
            _File("attachment" if file.content_id is None else "inline", file)
            for file in email.attachments
        ]
        return self._call(self._url, fields, files)

    def _whole(self, email: Email) -> Call:
        """The message as MIME, whose headers Mailgun leaves alone; `to` is the envelope."""
        fields = [("to", mailbox.ascii_domain(address)) for address in email.recipients]
        fields += [_attempt(email), *_tracking(email)]
        date = (("Date", formatdate(self._clock())),)
        message = Attachment("message.eml", "message/rfc822", mime.build(email, date))
        return self._call(self._whole_url, fields, [_File("message", message)])

    def _call(self, url: str, fields: list[tuple[str, str]], files: list["_File"]) -> Call:
        if files:
            kind, body = _multipart(fields, files)
        else:
            kind, body = "application/x-www-form-urlencoded", urlencode(fields).encode()
        return Call(url, {**self._headers, "Content-Type": kind}, body, self._secrets)

    def accepted(self, answer: Answer) -> Accepted:
        # An unknown path, such as that of a wrong base URL, answers 200 with a plain-text banner.
        if "Mailgun Magnificent API" in answer.text:
            raise AccountRefused(
                f"{answer.status} from an unknown path: check MAILGUN_BASE_URL and MAILGUN_DOMAIN",
                status=answer.status,
            )
        return super().accepted(answer)

    def message_id(self, answer: Answer) -> str | None:
        return text(answer.fields.get("id"))

    def complaints(self, answer: Answer) -> tuple[Complaint, ...]:
        message = answer.fields.get("message")
        return (Complaint(message),) if isinstance(message, str) else ()

    def find(
        self, attempt_id: str, recipients: tuple[str, ...], since: datetime
    ) -> Accepted | None:
        """https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/events

        No filter knows user variables, so the events of one recipient are looked through.
        """
        query = {
            "begin": str(int((since - _SKEW).timestamp())),
            "ascending": "yes",
            "limit": str(_PAGE),
        }
        recipient = searchable(recipients)
        if recipient is not None:
            query["recipient"] = recipient
        search = self.records.search()
        url: str | None = f"{self._events}?{urlencode(query)}"
        for _ in range(_PAGES):
            if url is None:
                break
            page = search.read(url)
            events = objects(page.get("items"))
            for event in events:
                known = member(event, "user-variables", "attempt_id") == attempt_id
                if known and event.get("event") in _TAKEN:
                    return Accepted(_id_of(event))
            url = self._next(page) if events else None
        return None

    @property
    def hears(self) -> bool:
        return bool(self._signing_key)

    def read_webhook(self, request: WebhookRequest) -> WebhookContent:
        """https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks

        The signature does not cover the event, so that each may come with its token only once.
        """
        if not self._signing_key:
            raise WebhooksNotSetUp("MAILGUN_WEBHOOK_SIGNING_KEY is not set")
        body = parsed(request.body)
        token = self._verified(member(body, "signature"), request.received_at)
        data = member(body, "event-data")
        if not isinstance(data, dict):
            raise NotReadable("there is no event-data in it")
        told = (word(data.get("event")), _event(data, request.received_at))
        return WebhookContent.of([told], token, _WEBHOOK_AGE + _WEBHOOK_SKEW)

    def _verified(self, signature: object, now: datetime) -> str:
        """The token of a signature that is ours and fresh enough."""
        stamp, token = text(member(signature, "timestamp")), text(member(signature, "token"))
        at = moment(stamp)
        if stamp is None or token is None or at is None:
            raise NotAuthentic("there is no signature in it")
        signed = (stamp + token).encode("utf-8", "replace")
        expected = hmac.digest(self._signing_key, signed, "sha256").hex().encode()
        # That of a subaccount's events may be its parent's.
        given = [member(signature, name) for name in ("signature", "parent-signature")]
        if not any(
            hmac.compare_digest(one.encode("utf-8", "replace"), expected)
            for one in given
            if isinstance(one, str)
        ):
            raise NotAuthentic("the signature is not Mailgun's")
        if not within(at, now, _WEBHOOK_AGE, _WEBHOOK_SKEW):
            raise NotAuthentic("the signature is of another time")
        return token

    def news(self, since: datetime) -> tuple[tuple[DeliveryEvent, ...], datetime]:
        """https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-polling"""
        query = {"begin": f"{since.timestamp():.3f}", "ascending": "yes", "limit": str(_PAGE)}
        search = self.records.search()
        now = datetime.fromtimestamp(self._clock(), UTC)
        url: str | None = f"{self._events}?{urlencode(query)}"
        found: list[DeliveryEvent] = []
        latest = since
        for _ in range(_PAGES):
            page = search.read(url) if url is not None else {}
            events = objects(page.get("items", []))
            if not events:
                # All there is was read; what is young is read again, as some comes late.
                return tuple(found), max(since, min(latest, now - _SETTLED))
            read = [_event(event, now) for event in events]
            found += [event for event in read if event is not None]
            latest = max([latest, *(moment(event.get("timestamp")) or latest for event in events)])
            url = self._next(page)
        return tuple(found), latest

    def _next(self, page: Mapping[str, Any]) -> str | None:
        """The next page, if it is where our credentials may go."""
        url = member(page, "paging", "next")
        origin = "/".join(self.base_url.split("/")[:3])
        if not isinstance(url, str) or not url.startswith(f"{origin}/"):
            return None
        return url if url.isascii() and url.isprintable() and " " not in url else None

    def named(self, email: Email, complaint: Complaint) -> tuple[str, ...]:
        # Mailgun only names the field: that is a name where the field has one address.
        field = _ADDRESS_FIELD.search(complaint.text)
        if field is None:
            return ()
        if _goes_whole(email):
            addresses = list(email.recipients)
        else:
            addresses = [a for copy in envelopes(email) for a in getattr(copy, field[1].lower())]
        return (addresses[0].email,) if len(addresses) == 1 else ()


class _File(NamedTuple):
    """A part of a form: the name of its field, and the file."""

    field: str
    file: Attachment


def _goes_whole(email: Email) -> bool:
    """Whether the fields of the form cannot say it.

    They show everybody in the envelope, know an inline file by its name alone, and have no way to
    write a quote in a name on which all agree.
    """
    return email.shows_others or any(
        file.content_id not in (None, file.filename) or {'"', "\\", "%"} & set(file.filename)
        for file in email.attachments
    )


def _multipart(fields: Iterable[tuple[str, str]], files: Iterable[_File]) -> tuple[str, bytes]:
    """A form with files, and its content type; names of files are in plain UTF-8."""
    boundary = secrets.token_hex(16)
    pieces: list[bytes] = []
    for name, value in fields:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        pieces.append(f"{head}{value}\r\n".encode())
    for name, file in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        head += f'; filename="{file.filename}"\r\nContent-Type: {file.content_type}\r\n\r\n'
        pieces += (head.encode(), file.content, b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces)


def _id_of(event: Mapping[str, Any]) -> str | None:
    """The id as the answer to a send has it: in events it comes without its brackets."""
    found = member(event, "message", "headers", "message-id")
    return f"<{found.strip('<>')}>" if isinstance(found, str) and found.strip("<>") else None


def _options(email: Email) -> list[tuple[str, str]]:
    """Our id, which comes back in events as a user variable, and the custom headers, in ASCII."""
    options = [_attempt(email), *_tracking(email)]
    if email.reply_to:
        # There is no field of its own for it.
        options.append(("h:Reply-To", ", ".join(map(mailbox.encoded, email.reply_to))))
    options += [(f"h:{name}", mailbox.encoded_text(value)) for name, value in email.headers]
    return options


def _attempt(email: Email) -> tuple[str, str]:
    return "v:attempt_id", email.attempt_id


def _tracking(email: Email) -> list[tuple[str, str]]:
    """What keeps Mailgun from tracking once more."""
    done = (("o:tracking-opens", email.opens_tracked), ("o:tracking-clicks", email.clicks_tracked))
    return [(name, "no") for name, tracked in done if tracked]


def _event(data: Mapping[str, Any], now: datetime) -> DeliveryEvent | None:
    """One of Mailgun's events; None where it is not for us."""
    name, recipient = data.get("event"), data.get("recipient")
    found = meaning(_EVENTS, name, data.get("severity"), data.get("reason"))
    if found is None:
        return None
    kind, bounce = found
    headers = member(data, "message", "headers")
    status = member(data, "delivery-status")
    words = [
        member(status, "message"),
        member(status, "description"),
        member(data, "reject", "reason"),
        data.get("reason"),
    ]
    code = member(status, "enhanced-code") or member(status, "code")
    return DeliveryEvent(
        # The id is unique within one day.
        id=" ".join(map(word, (data.get("id"), data.get("timestamp"), name, recipient))),
        type=kind,
        occurred_at=moment(data.get("timestamp")) or now,
        # That of a rejected one is in a header only.
        recipient=address(recipient or member(headers, "to")),
        attempt_id=text(member(data, "user-variables", "attempt_id")),
        provider_message_id=_id_of(data),
        bounce=bounce,
        code=one_line(word(code)),
        reason=next(filter(None, map(one_line, words)), None),
        url=one_line(data.get("url")),
        automatic=bool(member(data, "client-info", "bot")),
    )
