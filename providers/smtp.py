"""Any SMTP server that takes mail from us: one's own relay, or a provider's submission port."""

import datetime as dt
import re
import smtplib
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import ClassVar

from providers import mime
from providers.answers import Answer, Complaint, Rule, judge, reason
from providers.base import BadSettings, MissingSettings, Provider, ProviderSetting, Timeouts
from providers.carrying import Limits, obstacle
from providers.deadline import Exchange, watchdog
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    ProviderFailure,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.mailbox import ascii_domain
from providers.smtp_session import Pool, Reply, Route, Session, Tls, opened
from providers.types import Accepted, Email, NotTaken

_PORTS: Mapping[Tls, str] = {Tls.STARTTLS: "587", Tls.IMPLICIT: "465", Tls.OFF: "25"}
#: RFC 3463; the codes that a reply may have besides its three digits.
_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")
_QUEUE_ID = re.compile(r"\b(?:queued as|id=)\s*([\w.@+-]{1,120})", re.IGNORECASE)
#: What would end an address in a command.
_UNFIT_ADDRESS = re.compile(r"[<>\s]")

_TRANSIENT, _PERMANENT = tuple(range(400, 500)), tuple(range(500, 600))
_AT_ONCE = (Rule(Limited, _TRANSIENT, text=r"\brate\b|too (many|fast)|throttl|limit"),)
_ACCOUNT = (
    Rule(AccountRefused, (530, 534, 535, 538)),
    Rule(AccountRefused, _PERMANENT, text=r"\brelay|authentication required|authenticate first"),
)
_SIZE = (Rule(MessageRefused, (552,)), Rule(MessageRefused, _PERMANENT, r"5\.3\.4|5\.2\.3"))

