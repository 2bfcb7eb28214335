"""Delivering a claimed message: asks one provider after another until its fate is decided.

An attempt is written before its call and closed after it, and only the call decides its outcome: an
error in our own bookkeeping never reaches the next provider.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from app.core import ids, lifecycle
from app.core.breaker import Report
from app.core.chooser import Chooser
from app.core.evidence import EvidenceBook
from app.core.fitness import Breakers
from app.core.leases import LeaseKeeper
from app.core.lifecycle import Verdict
from app.core.models import (
    Attempt,
    Body,
    Clock,
    Evidence,
    Finding,
    Message,
    MessageState,
    Outcome,
    Recipient,
    Source,
)
from app.core.scripting import StoreUnavailable
from app.core.store import Change, Claim, MessageStore
from providers.base import Provider
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    ProviderFailure,
    Refused,
    Rejected,
    SenderRefused,
    Unavailable,
)
from providers.types import Email

log = structlog.get_logger(__name__)

_SCOPES: tuple[tuple[type[Refused], str], ...] = (
    (AccountRefused, "account"),
    (SenderRefused, "sender"),
    (MessageRefused, "message"),
)
_FINDINGS: Mapping[Outcome | None, Finding] = {
    Outcome.ACCEPTED: Finding.ACCEPTED,
    Outcome.REJECTED: Finding.REJECTED,
    Outcome.REFUSED: Finding.NOT_ACCEPTED,
    Outcome.UNAVAILABLE: Finding.NOT_ACCEPTED,
}
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How long things last: the rests between rounds (seconds), a lease, and an ended record.

    `last_chance` before it expires, a message that found nobody fit is offered to the least bad.
    After an unknown outcome, evidence is looked for during `grace` where the provider can be asked.
    """

    retry_schedule: tuple[float, ...]
    lease: timedelta
    retention: timedelta
    last_chance: timedelta = timedelta(seconds=60)
    grace: timedelta = timedelta(0)


