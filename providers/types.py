"""The values that pass between Steadpost and a provider."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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

    `shown_to` and `shown_cc` are what the headers To and Cc are to say where that differs from
    `to` and `cc`: somebody else of the same message has been left out of this envelope.

    `opens_tracked` and `clicks_tracked` say that the sender counts these: a provider is not to do
    so once more, whatever its account is set to, where that can be said with a message.
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
    shown_to: tuple[Address, ...] | None = None
    shown_cc: tuple[Address, ...] | None = None
    opens_tracked: bool = False
    clicks_tracked: bool = False

    @property
    def header_to(self) -> tuple[Address, ...]:
        """Whom the header To names."""
        return self.to if self.shown_to is None else self.shown_to

    @property
    def header_cc(self) -> tuple[Address, ...]:
        """Whom the header Cc names."""
        return self.cc if self.shown_cc is None else self.shown_cc

    @property
    def shows_others(self) -> bool:
        """Whether its headers name other people than its envelope, Bcc aside."""
        return (self.header_to, self.header_cc) != (self.to, self.cc)

    @property
    def recipients(self) -> tuple[Address, ...]:
        """Everybody in the envelope, To before Cc before Bcc."""
        return self.to + self.cc + self.bcc


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A recipient for whom a provider did not take a message that it took for others.

    `email` is spelt as in the `Email`. `rejected` says that the address is bad for any provider;
    otherwise the message may be offered to it again, elsewhere or later.
    """

    email: str
    reason: str
    rejected: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message, for everybody but those `not_taken`.

    Its id is None where the answer was cut short before that.
    """

    provider_message_id: str | None = None
    not_taken: tuple[NotTaken, ...] = ()


class EventType(StrEnum):
    """What a provider reports of a recipient; whatever is none of these is not for us."""

    ACCEPTED = "accepted"
    """The provider took the message and will try: proof, where our call had no clear answer."""
    DELIVERED = "delivered"
    """The recipient's server took the message."""
    DEFERRED = "deferred"
    """The recipient's server did not take it yet; the provider goes on trying."""
    BOUNCED = "bounced"
    """The recipient's server turned it down, and the provider has given up: see `Bounce`."""
    REJECTED = "rejected"
    """The provider dropped it untried: its own list of addresses, its policy, a virus."""
    COMPLAINED = "complained"
    """The recipient called it spam."""
    UNSUBSCRIBED = "unsubscribed"
    """The recipient asked the provider not to get such mail again."""
    OPENED = "opened"
    CLICKED = "clicked"


class Bounce(StrEnum):
    """Why a message came back."""

    HARD = "hard"
    """The address is no good: nobody should mail it again."""
    SOFT = "soft"
    """The address is good, or may be, and this message did not get there."""
    BLOCK = "block"
    """Policy or reputation: the message or its sender was turned down, not the address."""


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """One report of a provider about one recipient of one attempt, in the words of no provider.

    `id` is the same whenever the provider tells the same thing again, and differs for two reports
    about different recipients. `attempt_id` is the one that the message was sent with; None where
    the provider does not say (mail that others sent with the account, or bounces that come late).
    `recipient` is a bare address, the empty text where it is not told which one. `bounce` is set
    with BOUNCED alone, or with REJECTED where the provider's reason is of that kind. `code` is an
    SMTP reply code or enhanced status code, `reason` the provider's words on one line. `url` is
    what was clicked; `automatic` marks opens and clicks of machines, where the provider knows.
    """

    id: str
    type: EventType
    occurred_at: datetime
    recipient: str = ""
    attempt_id: str | None = None
    provider_message_id: str | None = None
    bounce: Bounce | None = None
    code: str | None = None
    reason: str | None = None
    url: str | None = None
    automatic: bool = False