#: What a refusal means, by the command that it answers; the first row that fits counts.
_OF_GREETING = (*_AT_ONCE, Rule(Unavailable))
_OF_LOGIN = (Rule(Unavailable, _TRANSIENT), Rule(AccountRefused))
_OF_SENDER = (
    *_AT_ONCE,
    *_ACCOUNT,
    *_SIZE,
    Rule(SenderRefused, _PERMANENT),
    Rule(Unavailable),
)
_OF_RECIPIENT = (
    *_ACCOUNT,
    Rule(SenderRefused, _PERMANENT, r"5\.1\.[78]"),
    Rule(Rejected, _PERMANENT, r"5\.1\.\d+|5\.2\.1"),
    # Policy, a full mailbox or a route: another server may see it in another way.
    Rule(MessageRefused, _PERMANENT, r".+"),
    Rule(MessageRefused, _PERMANENT, text=r"polic|spam|block|denied|black|reputation"),
    Rule(Rejected, (501, 550, 551, 553, 556)),
    Rule(MessageRefused, _PERMANENT),
    Rule(Unavailable),
)
_OF_CONTENT = (
    *_AT_ONCE,
    Rule(Unavailable, _TRANSIENT),
    *_ACCOUNT,
    *_SIZE,
    Rule(Rejected, _PERMANENT, r"5\.6\.\d+"),
    # Policy and reputation are those of this server, or of our address with it.
    Rule(MessageRefused, _PERMANENT),
)
_OF_DATA = (*_OF_CONTENT, Rule(Unavailable))
_OF_DOT = (*_OF_CONTENT, Rule(Unknown))


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message as it is written to a server; `recipients` and how they are spelt there."""

    sender: str
    recipients: Mapping[str, str]
    content: bytes
    utf8: bool


class SmtpProvider(Provider):
    """https://www.rfc-editor.org/rfc/rfc5321

    A server takes the message with its answer to the dot that ends it. The dot is written by
    itself: whatever breaks off before it left nothing behind, and may be tried elsewhere.
    """

    name = "smtp"
    settings = (
        ProviderSetting("SMTP_HOST", required=True),
        ProviderSetting("SMTP_PORT"),
        ProviderSetting("SMTP_TLS", default=Tls.STARTTLS),
        ProviderSetting("SMTP_USERNAME"),
        ProviderSetting("SMTP_PASSWORD", secret=True),
    )
    #: A server of its own limits says so: by SIZE, and recipient by recipient.
    limits: ClassVar[Limits] = Limits(
        size=40_000_000, recipients=1000, repeated_headers=True, utf8_recipients=True
    )

    def __init__(
        self,
        values: Mapping[str, str],
        timeouts: Timeouts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives Unix time."""
        route = _route(values, timeouts)
        self._route = route
        self._clock = clock
        self._deadline = timeouts.deadline
        self._pool = Pool()
        texts = (route.password, f"\0{route.username}\0{route.password}")
        self._secrets = tuple(
            secret
            for text in (texts if route.password else ())
            for secret in (text, b64encode(text.encode()).decode())
        )

    def send(self, email: Email) -> Accepted:
        found = self.refusal(email)
        if found is not None:
            raise MessageRefused(found)
        letter = self._letter(email)
        with watchdog().exchange(self._deadline) as exchange:
            try:
                return self._sent(letter, exchange)
            except OSError as fault:
                # Not chained: a careless server repeats in its words what it was told.
                raise self._broken_off(fault, exchange) from None

    def refusal(self, email: Email) -> str | None:
        addresses = (email.sender, *email.recipients)
        if any(_UNFIT_ADDRESS.search(address.email) for address in addresses):
            return "an address holds blanks or angle brackets"
        return obstacle(email, self.limits)

    def close(self) -> None:
        self._pool.close()

    def _letter(self, email: Email) -> _Letter:
        sender = ascii_domain(email.sender)
        now = dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        first = (
            ("Date", format_datetime(now)),
            ("Message-ID", f"<{email.attempt_id}@{sender.rpartition('@')[2]}>"),
        )
        content = mime.build(email, first)
        if not content.endswith(b"\r\n"):
            content += b"\r\n"
        recipients = {address.email: ascii_domain(address) for address in email.recipients}
        utf8 = not (content.isascii() and all(map(str.isascii, recipients.values())))
        # A dot that begins a line is doubled (RFC 5321, 4.5.2); the first line is a header.
        return _Letter(sender, recipients, content.replace(b"\r\n.", b"\r\n.."), utf8)

    def _sent(self, letter: _Letter, exchange: Exchange) -> Accepted:
        session = self._pool.take()
        if session is None or not session.is_there(exchange):
            if session is not None:
                session.close()
            session = opened(self._route, exchange)
        kept = False
        try:
            accepted = self._handed_over(letter, session, exchange)
            kept = True
        except ProviderFailure:
            # It answered: with RSET, the connection is good for the next message.
            kept = True
            raise
        finally:
            # Nothing may cut it any more once it serves another message.
            exchange.let_go()
            if kept and session.is_usable and not exchange.passed:
                self._pool.put(session)
            else:
                session.close()
        return accepted

    def _handed_over(self, letter: _Letter, session: Session, exchange: Exchange) -> Accepted:
        reply = session.command(_mail(letter, session))
        if not reply.positive:
            raise self._failure(_OF_SENDER, reply)
        refused = self._refused_recipients(letter, session)
        reply = session.command("DATA")
        if reply.code != 354:
            raise self._failure(_OF_DATA, reply)
        session.write(letter.content)
        if session.sock is None or not exchange.begin(session.sock):
            # The server still waits for the rest of the message.
            session.close()
            raise TimeoutError
        session.write(b".\r\n")
        reply = session.reply()
        if not reply.positive:
            raise self._failure(_OF_DOT, reply)
        found = _QUEUE_ID.search(reply.text)
        return Accepted(found[1] if found else None, refused)

    def _refused_recipients(self, letter: _Letter, session: Session) -> tuple[NotTaken, ...]:
        """Those that the server turned down. Raises a ProviderFailure where that is everybody."""
        refused: list[tuple[str, ProviderFailure]] = []
        for email, address in letter.recipients.items():
            reply = session.command(f"RCPT TO:<{address}>")
            if not session.is_usable:
                raise Unavailable(self._words(reply), status=reply.code)
            if not reply.positive:
                refused.append((email, self._failure(_OF_RECIPIENT, reply)))
        if len(refused) == len(letter.recipients):
            raise _of_all(refused)
        return tuple(
            NotTaken(email, failure.reason, isinstance(failure, Rejected))
            for email, failure in refused
        )

    def _failure(self, rules: Iterable[Rule], reply: Reply) -> ProviderFailure:
        found = _ENHANCED.match(reply.text)
        complaint = Complaint(reply.text, found[1] if found else "")
        return judge(rules, reply.code, complaint)(self._words(reply), status=reply.code)

    def _words(self, reply: Reply) -> str:
        return reason(Answer(reply.code, secrets=self._secrets), reply.text or "without a word")

    def _broken_off(self, fault: OSError, exchange: Exchange) -> ProviderFailure:
        """What it means that the conversation ended without an answer, or before the message."""
        if not (exchange.began or exchange.passed):
            if isinstance(fault, smtplib.SMTPResponseException):
                login = isinstance(fault, smtplib.SMTPAuthenticationError)
                said = fault.smtp_error
                text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
                reply = Reply(fault.smtp_code, text)
                return self._failure(_OF_LOGIN if login else _OF_GREETING, reply)
            if isinstance(fault, smtplib.SMTPNotSupportedError):
                wanted = "STARTTLS" if "STARTTLS" in str(fault) else "way to log in"
                return AccountRefused(f"the server offers no {wanted}, which our settings ask for")
            if type(fault) is smtplib.SMTPException:
                return AccountRefused("the server offers no way to log in that we know")
        words = _what_happened(fault)
        if exchange.passed:
            words = f"the deadline of {self._deadline:.3g} s passed"
        if exchange.began:
            return Unknown(f"{words}, after the message was sent")
        return Unavailable(f"{words}, before the message was sent")


