"""The values that pass between Steadpost and a provider."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox: a bare `email`, of which both parts may be non-ASCII, and a display name."""

    email: str
    name: str = ""

    @property
    def domain(self) -> str:
        """What follows the last @, in lower case."""
        return self.email.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message; an inline one has a `content_id`, without angle brackets.

    `filename` may hold any character but controls; `content_type` is a bare `type/subtype`.
    """

    filename: str
    content_type: str
    content: bytes
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class Email:
    """One message as a provider is asked to carry it, for one attempt.

    `attempt_id` (letters, digits, `_` and `-`) goes into the field that the provider echoes in its
    webhooks. `headers` are pairs in the order given; no name occurs that a provider writes itself.
    At least one of `text` and `html` is set, and `to`, `cc` and `bcc` hold at least one address
    together (`to` alone may be empty).
    """

    attempt_id: str
    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()

    @property
    def recipients(self) -> tuple[Address, ...]:
        """Everybody in the envelope, To before Cc before Bcc."""
        return self.to + self.cc + self.bcc


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message. Its id is None where the answer was cut short before that."""

    provider_message_id: str | None = None
