"""Mailgun: a form posted to the messages of a domain."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

from providers import mailbox
from providers.answers import Answer, Complaint, Rule
from providers.base import BadSettings, HttpProvider, ProviderSetting, Timeouts
from providers.carrying import Limits, envelopes
from providers.errors import AccountRefused, Limited, MessageRefused, Rejected, SenderRefused
from providers.records import Records, member, objects, searchable
from providers.transport import Call
from providers.types import Accepted, Email

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
    )
    # Mailgun takes addresses with a non-ASCII local part as recipients, but writes broken headers
    # for them in From: https://anymail.dev/en/stable/esps/mailgun/
    limits = Limits(
        size=25_000_000, recipients=1000, steering=("x-mailgun-",), utf8_recipients=True
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
        credentials = b64encode(f"api:{values['MAILGUN_API_KEY']}".encode()).decode()
        self._secrets = (values["MAILGUN_API_KEY"], credentials)
        self._headers = {
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._events = f"{self.base_url}/v3/{domain}/events"
        self.records = self.records_read_with(
            {"Authorization": self._headers["Authorization"]}, self._secrets
        )

    def refusal(self, email: Email) -> str | None:
        if not (email.text or email.html):
            return "Mailgun wants a body"
        obstacle = super().refusal(email)
        if obstacle is not None:
            return obstacle
        size = sum(len(name) + len(value.encode()) for name, value in _options(email))
        if size > _OPTIONS_LIMIT:
            return f"its headers have {size / 1000:.1f} KB together, the limit is 16 KB"
        return None

    def compose(self, email: Email) -> Call:
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
        return Call(self._url, self._headers, urlencode(fields).encode(), self._secrets)

    def accepted(self, answer: Answer) -> Accepted:
        # An unknown path, such as that of a wrong base URL, answers 200 with a plain-text banner.
        if "Mailgun Magnificent API" in answer.text:
            raise AccountRefused(
                f"{answer.status} from an unknown path: check MAILGUN_BASE_URL and MAILGUN_DOMAIN",
                status=answer.status,
            )
        return super().accepted(answer)

    def message_id(self, answer: Answer) -> str | None:
        found = answer.fields.get("id")
        return found if isinstance(found, str) and found else None

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
        addresses = [a for copy in envelopes(email) for a in getattr(copy, field[1].lower())]
        return (addresses[0].email,) if len(addresses) == 1 else ()


def _id_of(event: Mapping[str, Any]) -> str | None:
    """The id as the answer to a send has it: in events it comes without its brackets."""
    found = member(event, "message", "headers", "message-id")
    return f"<{found.strip('<>')}>" if isinstance(found, str) and found.strip("<>") else None


def _options(email: Email) -> list[tuple[str, str]]:
    """Our id, which comes back in events as a user variable, and the custom headers, in ASCII."""
    options = [("v:attempt_id", email.attempt_id)]
    if email.reply_to:
        # There is no field of its own for it.
        options.append(("h:Reply-To", ", ".join(map(mailbox.encoded, email.reply_to))))
    options += [(f"h:{name}", mailbox.encoded_text(value)) for name, value in email.headers]
    return options
