"""What becomes of the mail that each provider takes: whether any of it seems to be delivered.

A breaker knows what a provider answers. One that answers with an acceptance whatever it is given,
and delivers nothing, is known by what follows: no news, or news of blocks alone. So the recipients
whose mail it took are counted, exactly as in `stats`, by the window of time in which it took it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec.structs import replace
from redis import Redis

from app.core import keys, lifecycle
from app.core.models import Clock, Message
from app.core.records import from_ms, to_ms
from app.core.router import Order
from app.core.scripting import Scripts, StoreUnavailable
from app.core.steps import Command, Step
from providers.types import Bounce

_PARTS = 6
"""So many windows are as long as news is waited for."""
_WINDOWS = 5 * _PARTS
"""So many are looked at: what a provider did before them is forgiven."""
_SHORTEST = timedelta(milliseconds=100)
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_FRESHNESS = 5.0

_Field = tuple[str, int, str]


class Impression(StrEnum):
    """What a provider's record looks like. Unknown: too little mail, or none that tells."""

    UNKNOWN = "unknown"
    WELL = "well"
    SILENT = "silent"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class RecordPolicy:
    """When a record looks bad: `share` (0 to 1) or more of its mail is without news, or blocked.

    Mail has had `after` to bring news; less than `least` recipients say nothing.
    """

    after: timedelta
    least: int
    share: float

    @property
    def window(self) -> timedelta:
        return max(self.after / _PARTS, _SHORTEST)


