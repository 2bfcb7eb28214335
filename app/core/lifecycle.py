"""How a message and its recipients move from state to state: tables and pure functions, no I/O.

Each function takes a message and news about it and returns the message as it is afterwards. News
that comes late, twice or out of order changes nothing: what the table does not name is no move.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from app.core.models import (
    Attempt,
    Finding,
    Message,
    MessageState,
    Outcome,
    Recipient,
    RecipientState,
    Source,
)
from providers.types import NotTaken

_SHORTEST_LOOK = timedelta(milliseconds=50)
#: How long after an unknown outcome, or one more, a call is made again where that is safe.
_REPEAT_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 4, 8))
_REASON_LIMIT = 300


class News(StrEnum):
    """What can be learnt about a recipient."""

    ACCEPTED = "accepted"
    FOUND = "found"
    REJECTED = "rejected"
    HELD = "held"
    RELEASED = "released"
    RESENT = "resent"
    EXPIRED = "expired"
    DROPPED = "dropped"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    PASSED_ON = "passed_on"


MOVES: Mapping[News, Mapping[RecipientState, RecipientState]] = MappingProxyType(
    {
        News.ACCEPTED: {RecipientState.QUEUED: RecipientState.SENT},
        News.FOUND: {
            RecipientState.QUEUED: RecipientState.SENT,
            RecipientState.UNKNOWN: RecipientState.SENT,
            RecipientState.EXPIRED: RecipientState.SENT,
            RecipientState.FAILED: RecipientState.SENT,
            RecipientState.CANCELLED: RecipientState.SENT,
        },
        News.REJECTED: {
            RecipientState.QUEUED: RecipientState.FAILED,
            RecipientState.UNKNOWN: RecipientState.FAILED,
        },
        News.HELD: {RecipientState.QUEUED: RecipientState.UNKNOWN},
        News.RELEASED: {RecipientState.UNKNOWN: RecipientState.QUEUED},
        News.RESENT: {
            RecipientState.FAILED: RecipientState.QUEUED,
            RecipientState.EXPIRED: RecipientState.QUEUED,
        },
        News.EXPIRED: {RecipientState.QUEUED: RecipientState.EXPIRED},
        News.DROPPED: {
            RecipientState.EXPIRED: RecipientState.FAILED,
            RecipientState.UNKNOWN: RecipientState.FAILED,
        },
        News.CANCELLED: {RecipientState.QUEUED: RecipientState.CANCELLED},
        News.SUPPRESSED: {RecipientState.QUEUED: RecipientState.SUPPRESSED},
        # The one way back from what a provider reported, for who asked for it: see `passed_on`.
        News.PASSED_ON: {
            RecipientState.BOUNCED: RecipientState.QUEUED,
            RecipientState.FAILED: RecipientState.QUEUED,
        },
    }
)
"""Every move of a recipient. Whatever is not named here leaves the recipient where it is."""

WORK_STATES = frozenset(
    {
        MessageState.SCHEDULED,
        MessageState.QUEUED,
        MessageState.SENDING,
        MessageState.RETRYING,
    }
)
"""The states of a message that still has work to be done."""

AGREED: Mapping[RecipientState, MessageState] = MappingProxyType(
    {
        RecipientState.QUEUED: MessageState.QUEUED,
        RecipientState.SENT: MessageState.SENT,
        RecipientState.DELIVERED: MessageState.DELIVERED,
        RecipientState.DEFERRED: MessageState.SENT,
        RecipientState.BOUNCED: MessageState.BOUNCED,
        RecipientState.COMPLAINED: MessageState.COMPLAINED,
        RecipientState.FAILED: MessageState.FAILED,
        RecipientState.UNKNOWN: MessageState.UNKNOWN,
        RecipientState.SUPPRESSED: MessageState.SUPPRESSED,
        RecipientState.CANCELLED: MessageState.CANCELLED,
        RecipientState.EXPIRED: MessageState.EXPIRED,
    }
)
"""The state of a message without work, where all its recipients agree."""


class Verdict(Struct, frozen=True):
    """How an attempt ended. `recipients` are those that a rejection named; none means everybody.

    An acceptance was not for those `not_taken`.
    """

    outcome: Outcome
    reason: str | None = None
    scope: str | None = None
    recipients: tuple[str, ...] = ()
    status_code: int | None = None
    provider_message_id: str | None = None
    duration_ms: int | None = None
    limited: bool = False
    retry_after: float | None = None
    not_taken: tuple[NotTaken, ...] = ()


def move(recipient: Recipient, news: News, reason: str | None = None) -> Recipient:
    """The recipient after the news; itself where the table names no move."""
    state = MOVES[news].get(recipient.state)
    if state is None:
        return recipient
    return replace(recipient, state=state, reason=reason, bounce=None, code=None)


def settled_state(recipients: Iterable[Recipient]) -> MessageState:
    """The state of a message without work: what its recipients agree on, or `partial`."""
    states = {AGREED[recipient.state] for recipient in recipients}
    if len(states) > 1:
        states.discard(MessageState.SUPPRESSED)
    return states.pop() if len(states) == 1 else MessageState.PARTIAL


def outstanding(message: Message) -> tuple[Recipient, ...]:
    """The recipients to whom the message is still to be sent."""
    return tuple(r for r in message.recipients if r.state is RecipientState.QUEUED)


def offered(message: Message) -> tuple[Recipient, ...]:
    """Those of the outstanding whom the next attempt is for: all whom the same providers may ask.

    Who was passed on comes after the others.
    """
    waiting = outstanding(message)
    if not any(recipient.passed_on for recipient in waiting):
        return waiting
    closed = [closed_to(message, recipient) for recipient in waiting]
    first = frozenset() if frozenset() in closed else closed[0]
    return tuple(r for r, names in zip(waiting, closed, strict=True) if names == first)


def closed_to(message: Message, recipient: Recipient) -> frozenset[str]:
    """The providers who had, or may have had, the copy of a recipient who was passed on."""
    number = recipient.passed_on
    # Whoever has it resent may want it from anybody.
    if not number or message.attempts[number - 1].round < message.first_round:
        return frozenset()
    return frozenset(
        attempt.provider
        for attempt in message.attempts[:number]
        if (attempt.accepted or attempt.unresolved) and is_for(attempt, recipient)
    )


def passed_on(message: Message, emails: Collection[str], number: int, now: datetime) -> Message:
    """The message with recipients back in the queue whose copy, of this attempt, was blocked."""
    recipients = tuple(
        replace(move(recipient, News.PASSED_ON), passed_on=number)
        if recipient.email in emails
        else recipient
        for recipient in message.recipients
    )
    message = replace(message, recipients=recipients, updated_at=now)
    if message.state in WORK_STATES:
        return message
    return replace(queued(message, now), round=message.round + 1, reason=None)


def has_ended(message: Message) -> bool:
    """Whether nothing more will be done for the message unless somebody asks for it.

    A message that is held for an answer has not: it waits for one until its time is over.
    """
    return message.state not in WORK_STATES and message.next_attempt_at is None


def may_have_been_sent(message: Message) -> bool:
    """Whether nobody knows of an attempt if it was accepted: one more could make a second copy."""
    return any(attempt.unresolved for attempt in message.attempts)


def scheduled(message: Message, at: datetime, expires_at: datetime, now: datetime) -> Message:
    """The message that waits for its time; queued where that has come already."""
    if at <= now:
        return replace(queued(message, now), send_at=at, expires_at=expires_at)
    return replace(
        message,
        state=MessageState.SCHEDULED,
        send_at=at,
        next_attempt_at=at,
        expires_at=expires_at,
        updated_at=now,
    )


def is_waiting(message: Message) -> bool:
    """Whether something is still to be done for the message, and nobody is doing it."""
    return not has_ended(message) and message.state is not MessageState.SENDING


def cancelled(message: Message, now: datetime) -> Message:
    """The waiting message called back: nothing more is sent; `unknown` if something may have been.

    Whatever turns up about what may have been sent is still taken into account.
    """
    news = News.HELD if may_have_been_sent(message) else News.CANCELLED
    return _tell(replace(message, cancelled=True), news, now, "called back")


def suppressed(message: Message, reasons: Mapping[str, str], now: datetime) -> Message:
    """The message without those who are not to be mailed; `reasons` by bare address.

    Whoever may have got a copy already is `unknown`: others who still wait get theirs.
    """
    for email, reason in reasons.items():
        in_doubt = any(
            attempt.unresolved and email in (attempt.recipients or (email,))
            for attempt in message.attempts
        )
        news = News.HELD if in_doubt else News.SUPPRESSED
        message = _tell(message, news, now, reason, (email,))
    return message


def queued(message: Message, now: datetime) -> Message:
    """The message whose turn has come, or whose worker is gone: free for any worker to claim."""
    return replace(
        message,
        state=MessageState.QUEUED,
        next_attempt_at=None,
        lease=None,
        updated_at=now,
    )


def attempt_opened(message: Message, attempt: Attempt) -> Message:
    """The message with one more attempt: from here on a second copy is possible if one may be."""
    waiting_for_it = offered(message)
    if len(waiting_for_it) < len(message.recipients):
        attempt = replace(attempt, recipients=tuple(r.email for r in waiting_for_it))
    return replace(
        message,
        attempts=(*message.attempts, attempt),
        possible_duplicate=message.possible_duplicate or may_have_been_sent(message),
        updated_at=attempt.started_at,
    )


def attempt_closed(
    message: Message,
    verdict: Verdict,
    now: datetime,
    grace: timedelta | None = None,
    *,
    repeatable: bool = False,
) -> Message:
    """The message with its open attempt closed, and what follows from it for the recipients.

    After an unknown outcome it waits for `grace`, where evidence can come, before anything follows;
    where the call is `repeatable`, it waits to make it again.
    """
    attempt = message.open_attempt
    if attempt is None:
        return message
    closed = replace(
        attempt,
        outcome=verdict.outcome,
        scope=verdict.scope,
        reason=verdict.reason,
        status_code=verdict.status_code,
        provider_message_id=verdict.provider_message_id,
        duration_ms=verdict.duration_ms,
    )
    message = replace(message, attempts=(*message.attempts[:-1], closed), updated_at=now)
    match verdict.outcome:
        case Outcome.ACCEPTED if verdict.not_taken:
            return _partly_taken(message, verdict.not_taken, now)
        case Outcome.ACCEPTED:
            return _tell(message, News.ACCEPTED, now, only=attempt.recipients)
        case Outcome.REJECTED:
            # It says nothing of those who were not asked for, such as one whose fate is unknown.
            told_of = verdict.recipients or attempt.recipients
            return _tell(message, News.REJECTED, now, verdict.reason, told_of)
        case Outcome.UNKNOWN if grace is not None:
            return in_grace(replace(message, grace_until=now + grace), now, repeatable=repeatable)
        case Outcome.UNKNOWN:
            return doubt_kept(message, now)
    return message


def _partly_taken(message: Message, not_taken: tuple[NotTaken, ...], now: datetime) -> Message:
    """The message that was taken for some: the rejected fail, the rest is to be offered again.

    The attempt is then one for those for whom it was taken, which is all that evidence of it says.
    """
    left_out = {one.email for one in not_taken}
    asked_for = offered(message)
    taken = tuple(r.email for r in asked_for if r.email not in left_out)
    attempt = replace(message.attempts[-1], recipients=taken)
    if attempt.reason is None:
        reasons = "; ".join(dict.fromkeys(one.reason for one in not_taken))
        reason = f"taken, but not for {len(not_taken)} of its recipients: {reasons}"
        attempt = replace(attempt, reason=reason[:_REASON_LIMIT])
    message = message.with_last_attempt(attempt)
    for one in not_taken:
        if one.rejected:
            message = _tell(message, News.REJECTED, now, one.reason, (one.email,))
    return _tell(message, News.ACCEPTED, now, only=taken) if taken else message


def in_grace(message: Message, now: datetime, *, repeatable: bool = False) -> Message:
    """The message while evidence is awaited: it is looked for half way through, and at the end.

    Where its last call is `repeatable`, that is made again meanwhile, after ever longer pauses.
    """
    until = message.grace_until or now
    pauses = _REPEAT_PAUSES[message.attempts[-1].repeats :] if repeatable else ()
    pause = pauses[0] if pauses else max((until - now) / 2, _SHORTEST_LOOK)
    return replace(
        message,
        state=MessageState.RETRYING,
        next_attempt_at=min(now + pause, until),
        lease=None,
        updated_at=now,
    )


def is_to_be_repeated(message: Message, now: datetime, within: timedelta | None) -> bool:
    """Whether the last call, of which nobody knows, is to be made again just as it was.

    `within` is how long after an attempt began its provider knows it again; None where it does not.
    """
    if within is None or message.grace_until is None or not message.attempts:
        return False
    attempt = message.attempts[-1]
    asked_for = attempt.recipients or tuple(r.email for r in message.recipients)
    return (
        attempt.unresolved
        and attempt.repeats < len(_REPEAT_PAUSES)
        and now < min(message.grace_until, message.expires_at, attempt.started_at + within)
        # For fewer it would be another request, which says nothing of the first.
        and tuple(recipient.email for recipient in offered(message)) == asked_for
    )


def repeated(message: Message) -> Message:
    """The message whose last call was made again, and was not answered with an acceptance.

    Whatever else the answer was, it says nothing of the first call.
    """
    attempt = message.attempts[-1]
    return message.with_last_attempt(replace(attempt, repeats=attempt.repeats + 1))


def doubt_kept(message: Message, now: datetime) -> Message:
    """The message when no evidence has come: it goes on, or is held until somebody knows."""
    message = replace(message, grace_until=None, updated_at=now)
    if message.envelope.on_unknown == "failover" or not may_have_been_sent(message):
        return message
    held = _tell(message, News.HELD, now, message.attempts[-1].reason)
    return replace(held, state=MessageState.UNKNOWN, next_attempt_at=message.expires_at)


def waiting(
    message: Message, until: datetime, now: datetime, *, round_over: bool = True
) -> Message:
    """The message after a round without acceptance: it rests, and then begins the next one.

    Where nobody was fit to be asked, the round is not over, and none is spent.
    """
    return replace(
        message,
        state=MessageState.RETRYING,
        round=message.round + 1 if round_over else message.round,
        next_attempt_at=min(until, message.expires_at),
        lease=None,
        updated_at=now,
    )


def expired(message: Message, now: datetime) -> Message:
    """The message at the end of its time: `unknown` if it may have been sent, else `expired`."""
    news = News.HELD if may_have_been_sent(message) else News.EXPIRED
    return _tell(message, news, now, "its time ran out")


def given_up(message: Message, reason: str, now: datetime) -> Message:
    """The message that nobody can carry: failed, with the reason."""
    waiting_for_it = tuple(recipient.email for recipient in offered(message))
    return _tell(message, News.REJECTED, now, reason, waiting_for_it)


def weighed(message: Message, now: datetime) -> Message:
    """The message with what its evidence says taken into account.

    Somebody's acceptance ends it. Where evidence leaves no doubt, a held message goes on for those
    whom no acceptance was for, or ends as what it would have been without the doubt.
    """
    if not any(attempt.evidence for attempt in message.attempts):
        return message
    found = [
        (number, attempt)
        for number, attempt in enumerate(message.attempts, 1)
        if attempt.evidence is not None and attempt.accepted
    ]
    settled = message
    if found:
        for number, attempt in found:
            # Whoever it is known not to have reached may be offered it again.
            reached = tuple(r.email for r in message.recipients if not r.came_back(number))
            named = tuple(email for email in attempt.recipients or reached if email in reached)
            settled = _tell(settled, News.FOUND, now, only=named) if named else settled
        settled = message if settled.recipients == message.recipients else settled
    if message.state is not MessageState.UNKNOWN or may_have_been_sent(message):
        return settled
    last = message.attempts[-1].evidence
    if not found and last is not None and last.finding is Finding.REJECTED:
        settled = _tell(message, News.REJECTED, now, last.reason, last.recipients)
    free = tuple(r.email for r in settled.recipients if _is_out_of_doubt(settled, r))
    if not free:
        return settled
    doubtful = any(
        a.evidence is not None and a.evidence.source is Source.OPERATOR for a in message.attempts
    )
    released = replace(
        _tell(settled, News.RELEASED, now, only=free),
        possible_duplicate=message.possible_duplicate or doubtful,
    )
    if message.cancelled:
        return _tell(released, News.CANCELLED, now, "called back")
    if now >= message.expires_at:
        return _tell(released, News.EXPIRED, now, "its time ran out")
    return queued(released, now)


def _is_out_of_doubt(message: Message, recipient: Recipient) -> bool:
    """Whether a recipient is unknown, and no attempt reached them or may have."""
    return recipient.state is RecipientState.UNKNOWN and not any(
        (attempt.unresolved or (attempt.accepted and not recipient.came_back(number)))
        and is_for(attempt, recipient)
        for number, attempt in enumerate(message.attempts, 1)
    )


def is_for(attempt: Attempt, recipient: Recipient) -> bool:
    """Whether a recipient is one of those whom an attempt is for."""
    return not attempt.recipients or recipient.email in attempt.recipients


def resent(
    message: Message,
    now: datetime,
    expires_at: datetime,
    recipients: tuple[str, ...] = (),
    order: tuple[str, ...] = (),
) -> Message:
    """A new generation of a dead letter: the same message, offered again to those it did not reach.

    `recipients` (bare addresses; none means all) and `order` (of providers) narrow it. The message
    itself where there is nobody to send it to.
    """
    again = _tell(message, News.RESENT, now, only=recipients)
    if not outstanding(again):
        return message
    return replace(
        queued(again, now),
        round=message.round + 1,
        first_round=message.round + 1,
        order=order,
        expires_at=expires_at,
        reason=None,
        cancelled=False,
    )


def dropped(message: Message, now: datetime) -> Message:
    """A dead letter that a person has given up."""
    return replace(_tell(message, News.DROPPED, now, "given up by a person"), next_attempt_at=None)


def round_wait(schedule: tuple[float, ...], round_number: int, jitter: float) -> timedelta:
    """How long to rest after a round (counted from 1); the schedule's last entry repeats.

    `jitter` in [0, 1) spreads the rest over 80 to 120 per cent of the schedule's, so that mail that
    failed together does not come back together.
    """
    seconds = schedule[min(round_number, len(schedule)) - 1]
    return timedelta(seconds=seconds * (0.8 + 0.4 * jitter))


def _tell(
    message: Message,
    news: News,
    now: datetime,
    reason: str | None = None,
    only: tuple[str, ...] = (),
) -> Message:
    recipients = tuple(
        move(recipient, news, reason) if not only or recipient.email in only else recipient
        for recipient in message.recipients
    )
    if any(recipient.state is RecipientState.QUEUED for recipient in recipients):
        return replace(message, recipients=recipients, updated_at=now)
    return replace(
        message,
        recipients=recipients,
        updated_at=now,
        state=settled_state(recipients),
        reason=reason,
        next_attempt_at=None,
        grace_until=None,
        lease=None,
    )
