"""Choosing whom to ask: what is known of the providers, put before the router's decision."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from app.core import breaker, lifecycle
from app.core.block_failover import elsewhere
from app.core.fitness import Breakers
from app.core.models import Message
from app.core.quotas import Quotas
from app.core.route_book import RouteBook
from app.core.router import Candidate, Choice, NoChoice, choose
from app.core.routes import order_of
from app.core.tokens import Grant, Shortage
from app.core.track_record import TrackRecords, moved_back
from providers.base import Provider
from providers.types import Email

_SHORTEST_WAIT = timedelta(seconds=1)
_PROBE_WAIT = timedelta(seconds=2)
_SENDER_WAIT = timedelta(minutes=5)


class Chooser:
    """Chooses the provider for an attempt. Safe to use from several threads at once.

    `last_chance` before it expires, a message that found nobody fit is offered to the least bad.
    `random` gives numbers in [0, 1). With `track_records`, who looks bad there is asked last.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        configured: Sequence[str],
        retry_schedule: tuple[float, ...],
        last_chance: timedelta,
        breakers: Breakers,
        random: Callable[[], float],
        routes: RouteBook | None = None,
        quotas: Quotas | None = None,
        track_records: TrackRecords | None = None,
    ) -> None:
        self._providers = providers
        self._configured = tuple(configured)
        self._retry_schedule = retry_schedule
        self._last_chance_within = last_chance
        self._breakers = breakers
        self._random = random
        self._routes = routes
        self._quotas = quotas
        self._track_records = track_records

    def choose(self, message: Message, email: Email, now: datetime) -> Choice | Message:
        """Whom to ask now; or the message as it is where nobody is: it waits, or is given up."""
        table = None if self._routes is None else self._routes.table()
        order = elsewhere(order_of(message, self._configured, table), message)
        if self._track_records is not None:
            order = moved_back(order, self._track_records.bad())
        candidates = _Candidates(order.providers, lambda name: self._candidate(name, email, now))
        choice = choose(message, candidates.values(), order)
        short = set()
        while isinstance(choice, Choice):
            name = choice.provider
            # Before a probe, for which there would be no second try for a while.
            grant = self._grant(name, candidates, email)
            if isinstance(grant, Shortage):
                short.add(name)
                fit_from = now + timedelta(seconds=grant.seconds)
                candidates[name] = replace(
                    candidates[name], unfit=grant.words, fit_from=fit_from, probe=False
                )
            elif not choice.probe or self._breakers.begin_probe(name, now):
                choice = replace(choice, grant=grant)
                break
            else:
                self.give_back(grant)
                candidates[name] = _taken(candidates[name], now)
            choice = choose(message, candidates.values(), order)
        if isinstance(choice, NoChoice) and not choice.round_over:
            choice = self._last_chance(message, email, candidates, choice, now)
        if isinstance(choice, NoChoice):
            first = next((n for n in short if candidates[n].fit_from == choice.fit_from), None)
            if first is not None and self._quotas is not None and not choice.round_over:
                turn = self._quotas.line_up(first, len(email.recipients))
                choice = replace(choice, fit_from=now + timedelta(seconds=turn))
            return self._without_choice(message, choice, now)
        return choice

    def grant_for(self, name: str, email: Email) -> Grant | Shortage | None:
        """A place in the provider's quotas, or why there is none; None without any quotas."""
        return None if self._quotas is None else self._quotas.take(name, len(email.recipients))

    def give_back(self, grant: Grant | None) -> None:
        """The provider that was chosen was not asked."""
        if self._quotas is not None and grant is not None:
            self._quotas.give_back(grant)

    def _grant(
        self, name: str, candidates: Mapping[str, Candidate], email: Email
    ) -> Grant | Shortage | None:
        if self._quotas is None:
            return None
        names = tuple(candidates)
        others = [
            other
            for other in names[names.index(name) + 1 :]
            if candidates[other].obstacle is None and candidates[other].unfit is None
        ]
        return self._quotas.take(name, len(email.recipients), others)

    def _without_choice(self, message: Message, choice: NoChoice, now: datetime) -> Message:
        if choice.hopeless:
            return lifecycle.given_up(message, f"no provider can carry it: {choice.why}", now)
        if choice.round_over:
            rounds = message.round - message.first_round + 1
            rest = lifecycle.round_wait(self._retry_schedule, rounds, self._random())
            return lifecycle.waiting(message, now + rest, now)
        until = choice.fit_from or now + self._breakers.policy.cooldown
        last_chance = message.expires_at - self._last_chance_within
        if now < last_chance:
            until = min(until, last_chance)
        return lifecycle.waiting(message, max(until, now + _SHORTEST_WAIT), now, round_over=False)

    def _last_chance(
        self,
        message: Message,
        email: Email,
        candidates: Mapping[str, Candidate],
        choice: NoChoice,
        now: datetime,
    ) -> Choice | NoChoice:
        """Nobody is fit, and the message has little time left: the least bad provider is asked."""
        since = message.expires_at - self._last_chance_within
        offered = any(attempt.started_at >= since for attempt in message.attempts)
        if now < since or offered:
            return choice
        able = [name for name, candidate in candidates.items() if candidate.obstacle is None]
        known = {name: self._breakers.of(name) for name in able}
        while (name := breaker.least_bad(known, able, now)) is not None:
            grant = self.grant_for(name, email)
            if not isinstance(grant, Shortage):
                why = f"the least bad, before the message expires; {choice.why}"
                return Choice(name, why, grant=grant)
            able.remove(name)
        return choice

    def _candidate(self, name: str, email: Email, now: datetime) -> Candidate:
        provider = self._providers.get(name)
        obstacle = "it is not set up" if provider is None else provider.refusal(email)
        if obstacle is None and self._quotas is not None:
            obstacle = self._quotas.obstacle(name, len(email.recipients))
        if obstacle is not None:
            return Candidate(name, obstacle)
        fitness = self._breakers.of(name)
        fit_from = fitness.fit_from(now)
        if fit_from is None or fit_from > now:
            return Candidate(name, unfit=fitness.in_words(), fit_from=fit_from)
        if self._breakers.refuses_sender(name, email.sender.domain):
            return Candidate(
                name, unfit="refused this sender a short while ago", fit_from=now + _SENDER_WAIT
            )
        return Candidate(name, probe=fitness.needs_probe)


class _Candidates(Mapping[str, Candidate]):
    """Providers by name, in their order; each is looked at when somebody asks for it.

    The first is mostly the one that is chosen.
    """

    def __init__(self, names: Sequence[str], look: Callable[[str], Candidate]) -> None:
        self._seen: dict[str, Candidate | None] = dict.fromkeys(names)
        self._look = look

    def __getitem__(self, name: str) -> Candidate:
        seen = self._seen[name]
        if seen is None:
            seen = self._seen[name] = self._look(name)
        return seen

    def __setitem__(self, name: str, candidate: Candidate) -> None:
        self._seen[name] = candidate

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)


def _taken(candidate: Candidate, now: datetime) -> Candidate:
    return replace(candidate, unfit="is being probed", fit_from=now + _PROBE_WAIT, probe=False)
