"""What becomes of a recipient once a provider took the message: tables and pure functions, no I/O.

Providers report late, twice and in any order, and a message may have been taken by two of them. So
a recipient's state is no chain of moves but follows from the reports that there are, whatever their
order: of each attempt the weightiest counts (`WEIGHTS`); a copy that was delivered, or complained
of, decides for the recipient; otherwise the last attempt that was accepted does.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from msgspec.structs import replace

from app.core.lifecycle import WORK_STATES, outstanding, settled_state
from app.core.models import (
    Engagement,
    Happening,
    Message,
    MessageState,
    Recipient,
    RecipientState,
    Report,
)
from providers.types import Bounce, EventType

Standing = tuple[RecipientState, Bounce | None]

_Counting = TypeVar("_Counting", Message, Recipient)

ENGAGEMENTS = frozenset({EventType.OPENED, EventType.CLICKED})
"""The events that are counted, as they may come again and again."""

STANDINGS: Mapping[tuple[EventType, Bounce | None], Standing | None] = MappingProxyType(
    {
        (EventType.ACCEPTED, None): None,
        (EventType.UNSUBSCRIBED, None): None,
        (EventType.DEFERRED, None): (RecipientState.DEFERRED, None),
        (EventType.DELIVERED, None): (RecipientState.DELIVERED, None),
        # News of a delivery may be lost: what was opened has arrived.
        (EventType.OPENED, None): (RecipientState.DELIVERED, None),
        (EventType.CLICKED, None): (RecipientState.DELIVERED, None),
        (EventType.BOUNCED, None): (RecipientState.BOUNCED, Bounce.SOFT),
        (EventType.BOUNCED, Bounce.SOFT): (RecipientState.BOUNCED, Bounce.SOFT),
        (EventType.BOUNCED, Bounce.BLOCK): (RecipientState.BOUNCED, Bounce.BLOCK),
        (EventType.BOUNCED, Bounce.HARD): (RecipientState.BOUNCED, Bounce.HARD),
        (EventType.REJECTED, None): (RecipientState.FAILED, None),
        (EventType.REJECTED, Bounce.SOFT): (RecipientState.FAILED, Bounce.SOFT),
        (EventType.REJECTED, Bounce.BLOCK): (RecipientState.FAILED, Bounce.BLOCK),
        (EventType.REJECTED, Bounce.HARD): (RecipientState.FAILED, Bounce.HARD),
        (EventType.COMPLAINED, None): (RecipientState.COMPLAINED, None),
    }
)
"""Where each kind of event says that a recipient stands; None where it says nothing of that."""

WEIGHTS: Mapping[Standing, int] = MappingProxyType(
    {
        (RecipientState.DEFERRED, None): 1,
        # An out-of-office answer is reported as a soft bounce, after the delivery or before.
        (RecipientState.BOUNCED, Bounce.SOFT): 2,
        (RecipientState.FAILED, None): 3,
        (RecipientState.FAILED, Bounce.SOFT): 4,
        (RecipientState.FAILED, Bounce.BLOCK): 5,
        (RecipientState.FAILED, Bounce.HARD): 6,
        (RecipientState.DELIVERED, None): 7,
        # Servers take mail and send it back later.
        (RecipientState.BOUNCED, Bounce.BLOCK): 8,
        (RecipientState.BOUNCED, Bounce.HARD): 9,
        (RecipientState.COMPLAINED, None): 10,
    }
)
"""Of two reports on the same attempt, the weightier one counts."""

DECISIVE = (RecipientState.COMPLAINED, RecipientState.DELIVERED)
"""What counts whichever copy it is about, the first before the second."""

TAKEN = frozenset(
    {
        RecipientState.SENT,
        RecipientState.DELIVERED,
        RecipientState.DEFERRED,
        RecipientState.BOUNCED,
        RecipientState.COMPLAINED,
    }
)
"""The states of recipients for whom a provider took the message. Reports move these, and a failure
that was reported; all other states only by what is decisive, and never the suppressed."""

_BAD = (RecipientState.BOUNCED, RecipientState.FAILED)


def told(message: Message, happening: Happening, now: datetime) -> Message:
    """The message after one more report, which is new; updated in any case.

    A report that names no recipient is about the attempt's only one, where it had just one. An open
    or a click of one of several is the message's own.
    """
    concerned = recipients_of(message, happening)
    if not concerned and not happening.recipient:
        message = _counted(message, happening)
    recipients = tuple(
        _told(message, recipient, happening) if recipient.email in concerned else recipient
        for recipient in message.recipients
    )
    message = replace(
        message,
        recipients=recipients,
        updated_at=now,
        possible_duplicate=message.possible_duplicate
        or _taken_twice(message)
        or _arrived_after_all(message, happening),
    )
    if message.state in WORK_STATES and outstanding(message):
        return message
    state = settled_state(recipients)
    return replace(
        message,
        state=state,
        reason=_reason(message, state),
        # One that is held for an answer to another attempt is held still.
        next_attempt_at=message.next_attempt_at if state is MessageState.UNKNOWN else None,
        grace_until=None,
        lease=None,
    )


def recipients_of(message: Message, happening: Happening) -> frozenset[str]:
    """The bare addresses that a report is about, as they are spelt in the message."""
    carried = _carried(message, happening.attempt)
    if not happening.recipient:
        return carried if len(carried) == 1 else frozenset()
    exact = frozenset({happening.recipient}) & carried
    # Providers change the case of addresses.
    wanted = happening.recipient.casefold()
    return exact or frozenset(email for email in carried if email.casefold() == wanted)


def content_is_done(message: Message) -> bool:
    """Whether nobody can be sent the message any more, so that its content may go."""
    done = TAKEN | {RecipientState.SUPPRESSED}
    return all(recipient.state in done for recipient in message.recipients)


def _carried(message: Message, attempt: int) -> frozenset[str]:
    named = message.attempts[attempt - 1].recipients
    return frozenset(named or (r.email for r in message.recipients))


def _told(message: Message, recipient: Recipient, happening: Happening) -> Recipient:
    recipient = _counted(recipient, happening)
    if happening.type is EventType.UNSUBSCRIBED and recipient.unsubscribed_at is None:
        recipient = replace(recipient, unsubscribed_at=happening.at)
    kind = happening.type, happening.bounce
    standing = STANDINGS.get(kind, STANDINGS[(happening.type, None)])
    # A machine may look at a mail before the recipient's server has decided about it.
    if standing is None or (happening.automatic and happening.type in ENGAGEMENTS):
        return recipient
    words = standing[0] is RecipientState.DEFERRED or standing[0] in _BAD
    report = Report(
        happening.attempt,
        *standing,
        code=happening.code if words else None,
        reason=happening.reason if words else None,
    )
    known = {r.attempt: r for r in recipient.reports}
    before = known.get(happening.attempt)
    if before is None or WEIGHTS[standing] >= WEIGHTS[before.state, before.bounce]:
        known[happening.attempt] = report
    reports = tuple(known[number] for number in sorted(known))
    follows = recipient.state in TAKEN or _failed_by_report(recipient)
    return _decided(message, replace(recipient, reports=reports), follows)


def _decided(message: Message, recipient: Recipient, follows: bool) -> Recipient:
    """The recipient in the state that follows from its reports; unless its state `follows` from
    such already, only in one that is decisive."""
    if recipient.state is RecipientState.SUPPRESSED:
        return recipient
    by_attempt = {report.attempt: report for report in recipient.reports}
    deciding = next(
        (r for state in DECISIVE for r in reversed(recipient.reports) if r.state is state), None
    )
    if deciding is None and follows:
        deciding = by_attempt.get(_last_accepted(message, recipient))
    if deciding is None:
        return recipient
    return replace(
        recipient,
        state=deciding.state,
        bounce=deciding.bounce,
        code=deciding.code,
        reason=deciding.reason,
    )


def _failed_by_report(recipient: Recipient) -> bool:
    return recipient.state is RecipientState.FAILED and any(
        report.state is RecipientState.FAILED for report in recipient.reports
    )


def _last_accepted(message: Message, recipient: Recipient) -> int:
    """The number of the last attempt that was accepted for the recipient; 0 if none was."""
    return max(
        (
            number
            for number, attempt in enumerate(message.attempts, 1)
            if attempt.accepted and recipient.email in _carried(message, number)
        ),
        default=0,
    )


def _taken_twice(message: Message) -> bool:
    """Whether two providers took the message for somebody, and neither is known to have failed."""
    accepted = [n for n, attempt in enumerate(message.attempts, 1) if attempt.accepted]
    return any(
        sum(r.email in _carried(message, n) and not r.came_back(n) for n in accepted) > 1
        for r in message.recipients
    )


def _arrived_after_all(message: Message, happening: Happening) -> bool:
    """Whether a copy has arrived that was blocked, wherefore another one is on its way."""
    arrived = STANDINGS.get((happening.type, happening.bounce)) == (RecipientState.DELIVERED, None)
    # What opens a mail to look at it may be what blocks it.
    if not arrived or happening.automatic:
        return False
    concerned = recipients_of(message, happening)
    return any(r.passed_on >= happening.attempt for r in message.recipients if r.email in concerned)


def _counted(of: _Counting, happening: Happening) -> _Counting:
    if happening.automatic:
        return of
    if happening.type is EventType.OPENED:
        return replace(of, opened=_once_more(of.opened, happening.at))
    if happening.type is EventType.CLICKED:
        return replace(of, clicked=_once_more(of.clicked, happening.at))
    return of


def _once_more(known: Engagement | None, at: datetime) -> Engagement:
    if known is None:
        return Engagement(1, at, at)
    return Engagement(known.count + 1, min(known.first_at, at), max(known.last_at, at))


def _reason(message: Message, state: MessageState) -> str | None:
    if state in (MessageState.BOUNCED, MessageState.FAILED):
        return next((r.reason for r in message.recipients if r.reason), message.reason)
    return message.reason if state in (MessageState.PARTIAL, MessageState.UNKNOWN) else None
