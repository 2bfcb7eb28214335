"""Messages as tests of pure decisions want them."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from app.core import ids
from app.core.models import (
    Attempt,
    Envelope,
    Message,
    MessageState,
    Outcome,
    Recipient,
    RecipientState,
)
from providers.types import Address

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ID = ids.new_message_id(1_795_435_200_000)


def message(to=("ann@example.net",), states=None, attempts=(), tags=(), key="app"):
    """A message that was accepted at NOW, to some recipients in these states."""
    states = states or tuple(RecipientState.QUEUED for _ in to)
    return Message(
        id=ID,
        key=key,
        envelope=Envelope(
            sender=Address("shop@example.com"),
            reply_to=(),
            subject="An order",
            headers=(),
            tags=tuple(tags),
            metadata={},
            providers=(),
            on_unknown="failover",
        ),
        recipients=tuple(
            Recipient(email, "", "to", state) for email, state in zip(to, states, strict=True)
        ),
        state=MessageState.QUEUED,
        created_at=NOW,
        updated_at=NOW,
        expires_at=NOW + timedelta(days=1),
        attempts=tuple(attempts),
    )


def changed(before, states=None, after=timedelta(seconds=1), **fields):
    """The message a little later, with its recipients in these states."""
    recipients = before.recipients
    if states is not None:
        pairs = zip(recipients, states, strict=True)
        recipients = tuple(replace(recipient, state=state) for recipient, state in pairs)
    return replace(before, recipients=recipients, updated_at=before.updated_at + after, **fields)


def attempt(provider, accepted=True, number=1, recipients=()):
    """An attempt that was accepted, or that found its provider unavailable."""
    outcome = Outcome.ACCEPTED if accepted else Outcome.UNAVAILABLE
    return Attempt(
        ids.attempt_id(ID, number), provider, "first", 1, NOW, outcome, recipients=recipients
    )
