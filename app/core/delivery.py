"""Delivering a claimed message: asks one provider after another until its fate is decided.

An attempt is written before its call and closed after it, and only the call decides its outcome: an
error in our own bookkeeping never reaches the next provider.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

import structlog
from msgspec.structs import replace

from app.core import ids, lifecycle
from app.core.block_failover import content_lasts
from app.core.breaker import Report
from app.core.chooser import Chooser
from app.core.evidence import EvidenceBook
from app.core.fitness import Breakers
from app.core.freight import Freight
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
    RecipientKind,
    Source,
)
from app.core.quotas import Quotas
from app.core.route_book import RouteBook
from app.core.scripting import StoreUnavailable
from app.core.store import Change, Claim, MessageStore
from app.core.suppression import Suppressions
from app.core.tokens import Grant, Shortage
from app.core.track_record import TrackRecords
from app.core.tracking import Tracking
from app.core.unsubscribing import UnsubscribeLinks
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
from providers.types import Accepted, Address, Email

log = structlog.get_logger(__name__)

_Answer = TypeVar("_Answer")

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
_TRIES_BETWEEN_LINES = 30


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How long things last: the rests between rounds (seconds), a lease, and an ended record.

    `last_chance` before it expires, a message that found nobody fit is offered to the least bad.
    After an unknown outcome, evidence is looked for during `grace` where the provider can be asked.
    So many bytes of attachments (`freight`) are in hand at once.
    """

    retry_schedule: tuple[float, ...]
    lease: timedelta
    retention: timedelta
    last_chance: timedelta = timedelta(seconds=60)
    grace: timedelta = timedelta(0)
    freight: int = 64 * 1024 * 1024


