"""Faults of the Python code that the simulation has to find, and how each is planted."""

import dataclasses
from datetime import datetime
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from app.core import block_failover, breaker, delivery, keys, lifecycle, sweeper
from app.core.breaker import Fitness
from app.core.delivery import Delivery
from app.core.fitness import Breakers
from app.core.leases import LeaseKeeper
from app.core.lifecycle import News, Verdict
from app.core.models import (
    Evidence,
    Finding,
    Message,
    MessageState,
    Outcome,
    RecipientState,
    Source,
)
from app.core.store import AcceptResult, Change, MessageStore
from app.core.sweeper import Sweeper
from app.core.waiting import WaitingMail
from providers.types import Bounce
from tests.simulation.patching import Patch, altered, patched


def _unwritten(write: Any) -> Any:
    def stand_in(
        self: Delivery, seen: Message, message: Message, lease_until: datetime | None = None
    ) -> Message | None:
        return message if lease_until is not None else write(self, seen, message)

    return stand_in


def _forgetting_the_flag(opened: Any) -> Any:
    def stand_in(message: Message, attempt: Any) -> Message:
        after: Message = opened(message, attempt)
        return replace(after, possible_duplicate=message.possible_duplicate)

    return stand_in


def _sure_of_a_doubt(verdict: Any) -> Any:
    def stand_in(failure: Any) -> Verdict:
        found: Verdict = verdict(failure)
        if found.outcome is Outcome.UNKNOWN:
            return replace(found, outcome=Outcome.UNAVAILABLE)
        return found

    return stand_in


def _sure_of_the_dead(taken_up: Any) -> Any:
    def stand_in(self: Delivery, message: Message, *given: Any) -> Message:
        if message.open_attempt is None:
            return taken_up(self, message, *given)  # type: ignore[no-any-return]
        return lifecycle.attempt_closed(
            message, Verdict(Outcome.UNAVAILABLE, "the worker stopped"), self._clock()
        )

    return stand_in


def _sending_on_after_hold(change: Any) -> Any:
    def stand_in(self: Sweeper, message: Message, now: datetime) -> Change:
        if message.state is MessageState.UNKNOWN:
            released = tuple(lifecycle.move(r, News.RELEASED) for r in message.recipients)
            after = lifecycle.queued(replace(message, recipients=released), now)
            return Change(message, after, lease_over=True, ring=True)
        return change(self, message, now)  # type: ignore[no-any-return]

    return stand_in


def _counting_rejections(learned: Any) -> Any:
    def stand_in(fitness: Fitness, report: Any, *given: Any) -> Fitness:
        if report.outcome is Outcome.REJECTED:
            report = dataclasses.replace(report, outcome=Outcome.UNAVAILABLE)
        return learned(fitness, report, *given)  # type: ignore[no-any-return]

    return stand_in


def _accepting_in_steps(accept: Any) -> Any:
    def stand_in(self: MessageStore, messages: Any, idempotency: Any, *given: Any) -> AcceptResult:
        if idempotency is None:
            return accept(self, messages, None, *given)  # type: ignore[no-any-return]
        name = keys.idempotency(messages[0][0].key, idempotency.key_hash)
        known = self._scripts.read(lambda r: r.hget(name, "ids"))
        if known:
            return AcceptResult("replayed", (known,))
        result: AcceptResult = accept(self, messages, None, *given)
        self._scripts.read(lambda r: r.hset(name, "ids", result.ids[0]))
        self._scripts.read(lambda r: r.pexpireat(name, idempotency.until))
        return result

    return stand_in


def _moving_when_late(_: Any) -> Any:
    def stand_in(self: Delivery, seen: Message, message: Message) -> None:
        current = self._store.get(message.id)
        if current is not None:
            ended = lifecycle.has_ended(message)
            after = replace(message, evidence=current.evidence)
            keep = self._policy.retention if ended else None
            self._store.move(Change(current, after, keep=keep))

    return stand_in


def _taking_silence_for_proof(looked_for: Any) -> Any:
    def stand_in(self: Delivery, message: Message, *given: Any) -> Message:
        after: Message = looked_for(self, message, *given)
        if after.grace_until is None and after.attempts[-1].unresolved:
            proof = Evidence(
                len(after.attempts), Source.EVENTS, Finding.NOT_ACCEPTED, self._clock()
            )
            found = self._evidence.add(message.id, proof)
            return after if found is None else self._merged(after, found)
        return after

    return stand_in