class Delivery:
    """Delivers messages. Safe to use from several threads at once.

    `random` gives numbers in [0, 1). `pause` waits for some seconds (0: not at all) and says
    whether this process goes on; it is asked before each attempt, and while Redis is away and a
    result is waiting to be written.
    """

    def __init__(
        self,
        store: MessageStore,
        providers: Mapping[str, Provider],
        configured: Sequence[str],
        policy: DeliveryPolicy,
        leases: LeaseKeeper,
        breakers: Breakers,
        evidence: EvidenceBook,
        clock: Clock,
        random: Callable[[], float],
        pause: Callable[[float], bool],
    ) -> None:
        self._store = store
        self._providers = providers
        self._policy = policy
        self._leases = leases
        self._breakers = breakers
        self._evidence = evidence
        self._chooser = Chooser(
            providers, configured, policy.retry_schedule, policy.last_chance, breakers, random
        )
        self._clock = clock
        self._pause = pause

    def deliver(self, claim: Claim) -> Message | None:
        """Works on a claimed message until it has ended, waits or has to be left to others.

        Returns the message as it then is; None if this worker lost it.
        """
        with self._leases.holding(claim.message):
            return self._work(claim)

    def _work(self, claim: Claim) -> Message | None:
        seen = claim.message
        message = self._taken_up(seen)
        while message.state is MessageState.SENDING and self._may_go_on(message):
            step = self._next(message, claim.body)
            if isinstance(step, Message):
                message = step
                break
            email, attempt = step
            lease_until = self._clock() + self._policy.lease
            opened = self._write(seen, lifecycle.attempt_opened(message, attempt), lease_until)
            if opened is None:
                current = self._with_news(seen)
                if current is None:
                    self._leave(seen, message)
                    return None
                seen, message = current, self._merged(message, current)
                continue
            verdict = self._ask(attempt.provider, email, opened)
            seen = opened
            message = lifecycle.attempt_closed(
                opened, verdict, self._clock(), self._grace(opened.attempts[-1])
            )
            _log_attempt(message)
            if verdict.duration_ms is not None:
                self._report(message, verdict)
        while (written := self._write(seen, message)) is None:
            current = self._with_news(seen)
            if current is None:
                self._leave(seen, message)
                return None
            seen, message = current, self._merged(message, current)
        return written

    def _taken_up(self, message: Message) -> Message:
        """The claimed message, with what a worker before left open taken as unknown."""
        if message.open_attempt is not None:
            reason = "the worker stopped while the provider was being asked"
            grace = self._grace(message.attempts[-1])
            message = lifecycle.attempt_closed(
                message, Verdict(Outcome.UNKNOWN, reason), self._clock(), grace
            )
            _log_attempt(message)
        elif message.grace_until is not None:
            message = self._looked_for(message)
        return lifecycle.weighed(message, self._clock())

    def _grace(self, attempt: Attempt) -> timedelta | None:
        """How long evidence of an attempt is looked for; None where none can come."""
        provider = self._providers.get(attempt.provider)
        can_tell = provider is not None and provider.can_tell
        return self._policy.grace if can_tell and self._policy.grace else None

    def _looked_for(self, message: Message) -> Message:
        """The message after one more look for evidence; when its grace is over, without."""
        number, attempt = len(message.attempts), message.attempts[-1]
        provider = self._providers.get(attempt.provider)
        accepted = None
        if attempt.unresolved and provider is not None:
            try:
                accepted = provider.find(
                    attempt.id,
                    attempt.recipients or tuple(r.email for r in message.recipients),
                    attempt.started_at,
                )
            except ProviderFailure as failure:
                log.info("evidence not found", attempt=attempt.id, reason=failure.reason)
        now = self._clock()
        if accepted is not None:
            evidence = Evidence(
                number,
                Source.EVENTS,
                Finding.ACCEPTED,
                now,
                "found at the provider",
                accepted.provider_message_id,
            )
            found = self._evidence.add(message.id, evidence)
            return message if found is None else self._merged(message, found)
        if message.grace_until is not None and now < message.grace_until:
            return lifecycle.in_grace(message, now)
        return lifecycle.doubt_kept(message, now)

    def _with_news(self, seen: Message) -> Message | None:
        """The message with evidence that has come while we had it; None if it is no longer ours."""
        current = self._store.get(seen.id)
        unchanged = current is not None and current.version == seen.version
        return current if unchanged and current != seen else None

    def _merged(self, message: Message, current: Message) -> Message:
        """What we have made of the message, with the evidence that has come meanwhile."""
        news = {attempt.id: attempt.evidence for attempt in current.attempts}
        attempts = tuple(replace(a, evidence=news.get(a.id)) for a in message.attempts)
        merged = replace(message, attempts=attempts, evidence=current.evidence)
        return lifecycle.weighed(merged, self._clock())

    def _leave(self, seen: Message, message: Message) -> None:
        """Others have the message: what our call came to is appended, and moves nothing."""
        log.warning("message lost to another worker", message=message.id)
        if seen.open_attempt is None:
            return
        number = len(seen.attempts)
        attempt = message.attempts[number - 1]
        finding = _FINDINGS.get(attempt.outcome)
        if finding is not None:
            self._evidence.add(
                message.id,
                Evidence(
                    number,
                    Source.ANSWER,
                    finding,
                    self._clock(),
                    attempt.reason,
                    attempt.provider_message_id,
                ),
            )

    def _may_go_on(self, message: Message) -> bool:
        return self._leases.held(message) and self._pause(0)

    def _next(self, message: Message, body: Body) -> Message | tuple[Email, Attempt]:
        """The attempt that is to be made, or the message as it is without one."""
        now = self._clock()
        if now >= message.expires_at:
            return lifecycle.expired(message, now)
        email = _email(message, body, ids.attempt_id(message.id, len(message.attempts) + 1))
        choice = self._chooser.choose(message, email, now)
        if isinstance(choice, Message):
            return choice
        return email, Attempt(email.attempt_id, choice.provider, choice.why, message.round, now)

    def _ask(self, name: str, email: Email, message: Message) -> Verdict:
        """What the provider's answer, or the lack of one, means."""
        if not self._leases.held(message):
            # Nothing was sent, but others may have the message by now: this worker starts no call.
            return Verdict(Outcome.UNAVAILABLE, "the lease ran out before the provider was asked")
        started = time.monotonic()
        try:
            accepted = self._providers[name].send(email)
            verdict = Verdict(Outcome.ACCEPTED, provider_message_id=accepted.provider_message_id)
        except ProviderFailure as failure:
            verdict = _verdict(failure)
        except Exception as error:
            # A provider class that breaks off in its own way may have sent the mail before it did.
            log.exception("provider failed", provider=name, attempt=email.attempt_id)
            verdict = Verdict(Outcome.UNKNOWN, f"the provider class raised {type(error).__name__}")
        return replace(verdict, duration_ms=round((time.monotonic() - started) * 1000))

    def _report(self, message: Message, verdict: Verdict) -> None:
        """Tells the breakers what the attempt that was just closed says about its provider."""
        attempt = message.attempts[-1]
        if verdict.outcome is Outcome.REFUSED and verdict.scope == "sender":
            self._breakers.remember_sender(attempt.provider, message.envelope.sender.domain)
        self._breakers.report(
            attempt.provider,
            Report(
                verdict.outcome,
                attempt.started_at,
                scope=verdict.scope,
                reason=verdict.reason,
                limited=verdict.limited,
                retry_after=verdict.retry_after,
            ),
        )

    def _write(
        self, seen: Message, message: Message, lease_until: datetime | None = None
    ) -> Message | None:
        """Writes the message, waiting for Redis if it is away; None if others have it by now.

        What is still to be sent, but not by this worker now, goes back to the queue.
        """
        ended = lifecycle.has_ended(message)
        handed_back = lease_until is None and message.state is MessageState.SENDING
        after = lifecycle.queued(message, self._clock()) if handed_back else message
        change = Change(
            before=seen,
            after=after,
            # Evidence may have let a held message go on, too.
            ring=after.state is MessageState.QUEUED,
            lease_until=lease_until,
            drop_body=message.state is MessageState.SENT,
            keep=self._policy.retention if ended else None,
        )
        wait = 0.05
        while True:
            try:
                written = self._store.move(change)
            except StoreUnavailable as error:
                log.warning("result kept until Redis is back", message=message.id, error=str(error))
                if not self._pause(wait):
                    raise
                wait = min(2 * wait, _LONGEST_PAUSE)
                continue
            if written is not None and lease_until is not None:
                self._leases.extend(written, lease_until)
            return written


