"""Providers that do with a call what the seed says, and write down what they took."""

from datetime import datetime

from providers.base import Provider
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    ProviderFailure,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.types import Accepted, Email
from tests.simulation.judge import Judge
from tests.simulation.ledger import Call
from tests.simulation.plan import Plan
from tests.simulation.world import World

_NO_FAULTS = frozenset(
    {
        "accept",
        "accept slowly",
        "reject",
        "reject some",
        "refuse sender",
        "refuse message",
        "unavailable for a while",
        "too many",
    }
)
"""The answers that say nothing against a provider's health."""


class SimulatedProvider(Provider):
    """One provider, the same for all workers."""

    def __init__(self, name: str, world: World, plan: Plan, judge: Judge) -> None:
        self.name = name  # type: ignore[misc]
        self.can_tell = name in plan.tellers
        self._world = world
        self._plan = plan
        self._judge = judge

    def refusal(self, email: Email) -> str | None:
        tag = f"letter-{email.subject.rpartition(' ')[2]}"
        return "it is too large" if (self.name, tag) in self._plan.obstacles else None

    def send(self, email: Email) -> Accepted:
        world = self._world
        call = self._judge.call(self.name, email)
        answer = self._answer()
        world.say(f"asks {self.name} ({email.attempt_id[-3:]}): {answer}")
        world.counts["calls"] += 1
        # The request is on its way: who dies here has not sent it.
        world.give_way()
        world.counts[f"answer: {answer}"] += 1
        return self._do(answer, call, email)

    def find(
        self, attempt_id: str, recipients: tuple[str, ...], since: datetime
    ) -> Accepted | None:
        self._world.give_way()
        self._world.counts["looked for"] += 1
        if not self._world.quiet and self._world.chance(0.2):
            raise Unavailable("the events cannot be read")
        call = self._judge.ledger.calls.get(attempt_id)
        known = call is not None and call.accepted and not self._world.chance(0.2)
        return Accepted(f"found-{attempt_id}") if known else None

    def _answer(self) -> str:
        if self._world.quiet:
            return "accept"
        names, weights = list(self._plan.answers), list(self._plan.answers.values())
        return self._world.random.choices(names, weights)[0]

    def _do(self, answer: str, call: Call, email: Email) -> Accepted:
        world, number = self._world, call.attempt_id
        if answer not in _NO_FAULTS:
            self._judge.ledger.faults[self.name] += 1
        match answer:
            case "accept":
                self._take(call)
            case "accept slowly":
                # By itself: the caller may be gone when it happens.
                slow = world.random.choice((5_000, 20_000, 60_000))
                self._take_later(call, slow)
                world.sleep(slow / 1000)
            case "unknown, accepted":
                self._take(call)
                world.give_way()
                raise Unknown(f"no answer to {number}")
            case "unknown, accepted later":
                self._take_later(call, world.random.choice((1_000, 30_000)))
                raise Unknown(f"no answer to {number}")
            case "breaks off":
                if world.chance(0.5):
                    self._take(call)
                raise ZeroDivisionError
            case _:
                world.give_way()
                raise self._failure(answer, number, email)
        world.give_way()
        return Accepted(f"{self.name}-{number}")

    def _failure(self, answer: str, number: str, email: Email) -> ProviderFailure:
        match answer:
            case "reject":
                return Rejected(f"{answer}: {number}", status=400)
            case "reject some":
                named = tuple(a.email for a in email.recipients if self._world.chance(0.5))
                return Rejected(f"{answer}: {number}", status=400, recipients=named)
            case "refuse account":
                return AccountRefused(f"{answer}: {number}", status=401)
            case "refuse sender":
                return SenderRefused(f"{answer}: {number}", status=403)
            case "refuse message":
                return MessageRefused(f"{answer}: {number}", status=413)
            case "unavailable":
                return Unavailable(f"{answer}: {number}", status=503)
            case "unavailable for a while":
                return Unavailable(f"{answer}: {number}", status=503, retry_after=15)
            case "too many":
                return Limited(f"{answer}: {number}", status=429)
        assert answer == "unknown, not accepted", answer
        return Unknown(f"{answer}: {number}")

    def _take(self, call: Call) -> None:
        self._judge.accepts(call)

    def _take_later(self, call: Call, delay: int) -> None:
        call.coming = True
        self._world.at(delay, lambda: self._judge.accepts(call))