def _not_flagging_a_word(weighed: Any) -> Any:
    def stand_in(message: Message, now: datetime) -> Message:
        after: Message = weighed(message, now)
        return replace(after, possible_duplicate=message.possible_duplicate)

    return stand_in


def _forgetting_hold(doubt_kept: Any) -> Any:
    def stand_in(message: Message, now: datetime) -> Message:
        envelope = replace(message.envelope, on_unknown="failover")
        after = doubt_kept(replace(message, envelope=envelope), now)
        return replace(after, envelope=message.envelope)

    return stand_in


def _calling_back_what_is_in_hand(cancelled: Any) -> Any:
    def stand_in(self: WaitingMail, message: Message) -> Change | None:
        if message.state is not MessageState.SENDING or message.cancelled:
            return cancelled(self, message)  # type: ignore[no-any-return]
        after = lifecycle.cancelled(message, self._clock())
        return Change(message, after, keep=self._retention)

    return stand_in


def _passing_on_bad_addresses(blocked: Any) -> Any:
    def stand_in(before: Message, told: Message, *given: Any) -> list[str]:
        recipients = tuple(
            replace(r, bounce=Bounce.BLOCK) if r.bounce is Bounce.HARD else r
            for r in told.recipients
        )
        return blocked(before, replace(told, recipients=recipients), *given)  # type: ignore[no-any-return]

    return stand_in


_RESENT_TO_ALL = MappingProxyType(
    {
        **lifecycle.MOVES,
        News.RESENT: {**lifecycle.MOVES[News.RESENT], RecipientState.SENT: RecipientState.QUEUED},
    }
)

CODE_FAULTS: dict[str, Patch] = {
    "the attempt is not written before the call": altered(Delivery, "_write", _unwritten),
    "a call needs no lease": lambda: patched(LeaseKeeper, "held", lambda *_: True),
    "the sweeper trusts a list that it has read": lambda: patched(
        sweeper, "_has_nobody", lambda *_: True
    ),
    "a possible duplicate is not flagged": altered(
        lifecycle, "attempt_opened", _forgetting_the_flag
    ),
    "an operator's not_sent is not flagged": altered(lifecycle, "weighed", _not_flagging_a_word),
    "unknown is taken for unavailable": altered(delivery, "_verdict", _sure_of_a_doubt),
    "what a dead worker left open is taken for unavailable": altered(
        Delivery, "_taken_up", _sure_of_the_dead
    ),
    "hold is forgotten": altered(lifecycle, "doubt_kept", _forgetting_hold),
    "held mail is sent again when its time is over": altered(
        Sweeper, "_change", _sending_on_after_hold
    ),
    "a provider's silence is proof": altered(Delivery, "_looked_for", _taking_silence_for_proof),
    "a late answer moves the message": altered(Delivery, "_leave", _moving_when_late),
    "resending reaches everybody": lambda: patched(lifecycle, "MOVES", _RESENT_TO_ALL),
    "what a worker has in hand is called back": altered(
        WaitingMail, "_cancelled", _calling_back_what_is_in_hand
    ),
    "a bad address is offered elsewhere as if it was blocked": altered(
        block_failover, "_blocked", _passing_on_bad_addresses
    ),
    "who was blocked is offered to the same provider": lambda: patched(
        lifecycle, "closed_to", lambda *_: frozenset()
    ),
    "a lost job is not rung for": lambda: patched(MessageStore, "ring_again", lambda *_: []),
    "a lease that ran out is not swept": lambda: patched(MessageStore, "abandoned", lambda *_: []),
    "an Idempotency-Key is written by itself": altered(MessageStore, "accept", _accepting_in_steps),
    "rejections count in the breaker": altered(breaker, "learned", _counting_rejections),
    "everybody may probe": lambda: patched(Breakers, "begin_probe", lambda *_: True),
    "a paused provider is asked": altered(
        Fitness,
        "fit_from",
        lambda fit: lambda f, now: fit(dataclasses.replace(f, paused=False), now),
    ),
}
"""By what is wrong then."""