class Delivery:
    """Delivers messages. Safe to use from several threads at once.

    `random` gives numbers in [0, 1). `pause` waits for some seconds (0: not at all) and says
    whether this process goes on; it is asked before each attempt, and while Redis is away and a
    result is waiting to be written. `move` writes changes, in place of the store itself.
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
        move: Callable[[Change], Message | None] | None = None,
        routes: RouteBook | None = None,
        quotas: Quotas | None = None,
        suppressions: Suppressions | None = None,
        unsubscribe_links: UnsubscribeLinks | None = None,
        tracking: Tracking | None = None,
        track_records: TrackRecords | None = None,
    ) -> None:
        self._store = store
        self._suppressions = suppressions
        self._unsubscribe_links = unsubscribe_links
        self._tracking = tracking
        self._move = move or store.move
        self._providers = providers
        self._policy = policy
        self._leases = leases
        self._freight = Freight(policy.freight)
        self._breakers = breakers
        self._evidence = evidence
        self._chooser = Chooser(
            providers,
            configured,
            policy.retry_schedule,
            policy.last_chance,
            breakers,
            random,
            routes,
            quotas,
            track_records,
        )
        self._clock = clock
        self._pause = pause

    def looked_up(self, claims: Sequence[Claim]) -> list[Claim]:
        """Claims that are about to be delivered, with who is suppressed: one look for all of them.

        Where Redis does not answer, each looks for itself.
        """
        if self._suppressions is None:
            return list(claims)
        wanted = [[r.email for r in lifecycle.outstanding(c.message)] for c in claims]
        try:
            listed = self._suppressions.find(chain.from_iterable(wanted))
        except StoreUnavailable:
            return list(claims)
        return [
            replace(claim, suppressed={e: listed[e].in_words for e in emails if e in listed})
            for claim, emails in zip(claims, wanted, strict=True)
        ]

    def deliver(self, claim: Claim) -> Message | None:
        """Works on a claimed message until it has ended, waits or has to be left to others.

        Returns the message as it then is; None if this worker lost it.
        """
        size = sum(file.size for file in claim.message.envelope.attachments)
        with self._leases.holding(claim.message), self._freight.holding(size):
            return self._work(claim)

    def _work(self, claim: Claim) -> Message | None:
        seen, body = claim.message, claim.body
        message = self._taken_up(seen, body)
        # Whoever has files to send may have waited for their turn since somebody looked.
        known = None if seen.envelope.attachments else claim.suppressed
        while message.state is MessageState.SENDING and self._may_go_on(message):
            message, known = self._without_suppressed(message, known), None
            if message.state is not MessageState.SENDING:
                break
            body = self._with_attachments(message, body)
            step = self._next(message, body)
            if isinstance(step, Message):
                message = step
                break
            email, attempt, grant = step
            lease_until = self._clock() + self._policy.lease
            opened = self._write(seen, lifecycle.attempt_opened(message, attempt), lease_until)
            if opened is None:
                self._chooser.give_back(grant)
                current = self._with_news(seen)
                if current is None:
                    self._leave(seen, message)
                    return None
                seen, message = current, self._merged(message, current)
                continue
            verdict = self._ask(attempt.provider, email, opened)
            seen = opened
            message = self._closed(opened, verdict)
            if verdict.duration_ms is not None:
                self._report(message, verdict, attempt.started_at)
            else:
                self._chooser.give_back(grant)
        while (written := self._write(seen, message)) is None:
            current = self._with_news(seen)
            if current is None:
                self._leave(seen, message)
                return None
            seen, message = current, self._merged(message, current)
        return written

    def _without_suppressed(
        self, message: Message, known: Mapping[str, str] | None = None
    ) -> Message:
        """The message without those who have come onto the list since it was accepted.

        `known` are those who were on it a moment ago, where somebody has looked.
        """
        if self._suppressions is None or message.envelope.override_suppression is not None:
            return message
        if known is None:
            find, waiting = self._suppressions.find, lifecycle.outstanding(message)
            listed = self._patiently(message, lambda: find([r.email for r in waiting]))
            known = {email: entry.in_words for email, entry in listed.items()}
        return lifecycle.suppressed(message, known, self._clock()) if known else message

    def _with_attachments(self, message: Message, body: Body) -> Body:
        """The content with its files, which are read when they are about to be sent."""
        if not message.envelope.attachments or body.attachments:
            return body
        return replace(body, attachments=self._store.attachments(message.id))

    def _closed(self, message: Message, verdict: Verdict) -> Message:
        """The message with its open attempt closed."""
        attempt = message.attempts[-1]
        repeatable = self._repeatable(attempt) is not None
        grace = self._grace(attempt)
        closed = lifecycle.attempt_closed(
            message, verdict, self._clock(), grace, repeatable=repeatable
        )
        _log_attempt(closed)
        return closed

    def _taken_up(self, message: Message, body: Body) -> Message:
        """The claimed message, with what a worker before left open taken as unknown."""
        if message.open_attempt is not None:
            reason = "the worker stopped while the provider was being asked"
            message = self._closed(message, Verdict(Outcome.UNKNOWN, reason))
        elif message.grace_until is not None:
            message = self._looked_for(message, body)
        return lifecycle.weighed(message, self._clock())

    def _grace(self, attempt: Attempt) -> timedelta | None:
        """How long evidence of an attempt is looked for; None where none can come."""
        provider = self._providers.get(attempt.provider)
        can_tell = provider is not None and (
            provider.can_tell or provider.hears or provider.repeatable is not None
        )
        return self._policy.grace if can_tell and self._policy.grace else None

    def _repeatable(self, attempt: Attempt) -> timedelta | None:
        """How long after it began an attempt may be made again, unchanged."""
        provider = self._providers.get(attempt.provider)
        return None if provider is None else provider.repeatable

    def _asked_again(self, message: Message, body: Body) -> tuple[Message, Accepted | None]:
        """The message after its last call was made again, where it may be, and the acceptance.

        The provider knows the attempt by its id: it takes the mail now, or says that it has.
        """
        now, attempt = self._clock(), message.attempts[-1]
        fitness = self._breakers.of(attempt.provider)
        fit = not fitness.needs_probe and fitness.fit_from(now) == now
        if not (fit and lifecycle.is_to_be_repeated(message, now, self._repeatable(attempt))):
            return message, None
        body = self._with_attachments(message, body)
        complete = len(body.attachments) == len(message.envelope.attachments)
        if not complete or self._without_suppressed(message) is not message:
            return message, None
        if not self._may_go_on(message):
            return message, None
        email = self._composed(message, body, attempt.id)
        grant = self._chooser.grant_for(attempt.provider, email)
        if isinstance(grant, Shortage):
            return message, None
        verdict = self._ask(attempt.provider, email, message)
        if verdict.duration_ms is None:
            self._chooser.give_back(grant)
            return message, None
        log.info(
            "attempt repeated",
            message=message.id,
            attempt=attempt.id,
            provider=attempt.provider,
            outcome=verdict.outcome,
            reason=verdict.reason,
        )
        message = lifecycle.repeated(message)
        self._report(message, verdict, now)
        taken = verdict.outcome is Outcome.ACCEPTED and not verdict.not_taken
        return message, Accepted(verdict.provider_message_id) if taken else None

    def _looked_for(self, message: Message, body: Body) -> Message:
        """The message after one more look for evidence; when its grace is over, without."""
        message, accepted = self._asked_again(message, body)
        source, words = Source.ANSWER, "taken when it was asked again"
        number, attempt = len(message.attempts), message.attempts[-1]
        provider = self._providers.get(attempt.provider)
        if accepted is None and attempt.unresolved and provider is not None:
            source, words = Source.EVENTS, "found at the provider"
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
                number, source, Finding.ACCEPTED, now, words, accepted.provider_message_id
            )
            add = self._evidence.add
            found = self._patiently(message, lambda: add(message.id, evidence))
            return message if found is None else self._merged(message, found)
        if message.grace_until is not None and now < message.grace_until:
            repeatable = self._repeatable(attempt) is not None
            return lifecycle.in_grace(message, now, repeatable=repeatable)
        return lifecycle.doubt_kept(message, now)

    def _with_news(self, seen: Message) -> Message | None:
        """The message with evidence that has come while we had it; None if it is no longer ours."""
        current = self._store.get(seen.id)
        unchanged = current is not None and current.version == seen.version
        return current if unchanged and current != seen else None

    def _merged(self, message: Message, current: Message) -> Message:
        """What we have made of the message, with the evidence that has come meanwhile."""
        news = {attempt.id: attempt.evidence for attempt in current.attempts}
        attempts = tuple(a.settled_by(news.get(a.id)) for a in message.attempts)
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
                    _told_of(seen, message, attempt),
                ),
            )

    def _may_go_on(self, message: Message) -> bool:
        return self._leases.held(message) and self._pause(0)

    def _next(self, message: Message, body: Body) -> Message | tuple[Email, Attempt, Grant | None]:
        """The attempt that is to be made, and its grant, or the message as it is without one."""
        now = self._clock()
        if now >= message.expires_at:
            return lifecycle.expired(message, now)
        if len(body.attachments) < len(message.envelope.attachments):
            return lifecycle.given_up(message, "its attachments are gone", now)
        attempt_id = ids.attempt_id(message.id, len(message.attempts) + 1)
        email = self._composed(message, body, attempt_id)
        choice = self._chooser.choose(message, email, now)
        if isinstance(choice, Message):
            return choice
        attempt = Attempt(email.attempt_id, choice.provider, choice.why, message.round, now)
        return email, attempt, choice.grant

    def _composed(self, message: Message, body: Body, attempt_id: str) -> Email:
        links = self._unsubscribe_links
        added = () if links is None else links.headers(message, attempt_id)
        if self._tracking is not None:
            body = self._tracking.tracked(message, body, attempt_id, added)
        return _email(message, body, attempt_id, added)

    def _ask(self, name: str, email: Email, message: Message) -> Verdict:
        """What the provider's answer, or the lack of one, means."""
        if not self._leases.held(message):
            # Nothing was sent, but others may have the message by now: this worker starts no call.
            return Verdict(Outcome.UNAVAILABLE, "the lease ran out before the provider was asked")
        started = time.monotonic()
        try:
            accepted = self._providers[name].send(email)
            verdict = Verdict(
                Outcome.ACCEPTED,
                provider_message_id=accepted.provider_message_id,
                not_taken=accepted.not_taken,
            )
        except ProviderFailure as failure:
            verdict = _verdict(failure)
        except Exception as error:
            # A provider class that breaks off in its own way may have sent the mail before it did.
            log.exception("provider failed", provider=name, attempt=email.attempt_id)
            verdict = Verdict(Outcome.UNKNOWN, f"the provider class raised {type(error).__name__}")
        return replace(verdict, duration_ms=round((time.monotonic() - started) * 1000))

    def _report(self, message: Message, verdict: Verdict, began: datetime) -> None:
        """Tells the breakers what the call that has just come back says about its provider."""
        attempt = message.attempts[-1]
        if verdict.outcome is Outcome.REFUSED and verdict.scope == "sender":
            self._breakers.remember_sender(attempt.provider, message.envelope.sender.domain)
        self._breakers.report(
            attempt.provider,
            Report(
                verdict.outcome,
                began,
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
            body_lasts=content_lasts(message, message.updated_at) if ended else None,
            keep=self._policy.retention if ended else None,
        )
        written = self._patiently(message, lambda: self._move(change))
        if written is not None and lease_until is not None:
            self._leases.extend(written, lease_until)
        return written

    def _patiently(self, message: Message, ask: Callable[[], _Answer]) -> _Answer:
        """What is asked of Redis, waiting for it if it is away: a result waits to be written."""
        wait, tries = 0.05, 0
        while True:
            try:
                return ask()
            except StoreUnavailable as error:
                if tries % _TRIES_BETWEEN_LINES == 0:
                    log.warning(
                        "result kept until Redis is back", message=message.id, error=str(error)
                    )
                if not self._pause(wait):
                    raise
                wait, tries = min(2 * wait, _LONGEST_PAUSE), tries + 1


def _email(
    message: Message, body: Body, attempt_id: str, added: tuple[tuple[str, str], ...]
) -> Email:
    envelope, everybody = message.envelope, message.recipients
    waiting = lifecycle.offered(message)
    to, cc, bcc = _by_kind(waiting)
    left_out = len(waiting) < len(everybody)
    shown = _by_kind(everybody) if left_out else None
    return Email(
        attempt_id=attempt_id,
        sender=envelope.sender,
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=envelope.reply_to,
        subject=envelope.subject,
        text=body.text,
        html=body.html,
        headers=(*envelope.headers, *added),
        attachments=body.attachments,
        opens_tracked=envelope.track.opens,
        clicks_tracked=envelope.track.clicks,
        # Who gets it now sees whom else it was for.
        shown_to=None if shown is None else shown[0],
        shown_cc=None if shown is None else shown[1],
    )


def _by_kind(recipients: Sequence[Recipient]) -> tuple[tuple[Address, ...], ...]:
    """The addresses in To, in Cc and in Bcc."""
    found: dict[RecipientKind, list[Address]] = {"to": [], "cc": [], "bcc": []}
    for recipient in recipients:
        found[recipient.kind].append(recipient.address)
    return tuple(map(tuple, found.values()))


def _told_of(seen: Message, message: Message, attempt: Attempt) -> tuple[str, ...]:
    """Whom an answer was about, where not everybody whom it was asked for; none stands for all."""
    if attempt.outcome is Outcome.ACCEPTED:
        asked_for = seen.attempts[-1].recipients
        return attempt.recipients if attempt.recipients != asked_for else ()
    rejected = tuple(
        is_now.email
        for was, is_now in zip(seen.recipients, message.recipients, strict=True)
        if was.state is not is_now.state and is_now.reason == attempt.reason
    )
    return rejected if len(rejected) < len(lifecycle.offered(seen)) else ()


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
