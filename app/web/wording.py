"""States and outcomes in words for people, and the tone in which each is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from app.core.models import Finding, Message, MessageState, Outcome, RecipientState, Source


class Tone(StrEnum):
    """How a state is shown: its colours, and its icon of the same name."""

    WAITING = "waiting"
    MOVING = "moving"
    GOOD = "good"
    DOUBT = "doubt"
    BAD = "bad"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a state means to the person who sent the mail."""

    tone: Tone
    text: str


MESSAGE_STATES: Mapping[MessageState, Meaning] = MappingProxyType(
    {
        MessageState.SCHEDULED: Meaning(Tone.WAITING, "It waits for its time."),
        MessageState.QUEUED: Meaning(Tone.WAITING, "It waits for a worker to take it up."),
        MessageState.SENDING: Meaning(Tone.MOVING, "It is on its way to a provider."),
        MessageState.RETRYING: Meaning(
            Tone.WAITING, "No provider took it yet. After a rest, it is offered to them again."
        ),
        MessageState.SENT: Meaning(Tone.GOOD, "A provider took it."),
        MessageState.FAILED: Meaning(Tone.BAD, "It was turned down, and is not tried again."),
        MessageState.UNKNOWN: Meaning(
            Tone.DOUBT, "It may have been sent: a provider was asked and gave no clear answer."
        ),
        MessageState.CANCELLED: Meaning(Tone.OVER, "It was called back."),
        MessageState.EXPIRED: Meaning(Tone.BAD, "No provider took it before its time was over."),
        MessageState.SUPPRESSED: Meaning(
            Tone.OVER, "All of its recipients are suppressed: it goes to nobody."
        ),
        MessageState.DELIVERED: Meaning(Tone.GOOD, "It arrived."),
        MessageState.BOUNCED: Meaning(Tone.BAD, "It came back."),
        MessageState.COMPLAINED: Meaning(Tone.BAD, "It was reported as spam."),
        MessageState.PARTIAL: Meaning(Tone.DOUBT, "Its recipients fared differently, see below."),
    }
)

RECIPIENT_STATES: Mapping[RecipientState, Tone] = MappingProxyType(
    {
        RecipientState.QUEUED: Tone.WAITING,
        RecipientState.SENT: Tone.GOOD,
        RecipientState.DELIVERED: Tone.GOOD,
        RecipientState.DEFERRED: Tone.WAITING,
        RecipientState.BOUNCED: Tone.BAD,
        RecipientState.COMPLAINED: Tone.BAD,
        RecipientState.FAILED: Tone.BAD,
        RecipientState.UNKNOWN: Tone.DOUBT,
        RecipientState.SUPPRESSED: Tone.OVER,
        RecipientState.CANCELLED: Tone.OVER,
        RecipientState.EXPIRED: Tone.BAD,
    }
)

OUTCOMES: Mapping[Outcome, Meaning] = MappingProxyType(
    {
        Outcome.ACCEPTED: Meaning(Tone.GOOD, "took the mail"),
        Outcome.REJECTED: Meaning(Tone.BAD, "turned the mail down, as anybody would"),
        Outcome.REFUSED: Meaning(Tone.OVER, "does not take it from us; others may"),
        Outcome.UNAVAILABLE: Meaning(Tone.OVER, "was not reached, or busy: nothing was sent"),
        Outcome.UNKNOWN: Meaning(Tone.DOUBT, "may have taken it: no clear answer came"),
    }
)


FINDINGS: Mapping[Finding, str] = MappingProxyType(
    {
        Finding.ACCEPTED: "the provider took it",
        Finding.REJECTED: "the provider turned it down",
        Finding.NOT_ACCEPTED: "the provider did not take it",
    }
)

SOURCES: Mapping[Source, str] = MappingProxyType(
    {
        Source.ANSWER: "its answer, which came late",
        Source.EVENTS: "its list of events",
        Source.WEBHOOK: "its webhook",
        Source.RECIPIENT: "a recipient, who has got it",
        Source.OPERATOR: "a person",
    }
)


def in_a_sentence(message: Message) -> str:
    """What there is to say about a message now, in a sentence or two."""
    text = MESSAGE_STATES[message.state].text
    if message.state is MessageState.SENT and message.provider:
        text = f"Taken by {message.provider}."
    elif message.state is MessageState.SENDING and message.open_attempt:
        text = f"Asking {message.open_attempt.provider} to take it."
    elif message.grace_until is not None:
        text = (
            "A provider gave no clear answer. Before another one is asked, a trace is looked for."
        )
    return text