def _mail(letter: _Letter, session: Session) -> str:
    """The command that begins a message. Raises MessageRefused where the server cannot take it."""
    line = f"MAIL FROM:<{letter.sender}>"
    if session.has_extn("size"):
        limit = session.esmtp_features["size"]
        if limit.isdecimal() and 0 < int(limit) < len(letter.content):
            size = f"{len(letter.content) / 1e6:.1f} MB"
            raise MessageRefused(f"it has {size}, the server's limit is {int(limit) / 1e6:.1f} MB")
        line += f" SIZE={len(letter.content)}"
    session.command_encoding = "utf-8" if letter.utf8 else "ascii"
    if letter.utf8:
        if not session.has_extn("smtputf8"):
            raise MessageRefused("the server takes no local part that is not ASCII (SMTPUTF8)")
        line += " BODY=8BITMIME SMTPUTF8"
    return line


def _of_all(refused: list[tuple[str, ProviderFailure]]) -> ProviderFailure:
    """What it means that nobody was taken: bad addresses are named, the rest may go elsewhere."""
    failures = [failure for _, failure in refused]
    bad = tuple(email for email, failure in refused if isinstance(failure, Rejected))
    if bad:
        first = next(failure for failure in failures if isinstance(failure, Rejected))
        return Rejected(first.reason, status=first.status, recipients=bad)
    for kind in (AccountRefused, SenderRefused, Unavailable):
        for failure in failures:
            if isinstance(failure, kind):
                return failure
    return failures[0]


def _what_happened(fault: OSError) -> str:
    if isinstance(fault, smtplib.SMTPServerDisconnected):
        if isinstance(fault.__context__, TimeoutError):
            return "no answer within the read timeout"
        return "the connection broke"
    if isinstance(fault, socket.gaierror):
        return "its name does not resolve"
    if isinstance(fault, ssl.SSLError):
        words = getattr(fault, "verify_message", "") or fault.reason
        return f"TLS failed ({words})" if words else "TLS failed"
    if isinstance(fault, TimeoutError):
        return "no connection within the connect timeout"
    return f"could not connect ({fault.strerror})" if fault.strerror else "the connection broke"


def _route(values: Mapping[str, str], timeouts: Timeouts) -> Route:
    """The way to the server. Raises BadSettings."""
    for name, value in values.items():
        if not (value.isascii() and value.isprintable()):
            raise BadSettings(f"{name} holds characters that are not plain ASCII")
    try:
        tls = Tls(values["SMTP_TLS"].lower())
    except ValueError:
        raise BadSettings("SMTP_TLS must be starttls, implicit or off") from None
    port = values["SMTP_PORT"] or _PORTS[tls]
    if not re.fullmatch(r"\d{1,5}", port) or int(port) not in range(1, 65536):
        raise BadSettings("SMTP_PORT must be a port number")
    if not re.fullmatch(r"[\w.-]+|[\da-fA-F:]+", values["SMTP_HOST"]):
        raise BadSettings("SMTP_HOST must be a host's name or address alone")
    if values["SMTP_USERNAME"] and not values["SMTP_PASSWORD"]:
        raise MissingSettings("smtp", ("SMTP_PASSWORD",))
    return Route(
        host=values["SMTP_HOST"],
        port=int(port),
        tls=tls,
        context=None if tls is Tls.OFF else ssl.create_default_context(),
        username=values["SMTP_USERNAME"],
        password=values["SMTP_PASSWORD"],
        connect_timeout=timeouts.connect,
        read_timeout=timeouts.read,
    )
