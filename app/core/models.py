"""What the service knows about a message, its recipients and the attempts to send it.

They are structs and no dataclasses: each step copies some of them, and a copy of a message takes a
fortieth of the time.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from providers.types import Address, Attachment, Bounce, EventType

Clock = Callable[[], datetime]
"""Says the time as an aware UTC datetime; handed in wherever time matters."""

OnUnknown = Literal["failover", "hold"]
RecipientKind = Literal["to", "cc", "bcc"]


class MessageState(StrEnum):
    """The states of a message; which of them are ends is said in `lifecycle`."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    RETRYING = "retrying"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    PARTIAL = "partial"


class RecipientState(StrEnum):
    """The states of one recipient of a message."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Outcome(StrEnum):
    """What an attempt came to."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


class Priority(StrEnum):
    """How soon a message's turn comes, in the order in which turns are given."""

    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"


class Report(Struct, frozen=True):
    """The most that the provider of an attempt (counted from 1) has said of a recipient so far.

    `state` is delivered, deferred, bounced, failed (dropped by the provider, untried) or
    complained; `bounce`, `code` and `reason` say why.
    """

    attempt: int
    state: RecipientState
    bounce: Bounce | None = None
    code: str | None = None
    reason: str | None = None


class Engagement(Struct, frozen=True):
    """How often a recipient opened or clicked, and when first and last."""

    count: int
    first_at: datetime
    last_at: datetime


class Recipient(Struct, frozen=True):
    """One address of a message, with a state of its own.

    `reports` has one entry for each attempt of which a provider has told something: the state
    follows from them (see `fates`). `passed_on` is the attempt (counted from 1) that was taken and
    then blocked, whereupon the recipient was offered to another provider; 0 where none was.
    """

    email: str
    name: str
    kind: RecipientKind
    state: RecipientState = RecipientState.QUEUED
    reason: str | None = None
    bounce: Bounce | None = None
    code: str | None = None
    opened: Engagement | None = None
    clicked: Engagement | None = None
    unsubscribed_at: datetime | None = None
    reports: tuple[Report, ...] = ()
    passed_on: int = 0

    def came_back(self, attempt: int) -> bool:
        """Whether an attempt that was accepted did not reach the recipient, by its provider."""
        return any(
            report.attempt == attempt
            and report.state in (RecipientState.BOUNCED, RecipientState.FAILED)
            for report in self.reports
        )

    @property
    def address(self) -> Address:
        return Address(self.email, self.name)


