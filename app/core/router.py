"""Which provider is asked next, and why: a pure decision over a message and the providers."""

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct

from app.core.models import Attempt, Message, Outcome
from app.core.tokens import Grant


class Candidate(Struct, frozen=True):
    """A provider as the router sees it.

    `obstacle` says why it cannot carry the message at all, `unfit` why it is not asked now, and
    `fit_from` when it may be (None: nobody knows). `probe` marks one whose breaker wants to know.
    """

    name: str
    obstacle: str | None = None
    unfit: str | None = None
    fit_from: datetime | None = None
    probe: bool = False


class Choice(Struct, frozen=True):
    """The provider to ask, the explanation for the attempt, and what it took from quotas."""

    provider: str
    why: str
    probe: bool = False
    grant: Grant | None = None


class NoChoice(Struct, frozen=True):
    """Nobody is left in this round.

    `hopeless` if no later round can change that. `round_over` if somebody was asked in it; if not,
    the message waits until `fit_from` (None: nobody knows) and no round is spent.
    """

    why: str
    hopeless: bool
    round_over: bool = True
    fit_from: datetime | None = None


class Order(Struct, frozen=True):
    """The providers in the order in which a message is offered to them.

    `name` is what explanations call it, and `drawn` says how the first got its place, where that
    is not by the order alone. `left_out` says who would stand in it, and does not.
    """

    providers: tuple[str, ...] = ()
    name: str = "the order"
    drawn: str | None = None
    left_out: tuple[str, ...] = ()


_PLAIN = Order()


def choose(
    message: Message, candidates: Collection[Candidate], order: Order = _PLAIN
) -> Choice | NoChoice:
    """The first candidate, in the given order, that can carry the message and has not been asked.

    A provider is asked once a round; only after a rejection that named some of the recipients is
    the same one asked again, for the others. `order` is where the candidates come from.
    """
    asked = {a.provider: a for a in message.attempts if a.round == message.round}
    passed_over = []
    for candidate in candidates:
        attempt = asked.get(candidate.name)
        if candidate.obstacle is not None:
            passed_over.append(f"{candidate.name} cannot carry it: {candidate.obstacle}")
        elif attempt is not None and attempt.outcome is not Outcome.REJECTED:
            passed_over.append(f"{candidate.name} was asked: {_in_words(attempt)}")
        elif candidate.unfit is not None:
            passed_over.append(f"{candidate.name} {candidate.unfit}")
        else:
            why = _explain(message, order, attempt, passed_over)
            return Choice(candidate.name, why, candidate.probe)
    refusals = {a.provider for a in asked.values() if a.scope == "message"}
    hopeless = all(c.obstacle is not None or c.name in refusals for c in candidates)
    unfit = [c for c in candidates if c.obstacle is None and c.unfit is not None]
    known = [c.fit_from for c in unfit if c.fit_from is not None]
    return NoChoice(
        "; ".join([*order.left_out, *passed_over]),
        hopeless,
        round_over=bool(asked) or not unfit,
        fit_from=min(known, default=None),
    )


def _in_words(attempt: Attempt) -> str:
    if attempt.outcome is Outcome.REFUSED:
        return f"refused ({attempt.scope})"
    return str(attempt.outcome)


def _explain(message: Message, order: Order, again: Attempt | None, passed_over: list[str]) -> str:
    if again is not None:
        choice = "again, for the recipients that were not rejected"
    elif passed_over:
        choice = f"next in {order.name}"
    else:
        choice = order.drawn or f"first in {order.name}"
    if message.round > 1:
        choice += f", round {message.round}"
    return "; ".join([choice, *order.left_out, *passed_over])
