"""Calls of which nobody knows, made again to a provider that takes an attempt only once."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from redis import Redis

from app.core import lifecycle
from app.core.fitness import Breakers
from app.core.lifecycle import Verdict
from app.core.models import Attempt, Message, MessageState, Outcome, RecipientState, Source
from providers.errors import AccountRefused, Limited, Rejected, Unavailable, Unknown
from tests.core.test_delivery import BREAKER, LEASE, Service, outcomes
from tests.scripted import message

DAY = timedelta(hours=23)
GRACE = timedelta(seconds=20)
LOST = Unknown("read timeout")


@pytest.fixture
def service(redis: Redis, clock) -> Service:
    service = Service(redis, clock)
    service.mailgun.repeatable = DAY
    return service


def doubtful(now, **changes) -> Message:
    """A message whose only attempt had no answer, and may be made again."""
    mail = message(now, "ann@example.net", "bob@example.net")
    attempt = Attempt(f"{mail.id}-1", "mailgun", "first in the order", 1, now)
    opened = lifecycle.attempt_opened(mail, attempt)
    verdict = Verdict(Outcome.UNKNOWN, "read timeout")
    closed = lifecycle.attempt_closed(opened, verdict, now, GRACE, repeatable=True)
    return replace(closed, **changes)


# --- the rules


def test_the_pauses_grow_and_end_with_the_grace(clock):
    mail, pauses = doubtful(clock()), []
    while mail.next_attempt_at < mail.grace_until:
        pauses.append((mail.next_attempt_at - clock()).total_seconds())
        clock.tick(pauses[-1])
        assert lifecycle.is_to_be_repeated(mail, clock(), DAY)
        mail = lifecycle.in_grace(lifecycle.repeated(mail), clock(), repeatable=True)
        if len(pauses) == 4:
            break
    assert pauses == [1, 2, 4, 8]
    assert mail.attempts[0].repeats == 4
    assert not lifecycle.is_to_be_repeated(mail, clock(), DAY)


def test_a_call_is_made_again_only_while_it_says_something_of_the_first(clock):
    mail, now = doubtful(clock()), clock()
    ann, bob = mail.recipients
    sent = replace(ann, state=RecipientState.SENT)
    assert lifecycle.is_to_be_repeated(mail, now, DAY)
    assert not lifecycle.is_to_be_repeated(mail, now, None)
    assert not lifecycle.is_to_be_repeated(mail, now + GRACE, DAY)
    assert not lifecycle.is_to_be_repeated(mail, now + timedelta(seconds=5), timedelta(seconds=5))
    assert not lifecycle.is_to_be_repeated(replace(mail, expires_at=now), now, DAY)
    assert not lifecycle.is_to_be_repeated(replace(mail, grace_until=None), now, DAY)
    assert not lifecycle.is_to_be_repeated(replace(mail, recipients=(sent, bob)), now, DAY)


# --- delivery


def again(service: Service, seconds: float) -> None:
    service.clock.tick(seconds)
    service.work()


@pytest.mark.parametrize("on_unknown", ["failover", "hold"])
def test_the_same_call_is_made_again_and_its_acceptance_settles_the_attempt(service, on_unknown):
    service.mailgun.answers = [LOST]
    mail = service.send("ann@example.net", "bob@example.net", on_unknown=on_unknown)
    # Nobody waits with it meanwhile.
    assert (mail.state, mail.lease) == (MessageState.RETRYING, None)
    assert mail.next_attempt_at == service.clock() + timedelta(seconds=1)
    again(service, 1)
    sent = service.store.get(mail.id)
    assert sent.state is MessageState.SENT
    assert not sent.possible_duplicate
    (attempt,) = sent.attempts
    assert (attempt.outcome, attempt.repeats) == (Outcome.UNKNOWN, 1)
    assert attempt.evidence.source is Source.ANSWER
    assert attempt.evidence.provider_message_id == "mailgun-2"
    first, second = service.mailgun.asked
    assert first == second
    assert not service.sendgrid.asked


@pytest.mark.parametrize(
    "answer",
    [
        Rejected("400: bad content"),
        AccountRefused("401: no such key"),
        Unavailable("503"),
        Unknown("409: another payload"),
    ],
)
def test_no_other_answer_settles_it(service, answer):
    service.mailgun.answers = [LOST, answer]
    mail = service.send()
    again(service, 1)
    found = service.store.get(mail.id)
    assert found.state is MessageState.RETRYING
    assert outcomes(found) == [("mailgun", Outcome.UNKNOWN)]
    assert found.attempts[0].unresolved
    assert found.attempts[0].reason == "read timeout"
    assert not service.sendgrid.asked


@pytest.mark.parametrize(
    ("on_unknown", "state"),
    [("failover", MessageState.SENT), ("hold", MessageState.UNKNOWN)],
)
def test_without_an_acceptance_the_policy_decides_when_the_grace_is_over(
    service, on_unknown, state
):
    # Refusals of a message, so that the breaker stays closed.
    service.mailgun.answers = [LOST, *[Rejected("400")] * 9]
    mail = service.send(on_unknown=on_unknown)
    for _ in range(20):
        again(service, 1)
    found = service.store.get(mail.id)
    assert found.state is state
    assert found.attempts[0].repeats == 4
    assert len(service.mailgun.asked) == 5
    assert found.possible_duplicate is (on_unknown == "failover")


def test_a_provider_that_is_paused_is_not_asked_again(service):
    service.mailgun.answers = [LOST]
    mail = service.send()
    breakers = Breakers(service.store, BREAKER, service.clock)
    breakers.pause("mailgun")
    again(service, 1)
    assert len(service.mailgun.asked) == 1
    breakers.resume("mailgun")
    again(service, 1)
    assert service.store.get(mail.id).state is MessageState.SENT


def test_a_provider_that_wants_to_be_left_alone_is(service):
    service.mailgun.answers = [LOST, Limited("429", retry_after=60)]
    mail = service.send()
    for _ in range(20):
        again(service, 1)
    assert len(service.mailgun.asked) == 2
    assert outcomes(service.store.get(mail.id))[1] == ("sendgrid", Outcome.ACCEPTED)


def test_a_provider_with_an_open_breaker_is_not_asked_again(service):
    service.mailgun.answers = [LOST] * 9
    service.send()
    for _ in range(20):
        again(service, 1)
    # The third in a row opened it.
    assert len(service.mailgun.asked) == 3


def test_an_attempt_that_a_crash_left_open_is_made_again(service):
    def crash(email):
        raise KeyboardInterrupt

    service.mailgun.answers = [crash]
    message_id = service.accept()
    with pytest.raises(KeyboardInterrupt):
        service.worker.deliver(service.take())
    service.worker = service.new_worker("w2")
    again(service, LEASE.total_seconds() + 1)
    again(service, 1)
    sent = service.store.get(message_id)
    assert sent.state is MessageState.SENT
    assert not sent.possible_duplicate
    assert service.mailgun.asked[0] == service.mailgun.asked[1]
    assert not service.sendgrid.asked


def test_a_provider_that_does_not_know_an_attempt_again_is_asked_once(service):
    service.mailgun.repeatable = None
    service.mailgun.can_tell = True
    service.mailgun.answers = [LOST]
    service.send()
    for _ in range(19):
        again(service, 1)
    assert len(service.mailgun.asked) == 1
