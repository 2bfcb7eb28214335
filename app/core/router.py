"""Which provider is asked next, and why: a pure decision over a message and the providers."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.models import Attempt, Message, Outcome


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider as the router sees it: `obstacle` says why it cannot carry the message at all."""

    name: str
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The provider to ask, and the explanation that goes into the attempt."""

    provider: str
    why: str


@dataclass(frozen=True, slots=True)
class NoChoice:
    """Nobody is left in this round. `hopeless` if no later round can change that."""

    why: str
    hopeless: bool


def order(message: Message, configured: Sequence[str]) -> tuple[str, ...]:
    """The providers in the order in which the message is offered to them."""
    return message.envelope.providers or tuple(configured)


def choose(message: Message, candidates: Sequence[Candidate]) -> Choice | NoChoice:
    """The first candidate, in the given order, that can carry the message and has not been asked.

    A provider is asked once a round; only after a rejection that named some of the recipients is
    the same one asked again, for the others.
    """
    asked = {a.provider: a for a in message.attempts if a.round == message.round}
    passed_over = []
    for candidate in candidates:
        attempt = asked.get(candidate.name)
        if candidate.obstacle is not None:
            passed_over.append(f"{candidate.name} cannot carry it: {candidate.obstacle}")
        elif attempt is not None and attempt.outcome is not Outcome.REJECTED:
            passed_over.append(f"{candidate.name} was asked: {_in_words(attempt)}")
        else:
            return Choice(candidate.name, _explain(message, attempt, passed_over))
    refusals = {a.provider for a in asked.values() if a.scope == "message"}
    hopeless = all(c.obstacle is not None or c.name in refusals for c in candidates)
    return NoChoice("; ".join(passed_over), hopeless)


def _in_words(attempt: Attempt) -> str:
    if attempt.outcome is Outcome.REFUSED:
        return f"refused ({attempt.scope})"
    return str(attempt.outcome)


def _explain(message: Message, again: Attempt | None, passed_over: list[str]) -> str:
    if again is not None:
        choice = "again, for the recipients that were not rejected"
    elif passed_over:
        choice = "next in the order"
    elif message.envelope.providers:
        choice = "first in the message's own order"
    else:
        choice = "first in the order"
    if message.round > 1:
        choice += f", round {message.round}"
    return "; ".join([choice, *passed_over])
