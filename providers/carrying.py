"""What keeps a message from being carried by a provider, as far as it is known without asking."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from providers.mailbox import ascii_domain
from providers.types import Address, Email

#: Line breaks, and what some mail software takes for one; a tab is a blank in any header.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_HEADER_NAME = re.compile(r"[!-9;-~]+")


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a provider goes.

    `size` is in bytes, `recipients` over To, Cc and Bcc together. `steering` holds the beginnings,
    in lower case, of header names that the provider takes as orders instead of sending them on.
    """

    size: int
    recipients: int
    steering: tuple[str, ...] = ()
    repeated_headers: bool = False
    utf8_recipients: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who is shown where in one copy of a message, for a provider that wants somebody in To."""

    to: tuple[Address, ...]
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()


def envelopes(email: Email) -> tuple[Envelope, ...]:
    """The copies that such a provider is to write: one, but for a message with blind copies only.

    With nobody in To, those in Cc take the place. Blind copies alone get a message each, in which
    only they are named: in one message they would see each other.
    """
    if email.to:
        return (Envelope(email.to, email.cc, email.bcc),)
    if email.cc:
        return (Envelope(email.cc, (), email.bcc),)
    return tuple(Envelope((address,)) for address in email.bcc)


def obstacle(email: Email, limits: Limits) -> str | None:
    """The first thing in the way, as one line for people, or None.

    Nothing that passes can start a new header line, whatever form the provider wants it in.
    """
    return next(_obstacles(email, limits), None)


def _obstacles(email: Email, limits: Limits) -> Iterator[str]:
    for what, text in _header_texts(email):
        if _CONTROL.search(text):
            yield f"the {what} holds a line break or another control character"
    try:
        size = sum(len(text.encode()) for text in _texts(email))
    except UnicodeEncodeError:
        yield "it holds characters that no encoding has (lone surrogates)"
        return
    if size > limits.size:
        yield f"it has {size / 1e6:.1f} MB, the limit is {limits.size / 1e6:.0f} MB"
    if len(email.recipients) > limits.recipients:
        yield f"it has {len(email.recipients)} recipients, the limit is {limits.recipients}"
    yield from _header_obstacles(email, limits)
    yield from _address_obstacles(email, limits)


def _header_obstacles(email: Email, limits: Limits) -> Iterator[str]:
    names = [name.lower() for name, _ in email.headers]
    for name in names:
        if not _HEADER_NAME.fullmatch(name):
            yield "a header name has characters that none may have"
        if name.startswith(limits.steering):
            yield f"the header {name} would steer the provider instead of being sent"
    if not limits.repeated_headers and len(names) != len(set(names)):
        yield "a header occurs twice"


def _address_obstacles(email: Email, limits: Limits) -> Iterator[str]:
    for kind, addresses, utf8 in (
        ("sender", (email.sender,), False),
        ("reply-to address", email.reply_to, False),
        ("recipient", email.recipients, limits.utf8_recipients),
    ):
        for address in addresses:
            try:
                ascii_form = ascii_domain(address).isascii()
            except ValueError:
                yield f"the domain of a {kind} has no ASCII form"
                continue
            if not ascii_form and not utf8:
                yield f"the local part of a {kind} is not ASCII"


def _header_texts(email: Email) -> Iterator[tuple[str, str]]:
    yield "subject", email.subject
    yield "attempt id", email.attempt_id
    for address in (email.sender, *email.recipients, *email.reply_to):
        yield "name of an address", address.name
        yield "address", address.email
    for name, value in email.headers:
        yield "name of a header", name
        yield "value of a header", value


def _texts(email: Email) -> Iterator[str]:
    yield email.text or ""
    yield email.html or ""
    for _, text in _header_texts(email):
        yield text
