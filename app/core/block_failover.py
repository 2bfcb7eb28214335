"""Failing over after the fact: a provider took a mail, and then reported that it was blocked.

A block is about policy or reputation, which another provider need not share. A recipient of a
message that asks for it is offered once more then, to a provider that has not had the mail.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace

from app.core import fates, lifecycle
from app.core.models import Message, Recipient, RecipientState
from app.core.route_book import RouteBook
from app.core.router import Order
from app.core.routes import order_of
from app.core.store import MessageStore
from app.core.suppression import Suppressions
from providers.answers import masked
from providers.types import Bounce

log = structlog.get_logger(__name__)

CONTENT_KEPT = timedelta(hours=72)
"""After a message was sent: so long a block may come, and find something to send again."""

_ON_ITS_WAY = (RecipientState.SENT, RecipientState.DEFERRED)
_LONGEST_REASON = 200


def elsewhere(order: Order, message: Message) -> Order:
    """The order without those who had the copies of the recipients that the next attempt is for."""
    if not any(recipient.passed_on for recipient in message.recipients):
        return order
    first = next(iter(lifecycle.offered(message)), None)
    closed = frozenset() if first is None else lifecycle.closed_to(message, first)
    if first is None or not closed:
        return order
    return replace(
        order,
        providers=tuple(name for name in order.providers if name not in closed),
        drawn=f"next in {order.name}",
        left_out=(*order.left_out, _in_words(message, first)),
    )


def content_lasts(message: Message, now: datetime) -> timedelta | None:
    """How long the content is still of use where it was sent; None for as long as the record."""
    if not fates.content_is_done(message):
        return None
    if not any(_may_be_passed_on(message, recipient) for recipient in message.recipients):
        return timedelta(0)
    sent_at = max(attempt.started_at for attempt in message.attempts if attempt.accepted)
    until = min(sent_at + CONTENT_KEPT, message.envelope.expires_at or now + CONTENT_KEPT)
    return max(until - now, timedelta(0))


class BlockFailover:
    """Puts back recipients whose mail was blocked; `expiry` is for mail that does not say.

    Reads only where somebody was blocked, and raises StoreUnavailable then.
    """

    def __init__(
        self,
        store: MessageStore,
        configured: Sequence[str],
        expiry: timedelta,
        routes: RouteBook | None = None,
        suppressions: Suppressions | None = None,
    ) -> None:
        self._store = store
        self._configured = tuple(configured)
        self._expiry = expiry
        self._routes = routes
        self._suppressions = suppressions

    def after(self, before: Message, told: Message, number: int, now: datetime) -> Message:
        """The message as a report on an attempt left it, or with whom that blocked put back."""
        emails = self._allowed(told, _blocked(before, told, number, now))
        if emails:
            emails = [e for e in emails if self._somebody_else(told, e, number, now)]
        if not emails or not self._store.has_body(told.id):
            return told
        log.info(
            "passed on after a block",
            message=told.id,
            provider=told.attempts[number - 1].provider,
            recipients=len(emails),
        )
        again = lifecycle.passed_on(told, emails, number, now)
        if told.envelope.expires_at is not None or told.state in lifecycle.WORK_STATES:
            return again
        return replace(again, expires_at=max(told.expires_at, now + self._expiry))

    def _allowed(self, message: Message, emails: list[str]) -> list[str]:
        """Those who are not suppressed."""
        overridden = message.envelope.override_suppression is not None
        if not emails or self._suppressions is None or overridden:
            return emails
        listed = self._suppressions.find(emails)
        return [email for email in emails if email not in listed]

    def _somebody_else(self, message: Message, email: str, number: int, now: datetime) -> bool:
        """Whether there is a provider who could be asked for the recipient."""
        alone = replace(
            message, recipients=tuple(r for r in message.recipients if r.email == email)
        )
        again = lifecycle.passed_on(alone, (email,), number, now)
        table = None if self._routes is None else self._routes.table()
        order = elsewhere(order_of(again, self._configured, table), again)
        return any(name in self._configured for name in order.providers)


def _blocked(before: Message, told: Message, number: int, now: datetime) -> list[str]:
    """Whom a report on an attempt has just blocked, and who may be passed on for that.

    Not who may still get the copy of another attempt, or got this one before it came back.
    """
    held = told.envelope.on_unknown == "hold" and lifecycle.may_have_been_sent(told)
    over = told.envelope.expires_at is not None and told.envelope.expires_at <= now
    if held or over:
        return []
    return [
        is_now.email
        for was, is_now in zip(before.recipients, told.recipients, strict=True)
        if _may_be_passed_on(told, was)
        and is_now.state in (RecipientState.BOUNCED, RecipientState.FAILED)
        and is_now.bounce is Bounce.BLOCK
        and not any(
            attempt.accepted and lifecycle.is_for(attempt, is_now) and not is_now.came_back(other)
            for other, attempt in enumerate(told.attempts, 1)
        )
    ]


def _may_be_passed_on(message: Message, recipient: Recipient) -> bool:
    return (
        message.envelope.failover_on_block
        and not message.cancelled
        and not recipient.passed_on
        and recipient.state in _ON_ITS_WAY
    )


def _in_words(message: Message, recipient: Recipient) -> str:
    provider = message.attempts[recipient.passed_on - 1].provider
    said = next((r for r in recipient.reports if r.attempt == recipient.passed_on), None)
    words = (said.reason or said.code) if said is not None else None
    if words is None:
        return f"after a block by {provider}"
    return f"after a block by {provider}: {masked(words[:_LONGEST_REASON])}"
