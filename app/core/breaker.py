"""The shared memory of whether each provider is fit to be asked: breakers, rests, pauses.

It lives in Redis (see `fitness`), so that all workers know what one has found out. Decisions are
taken here, in pure functions; what they decide is written if nobody has changed it meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.core.models import Outcome


class BreakerState(StrEnum):
    """Closed: asked as usual. Open: not asked. Half-open: one attempt is finding out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Fitness:
    """What is known of a provider.

    `failures` counts those since the last success or change. `until` ends the open time of an open
    breaker, and the time that a half-open one's probe has. `rest_until` is what the provider itself
    asked for. `reason` says why the breaker is not closed.
    """

    breaker: BreakerState = BreakerState.CLOSED
    failures: int = 0
    changed_at: datetime | None = None
    until: datetime | None = None
    rest_until: datetime | None = None
    paused: bool = False
    reason: str | None = None
    version: int = 0

    def fit_from(self, now: datetime) -> datetime | None:
        """When the provider may be asked (now, if it may be); None while a person has paused it."""
        if self.paused:
            return None
        times = [now]
        if self.breaker is not BreakerState.CLOSED and self.until is not None:
            times.append(self.until)
        if self.rest_until is not None:
            times.append(self.rest_until)
        return max(times)

    @property
    def needs_probe(self) -> bool:
        """Whether the next attempt is the one that finds out."""
        return self.breaker is not BreakerState.CLOSED

    def in_words(self) -> str:
        """Why the provider is not asked now."""
        if self.paused:
            return "is paused"
        if self.breaker is BreakerState.HALF_OPEN:
            return "is being probed"
        if self.breaker is BreakerState.OPEN:
            return f"has an open breaker ({self.reason})"
        return "asked to be left alone"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """`failures` in a row open a breaker for `cooldown`; a probe has `probe` to come back.

    `rest` is for providers that say "too many requests" without saying for how long; what they do
    say is heeded up to `longest_rest`.
    """

    failures: int
    cooldown: timedelta
    probe: timedelta
    rest: timedelta = timedelta(seconds=5)
    longest_rest: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Report:
    """What an attempt says about its provider: its outcome, and when it began."""

    outcome: Outcome
    started_at: datetime
    scope: str | None = None
    reason: str | None = None
    limited: bool = False
    retry_after: float | None = None


_UP = frozenset({Outcome.ACCEPTED, Outcome.REJECTED})


def probing(fitness: Fitness, now: datetime, policy: BreakerPolicy) -> Fitness:
    """The state with one attempt under way that finds out whether the provider is back."""
    return replace(
        fitness,
        breaker=BreakerState.HALF_OPEN,
        failures=0,
        changed_at=now,
        until=now + policy.probe,
    )


def learned(fitness: Fitness, report: Report, now: datetime, policy: BreakerPolicy) -> Fitness:
    """The state after an attempt. What began before the last change says nothing about now."""
    if fitness.changed_at is not None and report.started_at < fitness.changed_at:
        return fitness
    match report.outcome:
        case outcome if outcome in _UP:
            return _closed(fitness, now)
        case Outcome.REFUSED if report.scope == "account":
            return _open(fitness, report, now, policy)
        case Outcome.REFUSED:
            # The provider answered: whoever probed it has found it up, if not for this sender.
            return fitness if fitness.breaker is BreakerState.CLOSED else _closed(fitness, now)
        case _ if report.limited or report.retry_after is not None:
            return _resting(fitness, report, now, policy)
    if fitness.breaker is not BreakerState.CLOSED or fitness.failures + 1 >= policy.failures:
        return _open(fitness, report, now, policy)
    return replace(fitness, failures=fitness.failures + 1)


def least_bad(fitnesses: Mapping[str, Fitness], names: Sequence[str], now: datetime) -> str | None:
    """Of the providers whose breaker is open, the one that is fit soonest.

    One that is paused or rests is never it.
    """
    candidates = [
        (fitness.until, name)
        for name in names
        if (fitness := fitnesses[name]).breaker is BreakerState.OPEN
        and fitness.until is not None
        and not fitness.paused
        and (fitness.rest_until is None or fitness.rest_until <= now)
    ]
    return min(candidates)[1] if candidates else None


def _closed(fitness: Fitness, now: datetime) -> Fitness:
    if fitness.breaker is BreakerState.CLOSED:
        return replace(fitness, failures=0) if fitness.failures else fitness
    return replace(
        fitness,
        breaker=BreakerState.CLOSED,
        failures=0,
        changed_at=now,
        until=None,
        reason=None,
    )


def _open(fitness: Fitness, report: Report, now: datetime, policy: BreakerPolicy) -> Fitness:
    return replace(
        fitness,
        breaker=BreakerState.OPEN,
        failures=0,
        changed_at=now,
        until=now + policy.cooldown,
        reason=report.reason,
    )


def _resting(fitness: Fitness, report: Report, now: datetime, policy: BreakerPolicy) -> Fitness:
    asked_for = policy.rest
    if report.retry_after is not None:
        asked_for = min(timedelta(seconds=report.retry_after), policy.longest_rest)
    until = max(now + asked_for, fitness.rest_until or now)
    rested = replace(fitness, rest_until=until)
    # Too many requests is the answer of a provider that is up.
    return rested if fitness.breaker is BreakerState.CLOSED else _closed(rested, now)
