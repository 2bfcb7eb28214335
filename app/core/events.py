"""Applying what providers report: to their message, once each, whatever dies in between.

An event finds its message by the id of the attempt, which every provider gives back. It is known by
the provider's own id for it, kept in the message's timeline, so that applying one again changes
nothing. All that follows from a report is written in one step with it: see `steps`.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from msgspec.structs import replace

from app.core import fates, ids, lifecycle, machines
from app.core.block_failover import BlockFailover, content_lasts
from app.core.event_inbox import EventInbox, Pending, count, finished_with
from app.core.evidence import EvidenceBook
from app.core.models import (
    OURS,
    Clock,
    Evidence,
    Finding,
    Happening,
    Message,
    MessageState,
    Outcome,
    RecipientState,
    Source,
)
from app.core.scripting import StoreUnavailable
from app.core.steps import Command
from app.core.store import Change, MessageStore
from providers.types import DeliveryEvent, EventType

log = structlog.get_logger(__name__)

LONGEST_TIMELINE = 200
"""So many reports are kept of a message; later opens and clicks count only where they move a
recipient or are our own, and what else comes later has some room still."""

_ROOM_FOR_OTHERS = 50
_IN_DOUBT = (None, Outcome.UNKNOWN)
_BATCH = 200
_LEASE = timedelta(seconds=30)
_SOON = timedelta(seconds=1)
_LATER = timedelta(minutes=1)
_PATIENCE = timedelta(days=1)

StrayObserver = Callable[[str, DeliveryEvent], Iterable[Command]]
"""Told, once each, of a provider's event that belongs to no message of ours, or no longer; says
what is to be written then. An address may be bad whoever wrote to it."""


@dataclass(slots=True)
class _Case:
    """A message with the events that have come for it, as pairs of attempt number and event."""

    message: Message
    pending: list[tuple[int, Pending]]


class MailEvents:
    """Applies events that wait in the inbox; safe to use from several threads at once."""

    def __init__(
        self,
        inbox: EventInbox,
        store: MessageStore,
        evidence: EvidenceBook,
        retention: timedelta,
        clock: Clock,
        stray_observers: Sequence[StrayObserver] = (),
        block_failover: BlockFailover | None = None,
    ) -> None:
        self._inbox = inbox
        self._store = store
        self._evidence = evidence
        self._retention = retention
        self._clock = clock
        self._stray_observers = tuple(stray_observers)
        self._block_failover = block_failover

    def work(self) -> bool:
        """Applies events whose turn it is; whether there may be more. Raises StoreUnavailable."""
        taken = self._inbox.take(self._clock(), _LEASE, _BATCH)
        if taken:
            self._apply_all(taken)
        return len(taken) == _BATCH

    def _apply_all(self, taken: list[Pending]) -> None:
        try:
            self._apply(taken)
        except StoreUnavailable:
            raise
        except Exception:
            # A defect of ours: the others need not wait for the one that shows it.
            if len(taken) > 1:
                for one in taken:
                    self._apply_all([one])
                return
            log.exception("event not applied", attempt=taken[0].event.attempt_id)
            self._postpone(taken, _LATER)

    def _apply(self, taken: list[Pending]) -> None:
        finished: list[tuple[Pending, Sequence[Command]]] = []
        later: list[Pending] = []
        cases = self._cases(taken, finished)
        ready: list[_Case] = []
        for case in cases:
            message = self._with_evidence(case)
            if message is None:
                finished += [(one, self._stray(one)) for _, one in case.pending]
            elif message.state is MessageState.SENDING:
                # It is in a worker's hands, who learns of the evidence; the rest has time.
                for _, one in case.pending:
                    if one.event.type is EventType.ACCEPTED:
                        finished.append((one, ()))
                    else:
                        later.append(one)
            else:
                ready.append(_Case(message, case.pending))
        changes = self._changes(ready)
        moved = self._store.move_many([c for c in changes if c is not None]) if any(changes) else []
        answers = iter(moved)
        for case, change in zip(ready, changes, strict=True):
            events = [one for _, one in case.pending]
            if change is None or isinstance(next(answers), Message):
                finished += [(one, ()) for one in events]
            else:
                later += events
        self._finish(finished)
        self._postpone(later, _SOON)

    def _finish(self, finished: list[tuple[Pending, Sequence[Command]]]) -> None:
        failed = self._inbox.done(finished)
        if failed:
            log.error("left out with an event", error=failed)

    def _cases(
        self, taken: list[Pending], finished: list[tuple[Pending, Sequence[Command]]]
    ) -> list[_Case]:
        """The messages that the events are about; events about none are finished."""
        by_message: dict[str, list[tuple[int, Pending]]] = {}
        for pending in taken:
            found = ids.parse_attempt_id(pending.event.attempt_id or "")
            if found is None:
                finished.append((pending, self._stray(pending)))
            else:
                by_message.setdefault(found[0], []).append((found[1], pending))
        cases = []
        messages = self._store.get_many(list(by_message))
        for message, pending_events in zip(messages, by_message.values(), strict=True):
            known = []
            for number, pending in pending_events:
                if message is not None and _is_from(message, number, pending.provider):
                    known.append((number, pending))
                else:
                    finished.append((pending, self._stray(pending)))
            if message is not None and known:
                cases.append(_Case(message, known))
        return cases

    def _with_evidence(self, case: _Case) -> Message | None:
        """The message, with what the events prove about attempts that were in doubt."""
        message: Message | None = case.message
        for number, pending in case.pending:
            if message is None:
                break
            if message.attempts[number - 1].accepted or not _proves(message, number, pending):
                continue
            kind, ours = pending.event.type.value, pending.provider == OURS
            proof = Evidence(
                number,
                Source.RECIPIENT if ours else Source.WEBHOOK,
                Finding.ACCEPTED,
                self._clock(),
                f"{kind} by a link in it" if ours else f"the provider reported {kind}",
                pending.event.provider_message_id,
            )
            message = self._evidence.add(message.id, proof)
        return message

    def _changes(self, cases: list[_Case]) -> list[Change | None]:
        """What is to be written for each message, None where the events say nothing new."""
        timelines = self._store.known_happenings(
            [
                (case.message.id, [_happening(case.message, *one).id for one in case.pending])
                for case in cases
            ]
        )
        # Asked after the messages were read: what was counted before that is not there any more,
        # and what is counted from now on makes another version of its message.
        waiting = self._inbox.still_has(
            [one for case in cases for _, one in case.pending if _is_counted_here(one)]
        )
        return [
            self._change(case, known, length, waiting)
            for case, (known, length) in zip(cases, timelines, strict=True)
        ]

    def _change(
        self, case: _Case, known: set[str], length: int, waiting: set[str]
    ) -> Change | None:
        before, now = case.message, self._clock()
        also: list[Command] = []
        # Whoever appended the evidence may not have come to draw its conclusions.
        message = lifecycle.weighed(before, now)
        new: dict[str, Happening] = {}
        in_order = sorted(case.pending, key=lambda one: one[1].event.occurred_at)
        for number, pending in in_order:
            happening = _happening(message, number, pending)
            if happening.type is EventType.ACCEPTED or happening.id in known | new.keys():
                continue
            counted_here = _is_counted_here(pending)
            if counted_here and pending.text not in waiting:
                continue
            if not counted_here and _is_tracked(message, happening.type):
                continue
            told = fates.told(message, happening, now)
            if self._block_failover is not None:
                told = self._block_failover.after(message, told, number, now)
            if counted_here:
                also.append(finished_with(pending))
            room = 0 if happening.type in fates.ENGAGEMENTS else _ROOM_FOR_OTHERS
            if length + len(new) < LONGEST_TIMELINE + room or _states(told) != _states(message):
                new[happening.id] = happening
                message = told
            elif counted_here:
                message = told
        if not new and message == before:
            return None
        return Change(
            before,
            message,
            ring=message.state is MessageState.QUEUED,
            body_lasts=content_lasts(message, now),
            needs_body=_passed_on(before, message),
            keep=self._retention if lifecycle.has_ended(message) else None,
            happenings=tuple(new.values()),
            also=tuple(also),
        )

    def _postpone(self, later: list[Pending], wait: timedelta) -> None:
        """Has events come again; not for ever, whatever keeps them from being applied."""
        now = self._clock()
        given_up = [one for one in later if now - one.received_at > _PATIENCE]
        for one in given_up:
            log.error("event given up", provider=one.provider, attempt=one.event.attempt_id)
        self._finish([(one, (count(one.provider, "given up"),)) for one in given_up])
        self._inbox.postpone([one for one in later if one not in given_up], now + wait)

    def _stray(self, pending: Pending) -> list[Command]:
        log.info(
            "event of no message",
            provider=pending.provider,
            type=pending.event.type,
            attempt=pending.event.attempt_id,
        )
        commands = [count(pending.provider, "strays")]
        for observer in self._stray_observers:
            commands += observer(pending.provider, pending.event)
        return commands


def _is_from(message: Message, number: int, provider: str) -> bool:
    """Whether the message has such an attempt, and asked this provider with it."""
    attempts = message.attempts
    return 0 < number <= len(attempts) and provider in (attempts[number - 1].provider, OURS)


def _is_counted_here(pending: Pending) -> bool:
    """Whether it is an open or a click that we saw: each has come once, and counts for ever."""
    return pending.provider == OURS and pending.event.type in fates.ENGAGEMENTS


def _is_tracked(message: Message, kind: EventType) -> bool:
    """Whether we see opens or clicks of the message ourselves, so that a provider's are the same
    once more."""
    track = message.envelope.track
    return (kind is EventType.OPENED and track.opens) or (
        kind is EventType.CLICKED and track.clicks
    )


def _proves(message: Message, number: int, pending: Pending) -> bool:
    """Whether an event shows that the provider took the attempt.

    Of ours, what a machine did does only where nothing is known: a provider may look at the links
    of a mail that it then turns down.
    """
    if not _is_counted_here(pending) or message.attempts[number - 1].outcome in _IN_DOUBT:
        return True
    return not (pending.event.automatic or _too_soon(message, number, pending.event))


def _too_soon(message: Message, number: int, event: DeliveryEvent) -> bool:
    """Whether what we saw came sooner after its attempt than a person can be."""
    attempt = message.attempts[number - 1]
    taken = attempt.started_at + timedelta(milliseconds=attempt.duration_ms or 0)
    return event.occurred_at < taken + machines.SOONEST


def _happening(message: Message, number: int, pending: Pending) -> Happening:
    event = pending.event
    digest = hashlib.sha256(f"{pending.provider} {event.id}".encode()).digest()
    happening = Happening(
        id=urlsafe_b64encode(digest[:12]).decode(),
        type=event.type,
        at=event.occurred_at,
        provider=pending.provider,
        attempt=number,
        recipient=event.recipient,
        bounce=event.bounce,
        code=event.code,
        reason=event.reason,
        url=event.url,
        automatic=event.automatic
        or (_is_counted_here(pending) and _too_soon(message, number, event)),
    )
    # Spelt as in the message, where it is one of its recipients.
    spelt = fates.recipients_of(message, happening)
    return replace(happening, recipient=next(iter(spelt))) if len(spelt) == 1 else happening


def _passed_on(before: Message, after: Message) -> bool:
    """Whether somebody is to be sent the content again."""
    return any(
        is_now.state is RecipientState.QUEUED and is_now.passed_on != was.passed_on
        for was, is_now in zip(before.recipients, after.recipients, strict=True)
    )


def _states(message: Message) -> list[object]:
    return [message.state, *((r.state, r.bounce) for r in message.recipients)]
