"""What applications are told of their mail, and how it is written down: together with each step.

What happened in a step becomes one entry, a JSON text, in a list from which workers take it. The
list of an API key exists only while something is registered for the key, and is pushed to only if
it exists (RPUSHX). Where a process knows that there is nothing for a key, it does not even do that;
it knows for a second, so that whoever registers a callback is told of every step from a second
after that on at the latest.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import orjson

from app.core import fates, keys
from app.core.models import Attempt, Happening, Message, Recipient, RecipientState
from app.core.records import to_ms
from app.core.steps import Command, Observer, Step
from providers.types import EventType

_KNOWN_SECONDS = 1.0


class CallbackEvent(StrEnum):
    """What can be told of a recipient; in a callback it is the `type`, after `message.`."""

    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    UNKNOWN = "unknown"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"


OF_STATES: Mapping[RecipientState, CallbackEvent | None] = MappingProxyType(
    {
        RecipientState.QUEUED: None,
        RecipientState.SENT: CallbackEvent.SENT,
        RecipientState.DELIVERED: CallbackEvent.DELIVERED,
        RecipientState.DEFERRED: CallbackEvent.DEFERRED,
        RecipientState.BOUNCED: CallbackEvent.BOUNCED,
        RecipientState.COMPLAINED: CallbackEvent.COMPLAINED,
        RecipientState.FAILED: CallbackEvent.FAILED,
        RecipientState.EXPIRED: CallbackEvent.EXPIRED,
        RecipientState.CANCELLED: CallbackEvent.CANCELLED,
        RecipientState.SUPPRESSED: CallbackEvent.SUPPRESSED,
        RecipientState.UNKNOWN: CallbackEvent.UNKNOWN,
    }
)
"""What is told when a recipient comes into a state; nothing where it only waits (again)."""

OF_REPORTS: Mapping[EventType, CallbackEvent] = MappingProxyType(
    {
        EventType.OPENED: CallbackEvent.OPENED,
        EventType.CLICKED: CallbackEvent.CLICKED,
        EventType.UNSUBSCRIBED: CallbackEvent.UNSUBSCRIBED,
    }
)
"""The reports that are told one by one, as they are no states."""


class Listeners:
    """Which API keys have callbacks, as far as a process knows just now."""

    def __init__(self) -> None:
        self._keys: frozenset[str] = frozenset()
        self._until = 0.0

    def note(self, api_keys: Iterable[str], asked_at: float) -> None:
        """Remembers for a second what was asked for at a time of the monotonic clock."""
        self._keys = frozenset(api_keys)
        self._until = asked_at + _KNOWN_SECONDS

    def may_include(self, api_key: str) -> bool:
        return api_key in self._keys or time.monotonic() > self._until


def observer(listeners: Listeners | None = None) -> Observer:
    """Says what there is to tell of a step; without listeners, for everybody."""

    def observe(step: Step) -> Iterable[Command]:
        url = step.after.envelope.callback_url
        if url is None and listeners is not None and not listeners.may_include(step.after.key):
            return ()
        return _told(step)

    return observe


def _told(step: Step) -> Iterator[Command]:
    before, message = step.before, step.after
    waits = before is None and all(r.state is RecipientState.QUEUED for r in message.recipients)
    if waits or (before is not None and before.recipients is message.recipients):
        # As most steps are.
        told = [*_of_reports(step)]
    else:
        told = [*_of_states(step), *_of_reports(step)]
    if not told:
        return
    # The version that a step begins at tells it from all others of the message.
    version = 0 if before is None else before.version
    entry = {
        "id": f"evt_{message.id}-{version}",
        "key": message.key,
        "message": message.id,
        "message_status": message.state,
        "possible_duplicate": message.possible_duplicate,
        "tags": message.envelope.tags,
        "metadata": dict(message.envelope.metadata),
        "told": told,
    }
    url = message.envelope.callback_url
    yield ("RPUSHX", keys.callback_feed(message.key), orjson.dumps(entry).decode())
    if url is not None:
        yield ("RPUSH", keys.CALLBACK_DIRECT, orjson.dumps({**entry, "url": url}).decode())


def _of_states(step: Step) -> Iterator[dict[str, Any]]:
    by_recipient = {
        email: happening
        for happening in step.happenings
        for email in fates.recipients_of(step.after, happening)
    }
    for _, recipient in step.moved:
        event = OF_STATES[recipient.state]
        if event is None:
            continue
        happening = by_recipient.get(recipient.email)
        at = step.after.updated_at if happening is None else happening.at
        attempt = _attempt_of(step.after, recipient, happening)
        yield {
            "event": event,
            "at": to_ms(at),
            **_about(recipient, attempt),
            "reason": recipient.reason,
            "bounce": recipient.bounce,
            "code": recipient.code,
        }


def _of_reports(step: Step) -> Iterator[dict[str, Any]]:
    for happening in step.happenings:
        event = OF_REPORTS.get(happening.type)
        if event is None:
            continue
        emails = fates.recipients_of(step.after, happening)
        concerned: list[Recipient | None] = []
        concerned += [r for r in step.after.recipients if r.email in emails]
        # Who has opened a mail to several is not always known.
        for recipient in concerned or [None]:
            attempt = _attempt_of(step.after, recipient, happening)
            yield {
                "event": event,
                "at": to_ms(happening.at),
                **_about(recipient, attempt),
                "url": happening.url,
                "automatic": happening.automatic,
            }


def _about(recipient: Recipient | None, attempt: Attempt | None) -> dict[str, Any]:
    return {
        "recipient": None if recipient is None else recipient.email,
        "kind": None if recipient is None else recipient.kind,
        "status": None if recipient is None else recipient.state,
        "provider": None if attempt is None else attempt.provider,
        "attempt_id": None if attempt is None else attempt.id,
    }


def _attempt_of(
    message: Message, recipient: Recipient | None, happening: Happening | None
) -> Attempt | None:
    """The attempt that something is about: the one reported of, or by which it came about."""
    if happening is not None and 0 < happening.attempt <= len(message.attempts):
        return message.attempts[happening.attempt - 1]
    if recipient is None:
        return None
    concerned = [
        a for a in message.attempts if recipient.email in (a.recipients or (recipient.email,))
    ]
    taken = [attempt for attempt in concerned if attempt.accepted]
    return next(iter(reversed(taken or concerned)), None)