@dataclass(frozen=True, slots=True)
class Counts:
    """Recipients whose mail a provider took, of whom it told anything, and that it was blocked."""

    taken: int = 0
    heard: int = 0
    blocked: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.taken + other.taken, self.heard + other.heard, self.blocked + other.blocked
        )


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What a provider did with the mail of the last hours; `reason` says why it looks bad."""

    impression: Impression = Impression.UNKNOWN
    reason: str | None = None
    counts: Counts = Counts()


def judged(
    windows: Sequence[tuple[datetime, Counts]], policy: RecordPolicy, now: datetime, *, hears: bool
) -> TrackRecord:
    """The record in windows, the latest first, each with its beginning.

    Silence counts only where a provider `hears`: where its webhooks do come. Of what is old enough,
    the latest counts that is enough to judge by, so that a provider that gets next to no mail for
    its silence is not forgiven at once.
    """
    counts = sum((found for _, found in windows), Counts())
    due = [found for start, found in windows if start + policy.window + policy.after <= now]
    old = _latest(due, policy.least, lambda c: c.taken)
    told = _latest([found for _, found in windows], policy.least, lambda c: c.heard)
    if told is not None and told.blocked >= policy.share * told.heard:
        reason = f"{told.blocked} of the last {told.heard} that it told of were blocked"
        return TrackRecord(Impression.BLOCKED, reason, counts)
    silent = 0 if old is None else max(old.taken - old.heard, 0)
    if hears and old is not None and silent >= policy.share * old.taken:
        reason = f"no news of {silent} of {old.taken} that it took, {_in_words(policy)} later"
        return TrackRecord(Impression.SILENT, reason, counts)
    well = told is not None or (hears and old is not None)
    return TrackRecord(Impression.WELL if well else Impression.UNKNOWN, None, counts)


def moved_back(order: Order, reasons: Mapping[str, str]) -> Order:
    """The order with providers that look bad behind all the others; never without them."""
    last = tuple(name for name in order.providers if name in reasons)
    first = tuple(name for name in order.providers if name not in reasons)
    if not last or not first or first + last == order.providers:
        return order
    return replace(
        order,
        providers=first + last,
        drawn=order.drawn if first[0] == order.providers[0] else f"next in {order.name}",
        left_out=(
            *order.left_out,
            *(f"{name} was moved back: {reasons[name]}" for name in last),
        ),
    )


def observer(policy: RecordPolicy) -> Callable[[Step], Iterator[Command]]:
    """What counts: see `steps`."""
    length = policy.window // _MILLISECOND
    kept = (_WINDOWS * policy.window + policy.after) // _MILLISECOND

    def observe(step: Step) -> Iterator[Command]:
        before, after = step.before, step.after
        if before is None or not any(attempt.accepted for attempt in after.attempts):
            return
        if before.recipients is after.recipients and before.attempts is after.attempts:
            return
        known, oldest = _contribution(before, length), to_ms(after.updated_at) - kept
        touched = {}
        now = _contribution(after, length)
        for field in known | now:
            provider, start, name = field
            change = now.get(field, 0) - known.get(field, 0)
            # Nobody looks at what is older.
            if change and start > oldest:
                key = keys.track_record(provider, start)
                yield ("HINCRBY", key, name, change)
                touched[key] = kept
        for key, milliseconds in touched.items():
            yield ("PEXPIRE", key, milliseconds)

    return observe


class TrackRecords:
    """The records of some providers as they stand in Redis. Safe to use from several threads.

    What was read is used for some seconds, so that a choice costs no round trip here. Without a
    `policy`, nothing is counted and nothing is bad.
    """

    def __init__(
        self,
        scripts: Scripts,
        policy: RecordPolicy | None,
        hearing: Mapping[str, bool],
        clock: Clock,
        monotonic: Callable[[], float],
    ) -> None:
        self._scripts = scripts
        self._policy = policy
        self._hearing = hearing
        self._clock = clock
        self._monotonic = monotonic
        window = 0.0 if policy is None else policy.window.total_seconds()
        self._freshness = min(_LONGEST_FRESHNESS, window / 2)
        self._seen: Mapping[str, str] = {}
        self._at = float("-inf")

    def bad(self) -> Mapping[str, str]:
        """The providers that look bad, and why; as seen last where Redis is away."""
        now = self._monotonic()
        if self._policy is not None and now - self._at >= self._freshness:
            # While one looks, the others go by what was seen last.
            self._at = now
            try:
                self._seen = {
                    name: record.reason
                    for name, record in self.all().items()
                    if record.reason is not None
                }
            except StoreUnavailable:
                return self._seen
        return self._seen

    def all(self) -> dict[str, TrackRecord]:
        """The record of every provider. Raises StoreUnavailable."""
        policy = self._policy
        if policy is None:
            return dict.fromkeys(self._hearing, TrackRecord())
        now = self._clock()
        starts = _starts(now, policy.window)

        def read(redis: Redis) -> list[dict[str, str]]:
            pipeline = redis.pipeline(transaction=False)
            pipeline.hgetall(keys.WEBHOOKS)
            for name in self._hearing:
                for start in starts:
                    pipeline.hgetall(keys.track_record(name, start))
            return pipeline.execute()

        told, *found = self._scripts.read(read)
        return {
            name: judged(
                [
                    (from_ms(start), _counts(fields))
                    for start, fields in zip(starts, found[place * len(starts) :], strict=False)
                ],
                policy,
                now,
                # What never came may have been sent to where nobody hears it.
                hears=hears and int(told.get(f"{name} events", 0)) > 0,
            )
            for place, (name, hears) in enumerate(self._hearing.items())
        }


def _contribution(message: Message, length: int) -> dict[_Field, int]:
    """What a message counts for: numbers by provider, beginning of the window (ms), and name."""
    found: dict[_Field, int] = {}
    for number, attempt in enumerate(message.attempts, 1):
        if not attempt.accepted:
            continue
        start = to_ms(attempt.started_at) // length * length
        for recipient in message.recipients:
            if not lifecycle.is_for(attempt, recipient):
                continue
            _add(found, (attempt.provider, start, "taken"))
            report = next((r for r in recipient.reports if r.attempt == number), None)
            if report is not None:
                _add(found, (attempt.provider, start, "heard"))
                if report.bounce is Bounce.BLOCK:
                    _add(found, (attempt.provider, start, "blocked"))
    return found


def _add(found: dict[_Field, int], field: _Field) -> None:
    found[field] = found.get(field, 0) + 1


def _latest(counts: Sequence[Counts], least: int, of: Callable[[Counts], int]) -> Counts | None:
    """The first of some counts that come to enough, together; None where all do not."""
    together = Counts()
    for one in counts:
        together += one
        if of(together) >= least:
            return together
    return None


def _starts(now: datetime, window: timedelta) -> list[int]:
    """The beginnings of the windows that are looked at, in milliseconds, the latest first."""
    length = window // _MILLISECOND
    latest = to_ms(now) // length * length
    return [latest - number * length for number in range(_WINDOWS)]


def _counts(fields: Mapping[str, str]) -> Counts:
    return Counts(*(int(fields.get(name, 0)) for name in ("taken", "heard", "blocked")))


def _in_words(policy: RecordPolicy) -> str:
    seconds = policy.after.total_seconds()
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
