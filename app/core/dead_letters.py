"""What a person does about messages that did not arrive: resolve, resend and drop them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from msgspec.structs import replace

from app.core import lifecycle
from app.core.evidence import EvidenceBook
from app.core.models import (
    Clock,
    Evidence,
    Finding,
    Message,
    MessageState,
    RecipientState,
    Source,
)
from app.core.store import Change, MessageStore

_FINDINGS: dict[str, Finding] = {"sent": Finding.ACCEPTED, "not_sent": Finding.NOT_ACCEPTED}
_DEAD = frozenset({RecipientState.FAILED, RecipientState.EXPIRED, RecipientState.UNKNOWN})


class NotPossible(Exception):
    """The message is not in a state in which this can be done; the text says why."""


class DeadLetters:
    """Resolves, resends and drops messages that came to no good end."""

    def __init__(
        self,
        store: MessageStore,
        evidence: EvidenceBook,
        expiry: timedelta,
        retention: timedelta,
        clock: Clock,
    ) -> None:
        self._store = store
        self._evidence = evidence
        self._expiry = expiry
        self._retention = retention
        self._clock = clock

    def resolve(self, message: Message, outcome: Literal["sent", "not_sent"]) -> Message:
        """Takes a person's word for what became of an unknown message.

        Raises NotPossible where nothing is unknown, and StoreUnavailable.
        """
        if message.state is not MessageState.UNKNOWN:
            raise NotPossible("Only a message whose fate is unknown can be resolved.")
        # None where a word was taken in before, and whoever took it was interrupted.
        doubtful = [n for n, attempt in enumerate(message.attempts, 1) if attempt.unresolved]
        # Sent is said of the last attempt; not sent, of every one that is in doubt.
        told_of = doubtful[-1:] if outcome == "sent" else doubtful
        now = self._clock()
        evidence = [
            Evidence(number, Source.OPERATOR, _FINDINGS[outcome], now, "an operator's word")
            for number in told_of
        ]
        resolved = self._evidence.add(message.id, *evidence)
        if resolved is None:
            raise NotPossible("The message is gone.")
        return resolved

    def resend(
        self, message: Message, recipients: Sequence[str] = (), providers: Sequence[str] = ()
    ) -> Message:
        """Begins a new generation of a dead letter, for those it did not reach, or some of them.

        Raises NotPossible and StoreUnavailable.
        """
        if not lifecycle.has_ended(message) or message.state is MessageState.UNKNOWN:
            raise NotPossible("Only a message that failed or expired can be resent.")
        now = self._clock()
        again = lifecycle.resent(
            message, now, now + self._expiry, tuple(recipients), tuple(providers)
        )
        if again == message:
            raise NotPossible("There is no recipient who could be sent it again.")
        if not self._store.has_body(message.id):
            raise NotPossible("The content of the message is no longer kept.")
        return self._move(Change(message, again, ring=True, needs_body=True, promised=True))

    def drop(self, message: Message) -> Message:
        """Gives a dead letter up: it cannot be resent, and its content goes.

        Raises NotPossible and StoreUnavailable.
        """
        if message.state not in (
            MessageState.FAILED,
            MessageState.EXPIRED,
            MessageState.UNKNOWN,
            MessageState.PARTIAL,
        ) or not any(recipient.state in _DEAD for recipient in message.recipients):
            raise NotPossible("Only a message that failed, expired or is unknown can be dropped.")
        dropped = replace(lifecycle.dropped(message, self._clock()), updated_at=self._clock())
        return self._move(Change(message, dropped, drop_body=True, keep=self._retention))

    def _move(self, change: Change) -> Message:
        written = self._store.move(change)
        if written is None:
            raise NotPossible("Somebody else has moved the message meanwhile; look again.")
        return written
