"""A mail as its recipients get it, and what becomes of it with each of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import MessageError
from email.header import decode_header, make_header
from enum import StrEnum
from functools import lru_cache

from simulator.switches import Provider


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A bare address and its display name, decoded."""

    email: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.name else self.email


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a mail; one with a content id may be shown within the HTML."""

    filename: str
    content_type: str
    content: bytes = field(repr=False)
    content_id: str = ""
    inline: bool = False


class Fate(StrEnum):
    """What becomes of a mail that the provider accepted."""

    DELIVERED = "delivered"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    DEFER = "defer"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One accepted mail; `variables` are what the provider gives back in its webhooks.

    `fate` is that of everybody, where it does not hang on the recipient.
    """

    provider: Provider
    provider_message_id: str
    sender: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    tags: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    fate: Fate | None = None

    @property
    def attempt_id(self) -> str | None:
        return self.variables.get("attempt_id")

    @property
    def recipients(self) -> Iterator[tuple[str, Mailbox, Fate]]:
        """Kind of recipient, mailbox and fate, To before Cc before Bcc."""
        for kind, mailboxes in (("to", self.to), ("cc", self.cc), ("bcc", self.bcc)):
            for mailbox in mailboxes:
                yield kind, mailbox, self.fate or fate_of(mailbox.email)


_MAGIC = {fate.value: fate for fate in Fate}


def _label(email: str) -> str:
    return email.rpartition("@")[0].partition("+")[0].lower()


def fate_of(email: str) -> Fate:
    return _MAGIC.get(_label(email), Fate.DELIVERED)


def is_refused(email: str) -> bool:
    """Whether providers refuse to take a mail for this address."""
    return _label(email) == "reject"


# One mailbox of a list: a name, quoted or not, with <address>, or an address alone.
_LOCAL = r'(?:[^\s"(),:;<>@\[\\\]]++|"(?:[^"\\\r\n]|\\[^\r\n])*+")'
_DOMAIN = r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W_](?:[\w-]{0,61}[^\W_])"
_MAILBOX = re.compile(
    rf'\s*+(?:((?:"(?:[^"\\\r\n]|\\[^\r\n])*+"|[^"<>@,;])*+)<\s*+({_LOCAL}@{_DOMAIN})\s*+>'
    rf"|({_LOCAL}@{_DOMAIN}))\s*+(?:,|$)"
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LONGEST_ADDRESS = 320


# The same senders, and in a benchmark the same recipients, come over and over.
@lru_cache(maxsize=1024)
def mailboxes(text: str) -> tuple[Mailbox, ...]:
    """The mailboxes of a header such as To. Raises ValueError if one is not an address."""
    found: list[Mailbox] = []
    position = 0
    while position < len(text):
        match = _MAILBOX.match(text, position)
        if match is None:
            raise ValueError("not an address")
        name, email, bare = match.groups()
        email = email or bare
        local, _, domain = email.rpartition("@")
        if len(email) > _LONGEST_ADDRESS or ".." in f".{local}." or "_" in domain:
            raise ValueError("not an address")
        found.append(Mailbox(email, _display_name(name) if name else ""))
        position = match.end()
    return tuple(found)


def mailbox(text: str) -> Mailbox:
    """The one mailbox of `text`. Raises ValueError if it is none, or several."""
    found = mailboxes(text)
    if len(found) != 1:
        raise ValueError("not one address")
    return found[0]


def _display_name(phrase: str) -> str:
    unquoted = _QUOTED.sub(lambda match: re.sub(r"\\(.)", r"\1", match[1]), phrase)
    return decoded(unquoted.strip())


def unquoted(name: str) -> str:
    """A name without the quotes around it, as it is shown where it came to a header as it was."""
    match = _QUOTED.fullmatch(name)
    return re.sub(r"\\(.)", r"\1", match[1]) if match else name


def decoded(text: str) -> str:
    """`text` with its encoded words (RFC 2047) read; left as it is where they cannot be."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (MessageError, LookupError, ValueError):
        return text