def _email(message: Message, body: Body, attempt_id: str) -> Email:
    waiting = lifecycle.outstanding(message)
    envelope = message.envelope

    def kind(name: str) -> tuple[Recipient, ...]:
        return tuple(r for r in waiting if r.kind == name)

    return Email(
        attempt_id=attempt_id,
        sender=envelope.sender,
        to=tuple(r.address for r in kind("to")),
        cc=tuple(r.address for r in kind("cc")),
        bcc=tuple(r.address for r in kind("bcc")),
        reply_to=envelope.reply_to,
        subject=envelope.subject,
        text=body.text,
        html=body.html,
        headers=envelope.headers,
    )


def _verdict(failure: ProviderFailure) -> Verdict:
    reason, status = failure.reason, failure.status
    if isinstance(failure, Rejected):
        return Verdict(Outcome.REJECTED, reason, recipients=failure.recipients, status_code=status)
    if isinstance(failure, Refused):
        scope = next(name for kind, name in _SCOPES if isinstance(failure, kind))
        return Verdict(Outcome.REFUSED, reason, scope=scope, status_code=status)
    if isinstance(failure, Unavailable):
        return Verdict(
            Outcome.UNAVAILABLE,
            reason,
            status_code=status,
            limited=isinstance(failure, Limited),
            retry_after=failure.retry_after,
        )
    return Verdict(Outcome.UNKNOWN, reason, status_code=status, retry_after=failure.retry_after)


def _log_attempt(message: Message) -> None:
    attempt = message.attempts[-1]
    log.info(
        "attempt",
        message=message.id,
        attempt=attempt.id,
        provider=attempt.provider,
        outcome=attempt.outcome,
        status_code=attempt.status_code,
        reason=attempt.reason,
        duration_ms=attempt.duration_ms,
        why=attempt.why,
    )