class Finding(StrEnum):
    """What evidence says of an attempt whose outcome was unknown."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_ACCEPTED = "not_accepted"


class Source(StrEnum):
    """Where evidence comes from: the call's own answer, which came too late or when the call was
    made again, the provider, asked afterwards or telling by itself, a recipient who has got the
    mail, or a person."""

    ANSWER = "answer"
    EVENTS = "events"
    WEBHOOK = "webhook"
    RECIPIENT = "recipient"
    OPERATOR = "operator"


class Evidence(Struct, frozen=True):
    """What was learnt of an attempt (counted from 1) other than by closing it.

    It is appended and never changed, whoever works on the message meanwhile. `recipients` are the
    bare addresses that it is about, where not all of the attempt.
    """

    attempt: int
    source: Source
    finding: Finding
    at: datetime
    reason: str | None = None
    provider_message_id: str | None = None
    recipients: tuple[str, ...] = ()


OURS = "steadpost"
"""Stands for the provider where we have seen ourselves what happened."""


class Happening(Struct, frozen=True):
    """One event of a message's timeline: what a provider reported of an attempt (counted from 1).

    `id` stands for the provider's own id of the event; `recipient` is empty where it is not told.
    """

    id: str
    type: EventType
    at: datetime
    provider: str
    attempt: int
    recipient: str
    bounce: Bounce | None = None
    code: str | None = None
    reason: str | None = None
    url: str | None = None
    automatic: bool = False


class Attempt(Struct, frozen=True):
    """One call to one provider. Written down before the call, without an outcome; closed after it.

    `why` says how the provider was chosen, `reason` what it answered. `scope` is that of a refusal:
    account, sender or message. `recipients` are the bare addresses it was for, where not for all.
    `evidence` is what settled an unknown outcome, if anything did. `repeats` counts how often the
    same call was made again after it, to a provider that takes an attempt only once.
    """

    id: str
    provider: str
    why: str
    round: int
    started_at: datetime
    outcome: Outcome | None = None
    scope: str | None = None
    reason: str | None = None
    status_code: int | None = None
    provider_message_id: str | None = None
    duration_ms: int | None = None
    recipients: tuple[str, ...] = ()
    evidence: Evidence | None = None
    repeats: int = 0

    @property
    def open(self) -> bool:
        return self.outcome is None

    @property
    def accepted(self) -> bool:
        """Whether the provider is known to have taken the message."""
        return self.outcome is Outcome.ACCEPTED or (
            self.evidence is not None and self.evidence.finding is Finding.ACCEPTED
        )

    @property
    def unresolved(self) -> bool:
        """Whether the provider may have taken the message, and nobody knows."""
        return self.outcome is Outcome.UNKNOWN and self.evidence is None

    def settled_by(self, evidence: Evidence | None) -> "Attempt":
        """The attempt with this evidence: one for those for whom that says it was taken."""
        if evidence is None or evidence.finding is not Finding.ACCEPTED or not evidence.recipients:
            return replace(self, evidence=evidence)
        return replace(self, evidence=evidence, recipients=evidence.recipients)


class Lease(Struct, frozen=True):
    """The right to work on a message: whose it is, its fencing number, and until when it holds."""

    owner: str
    fence: int
    until: datetime


class TemplateUsed(Struct, frozen=True):
    """What a message was made of; the version of a shipped template is 0."""

    name: str
    version: int


class AttachedFile(Struct, frozen=True):
    """What is known of an attachment without its content; `size` is in bytes."""

    filename: str
    content_type: str
    size: int
    content_id: str | None = None


class Track(Struct, frozen=True):
    """What of a message is tracked by us: that it is opened, that its links are clicked."""

    opens: bool = False
    clicks: bool = False

    def __bool__(self) -> bool:
        return self.opens or self.clicks


UNTRACKED = Track()


class Envelope(Struct, frozen=True):
    """What the application asked for, apart from the recipients and the body; never changes.

    `expires_at` is None where it left that to the service. `override_suppression` says why the mail
    goes to suppressed addresses as well, where it does.
    """

    sender: Address
    reply_to: tuple[Address, ...]
    subject: str
    headers: tuple[tuple[str, str], ...]
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    providers: tuple[str, ...]
    on_unknown: OnUnknown
    expires_at: datetime | None = None
    template: TemplateUsed | None = None
    attachments: tuple[AttachedFile, ...] = ()
    unsubscribe: bool = False
    override_suppression: str | None = None
    track: Track = UNTRACKED
    callback_url: str | None = None
    failover_on_block: bool = False


class Body(Struct, frozen=True):
    """The content of a message; kept apart from its record, and dropped earlier.

    Its `attachments` are kept apart from it once more: see `MessageStore.attachments`.
    """

    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...] = ()


class Message(Struct, frozen=True):
    """The record of one message: the truth about it.

    `version` grows by one with every write and is what each write compares, together with the
    number of pieces of `evidence`. `next_attempt_at` is set while the message waits, `lease` while
    a worker has it, `grace_until` while evidence for an unknown outcome is looked for. `round`
    counts from 1; `first_round` is that of the generation, and `order` names the providers that
    the generation was asked to take, where it was. `send_at` is when it was to be sent, where that
    was said. Once `cancelled`, nothing more is sent. `opened` and `clicked` are what somebody did
    of several recipients, it is not known who.
    """

    id: str
    key: str
    envelope: Envelope
    recipients: tuple[Recipient, ...]
    state: MessageState
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    version: int = 1
    round: int = 1
    first_round: int = 1
    order: tuple[str, ...] = ()
    possible_duplicate: bool = False
    reason: str | None = None
    next_attempt_at: datetime | None = None
    grace_until: datetime | None = None
    lease: Lease | None = None
    attempts: tuple[Attempt, ...] = ()
    evidence: int = 0
    priority: Priority = Priority.NORMAL
    send_at: datetime | None = None
    cancelled: bool = False
    opened: Engagement | None = None
    clicked: Engagement | None = None

    @property
    def provider(self) -> str | None:
        """Who took the message, if anybody is known to have."""
        for attempt in reversed(self.attempts):
            if attempt.accepted:
                return attempt.provider
        return None

    @property
    def open_attempt(self) -> Attempt | None:
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.open else None

    def with_last_attempt(self, attempt: Attempt) -> "Message":
        return replace(self, attempts=(*self.attempts[:-1], attempt))
