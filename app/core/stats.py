"""Numbers: how much mail was accepted, and what became of it, by day, provider and tag.

They are no log of events but follow from the messages alone: what a message counts for is a pure
function of its record, and with each of its steps the difference is written, in the same atomic
step. So they are exact however often, late or in whatever order something is told, and a message
that failed, was resent and arrived counts as delivered and not as failed.

They count recipients. A day (UTC) is the one on which a message was accepted, whenever the rest
happens, so that every rate is one of the same mail.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

from redis import Redis

from app.core import keys
from app.core.models import Message, Recipient, RecipientState
from app.core.scripting import Scripts
from app.core.steps import Command, Step

KEPT = timedelta(days=400)
"""How long the numbers of a day are kept; totals stay."""

COUNTS: Mapping[RecipientState, tuple[str, ...]] = MappingProxyType(
    {
        RecipientState.QUEUED: (),
        RecipientState.SENT: ("sent",),
        RecipientState.DEFERRED: ("sent", "deferred"),
        RecipientState.DELIVERED: ("sent", "delivered"),
        RecipientState.BOUNCED: ("sent", "bounced"),
        # Whoever complains has got it.
        RecipientState.COMPLAINED: ("sent", "delivered", "complained"),
        RecipientState.FAILED: ("failed",),
        RecipientState.EXPIRED: ("expired",),
        RecipientState.UNKNOWN: ("unknown",),
        RecipientState.SUPPRESSED: ("suppressed",),
        RecipientState.CANCELLED: ("cancelled",),
    }
)
"""What a recipient counts for in each state, besides `accepted`."""

NAMES = (
    "accepted",
    "sent",
    "deferred",
    "delivered",
    "bounced",
    "complained",
    "opened",
    "clicked",
    "unsubscribed",
    "failed_over",
    "failed_over_after_block",
    "failed",
    "expired",
    "unknown",
    "suppressed",
    "cancelled",
)
"""Everything that is counted. `opened` and `clicked` count recipients who did, once each, and one
for a message of which is not known which of its recipients did;
`failed_over` those whose mail was taken by another provider than the first that was asked, and
`failed_over_after_block` those of them who had it from one that reported a block then."""

RATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "sent": ("sent", "accepted"),
        "delivered": ("delivered", "sent"),
        "bounced": ("bounced", "sent"),
        "complained": ("complained", "delivered"),
        "opened": ("opened", "delivered"),
        "clicked": ("clicked", "delivered"),
        "unsubscribed": ("unsubscribed", "delivered"),
        "failed_over": ("failed_over", "sent"),
        "failed": ("failed", "accepted"),
    }
)
"""Each rate, and what it is a share of."""

BOUNDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
"""Upper bounds, in seconds, of the classes of times; there is one more above the last."""

_ALL, _PROVIDER, _TAG, _TIME = "a", "p", "t", "h"
_Field = tuple[str, str, str]


def observe(step: Step) -> Iterator[Command]:
    """What a step changes in the numbers, as commands to be done with it."""
    before, after = step.before, step.after
    if before is not None and _basis(before) == _basis(after):
        return
    change: dict[_Field, int] = {}
    _count(after, 1, change)
    if before is not None:
        _count(before, -1, change)
    for field in _times(step):
        change[field] = change.get(field, 0) + 1
    day = after.created_at.astimezone(UTC).date()
    name = keys.stats(after.key, day.isoformat())
    for field, number in change.items():
        if number:
            yield ("HINCRBY", name, _text(field), number)
            if field[0] != _TAG:
                yield ("HINCRBY", keys.TOTALS, _text(field), number)
    if before is None:
        yield ("PEXPIRE", name, KEPT // timedelta(milliseconds=1))


def contribution(message: Message) -> Counter[_Field]:
    """What a message counts for: numbers by what they are of (all, a provider, a tag) and name."""
    found: dict[_Field, int] = {}
    _count(message, 1, found)
    return Counter(found)


def _count(message: Message, times: int, found: dict[_Field, int]) -> None:
    """Adds so many times what a message counts for."""
    tags = message.envelope.tags
    for recipient in message.recipients:
        provider, failed_over = _taken_by(message, recipient)
        names = ["accepted", *COUNTS[recipient.state]]
        if recipient.opened is not None:
            names.append("opened")
        if recipient.clicked is not None:
            names.append("clicked")
        if recipient.unsubscribed_at is not None:
            names.append("unsubscribed")
        if failed_over and "sent" in names:
            names.append("failed_over")
            if recipient.passed_on:
                names.append("failed_over_after_block")
        for name in names:
            of = provider if name != "accepted" else None
            _add(found, times, name, tags, of)
    of_somebody = (("opened", message.opened), ("clicked", message.clicked))
    for name in [name for name, engagement in of_somebody if engagement is not None]:
        _add(found, times, name, tags, message.provider)


def _add(
    found: dict[_Field, int], times: int, name: str, tags: Sequence[str], provider: str | None
) -> None:
    fields = [(_ALL, "", name), *[(_TAG, tag, name) for tag in tags]]
    if provider is not None:
        fields.append((_PROVIDER, provider, name))
    for field in fields:
        found[field] = found.get(field, 0) + times


def _basis(message: Message) -> tuple[object, ...]:
    """What decides about the contribution: mostly nothing of it changes, which is seen quickly."""
    accepted = [(a.provider, a.recipients) for a in message.attempts if a.accepted]
    return message.recipients, accepted, message.opened is None, message.clicked is None


def _taken_by(message: Message, recipient: Recipient) -> tuple[str | None, bool]:
    """Who took the message for a recipient, if anybody did, and whether not the first one asked."""
    asked = [a for a in message.attempts if not a.recipients or recipient.email in a.recipients]
    taken = next((a.provider for a in reversed(asked) if a.accepted), None)
    return taken, taken is not None and asked[0].provider != taken


def _times(step: Step) -> Iterator[_Field]:
    """The class of the time that it took, of each recipient who was just sent to or delivered."""
    due = max(step.after.created_at, step.after.send_at or step.after.created_at)
    told = {h.recipient: h.at for h in step.happenings}
    for was, is_now in step.moved:
        known = COUNTS[was.state] if was is not None else ()
        for name in ("sent", "delivered"):
            again = name == "sent" and is_now.passed_on
            if name in COUNTS[is_now.state] and name not in known and not again:
                at = step.after.updated_at
                if name == "delivered":
                    at = told.get(is_now.email, at)
                yield _TIME, name, str(_class((at - due).total_seconds()))


def _class(seconds: float) -> int:
    return bisect_left(BOUNDS, seconds)


def _text(field: _Field) -> str:
    kind, of, name = field
    # Tags may hold any character but controls.
    return f"{kind}\x1f{of}\x1f{name}"


class Numbers:
    """The numbers of some time: what was counted of whom."""

    def __init__(self, found: Mapping[_Field, int]) -> None:
        self._found = Counter(found)

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> "Numbers":
        """The numbers as they stand in Redis."""
        found: dict[_Field, int] = {}
        for text, number in fields.items():
            kind, of, name = text.split("\x1f")
            found[kind, of, name] = int(number)
        return cls(found)

    @classmethod
    def together(cls, numbers: Iterable["Numbers"]) -> "Numbers":
        """The sum of some."""
        return cls(sum((one._found for one in numbers), Counter()))

    def all(self) -> dict[str, int]:
        """The counts of all the mail."""
        return self._of(_ALL, "")

    def by_provider(self) -> dict[str, dict[str, int]]:
        """The counts of each provider who took mail."""
        return {of: self._of(_PROVIDER, of) for of in self._who(_PROVIDER)}

    def by_tag(self) -> dict[str, dict[str, int]]:
        """The counts of the mail with each tag."""
        return {of: self._of(_TAG, of) for of in self._who(_TAG)}

    def times(self, name: str) -> list[int]:
        """How many were `sent` or `delivered` within each class of time: see `BOUNDS`."""
        return [self._found[_TIME, name, str(number)] for number in range(len(BOUNDS) + 1)]

    def _of(self, kind: str, of: str) -> dict[str, int]:
        return {name: self._found[kind, of, name] for name in NAMES}

    def _who(self, kind: str) -> list[str]:
        return sorted({of for found, of, _ in self._found if found == kind})


def rates(counts: Mapping[str, int]) -> dict[str, float | None]:
    """The shares, from 0 to 1; None where there is nothing to be a share of."""
    return {
        name: round(counts[part] / counts[whole], 4) if counts[whole] else None
        for name, (part, whole) in RATES.items()
    }


class Stats:
    """The numbers as they stand in Redis."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def days(self, api_key: str, first: date, last: date) -> dict[date, Numbers]:
        """The numbers of each day that has some, of one API key's mail. Raises StoreUnavailable."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]

        def read(redis: Redis) -> list[dict[str, str]]:
            pipeline = redis.pipeline(transaction=False)
            for day in days:
                pipeline.hgetall(keys.stats(api_key, day.isoformat()))
            return pipeline.execute()

        found = zip(days, self._scripts.read(read), strict=True)
        return {day: Numbers.read(fields) for day, fields in found if fields}

    def totals(self) -> Numbers:
        """Everything since the service began, whoever's it is. Raises StoreUnavailable."""
        return Numbers.read(self._scripts.read(lambda r: r.hgetall(keys.TOTALS)))


def day_of(at: datetime) -> date:
    """The day that a time belongs to."""
    return at.astimezone(UTC).date()
