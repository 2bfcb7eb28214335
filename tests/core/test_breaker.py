"""Breakers: what opens them, what does not, and how a provider comes back."""

import threading
from datetime import timedelta

import pytest
from redis import Redis

from app.core import breaker
from app.core.breaker import BreakerPolicy, BreakerState, Fitness, Report
from app.core.fitness import Breakers
from app.core.models import MessageState, Outcome
from app.core.store import MessageStore
from app.services import connect
from providers.errors import AccountRefused, Limited, Rejected, SenderRefused, Unavailable
from tests.core.test_delivery import Service, outcomes

POLICY = BreakerPolicy(3, timedelta(seconds=30), timedelta(seconds=45))


def report(clock, outcome: Outcome, **more) -> Report:
    return Report(outcome, clock(), **more)


def after(clock, *outcomes_: Outcome, start: Fitness | None = None, **more) -> Fitness:
    fitness = start or Fitness()
    for outcome in outcomes_:
        fitness = breaker.learned(fitness, report(clock, outcome, **more), clock(), POLICY)
    return fitness


@pytest.mark.parametrize("fault", [Outcome.UNAVAILABLE, Outcome.UNKNOWN])
def test_faults_in_a_row_open_it_and_fewer_do_not(clock, fault):
    assert after(clock, fault, fault).breaker is BreakerState.CLOSED
    opened = after(clock, fault, fault, fault, reason="503")
    assert opened.breaker is BreakerState.OPEN
    assert opened.until == clock() + POLICY.cooldown
    assert opened.reason == "503"
    assert opened.failures == 0


def test_a_success_between_faults_starts_the_count_afresh(clock):
    fault, fine = Outcome.UNAVAILABLE, Outcome.ACCEPTED
    assert after(clock, fault, fault, fine, fault, fault).breaker is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("outcome", "scope"),
    [(Outcome.REJECTED, None), (Outcome.REFUSED, "sender"), (Outcome.REFUSED, "message")],
)
def test_a_bad_recipient_sender_or_message_never_opens_it(clock, outcome, scope):
    assert after(clock, *[outcome] * 20, scope=scope).breaker is BreakerState.CLOSED


def test_a_refused_account_opens_it_at_once(clock):
    assert after(clock, Outcome.REFUSED, scope="account").breaker is BreakerState.OPEN


@pytest.mark.parametrize(
    ("asked_for", "seconds"), [(None, 5), (17.0, 17), (10**9, POLICY.longest_rest.total_seconds())]
)
def test_too_many_requests_make_it_rest_and_do_not_open_it(clock, asked_for, seconds):
    rested = after(clock, *[Outcome.UNAVAILABLE] * 9, limited=True, retry_after=asked_for)
    assert rested.breaker is BreakerState.CLOSED
    assert rested.fit_from(clock()) == clock() + timedelta(seconds=seconds)


def test_what_began_before_a_change_says_nothing_about_now(clock):
    stale = report(clock, Outcome.UNAVAILABLE)
    clock.tick(1)
    closed = Fitness(changed_at=clock())
    assert breaker.learned(closed, stale, clock(), POLICY) == closed


def test_a_probe_that_fails_opens_it_again_and_one_that_succeeds_closes_it(clock):
    opened = after(clock, Outcome.REFUSED, scope="account")
    clock.tick(30)
    probed = breaker.probing(opened, clock(), POLICY)
    assert probed.fit_from(clock()) > clock()
    assert after(clock, Outcome.UNAVAILABLE, start=probed).breaker is BreakerState.OPEN
    assert after(clock, Outcome.ACCEPTED, start=probed).breaker is BreakerState.CLOSED
    assert after(clock, Outcome.REFUSED, start=probed, scope="sender").breaker is (
        BreakerState.CLOSED
    )


def test_a_probe_whose_worker_died_is_followed_by_another(clock):
    probed = breaker.probing(after(clock, Outcome.REFUSED, scope="account"), clock(), POLICY)
    clock.tick(POLICY.probe.total_seconds())
    assert probed.fit_from(clock()) == clock()


@pytest.fixture
def service(redis: Redis, clock) -> Service:
    return Service(redis, clock)


def breakers_of(service: Service) -> Breakers:
    return Breakers(service.store, POLICY, service.clock, freshness=0)


def test_all_workers_share_what_one_has_found_out(service):
    service.mailgun.answers = [AccountRefused("401: bad key", status=401)]
    service.send()
    later = service.send()
    assert outcomes(later) == [("sendgrid", Outcome.ACCEPTED)]
    assert "mailgun has an open breaker (401: bad key)" in later.attempts[0].why
    assert breakers_of(service).of("mailgun").breaker is BreakerState.OPEN


def test_after_the_cooldown_exactly_one_message_probes(service, clock):
    service.mailgun.answers = [AccountRefused("401", status=401)]
    service.send()
    clock.tick(30)
    seen = []

    def another_meanwhile(email):
        service.mailgun.answers = []
        other = service.accept()
        service.new_worker("w2").deliver(service.take("w2"))
        seen.append(service.store.get(other))
        raise Unavailable("503")

    service.mailgun.answers = [another_meanwhile]
    probe = service.send()
    assert outcomes(probe)[0] == ("mailgun", Outcome.UNAVAILABLE)
    assert outcomes(seen[0]) == [("sendgrid", Outcome.ACCEPTED)]
    assert "mailgun is being probed" in seen[0].attempts[0].why
    assert breakers_of(service).of("mailgun").breaker is BreakerState.OPEN
    clock.tick(30)
    assert outcomes(service.send()) == [("mailgun", Outcome.ACCEPTED)]
    assert breakers_of(service).of("mailgun").breaker is BreakerState.CLOSED


def test_of_many_at_once_one_gets_the_probe(valkey_url, valkey, clock):
    store = MessageStore(connect(valkey_url))
    first = Breakers(store, POLICY, clock, freshness=0)
    first.report("mailgun", report(clock, Outcome.REFUSED, scope="account"))
    clock.tick(30)
    got = []

    def probe() -> None:
        mine = Breakers(MessageStore(connect(valkey_url)), POLICY, clock)
        got.append(mine.begin_probe("mailgun", clock()))

    threads = [threading.Thread(target=probe) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 19 + [True]


def test_a_refused_sender_is_remembered_for_its_domain_alone(service, clock):
    service.mailgun.answers = [SenderRefused("403: not verified", status=403)]
    service.send()
    assert outcomes(service.send()) == [("sendgrid", Outcome.ACCEPTED)]
    breakers = breakers_of(service)
    assert breakers.refuses_sender("mailgun", "shop.example")
    assert not breakers.refuses_sender("mailgun", "other.example")
    assert not breakers.refuses_sender("ses", "shop.example")
    assert breakers.of("mailgun").breaker is BreakerState.CLOSED
    clock.tick(15 * 60)
    assert outcomes(service.send()) == [("mailgun", Outcome.ACCEPTED)]


def test_bad_recipients_by_the_hundred_keep_the_breaker_closed(service):
    service.mailgun.answers = [Rejected("400")] * 100
    for _ in range(100):
        service.accept()
    service.work()
    assert breakers_of(service).of("mailgun") == Fitness()


def test_when_nobody_is_fit_mail_waits_for_the_first_that_will_be_and_spends_no_round(
    service, clock
):
    service.mailgun.answers = [AccountRefused("401")]
    service.sendgrid.answers = [AccountRefused("401")]
    service.ses.answers = [Limited("429", retry_after=12)]
    service.send()
    waiting = service.send()
    assert waiting.state is MessageState.RETRYING
    assert waiting.attempts == ()
    assert waiting.round == 1
    assert waiting.next_attempt_at == clock() + timedelta(seconds=12)
    clock.tick(12)
    service.work()
    assert outcomes(service.store.get(waiting.id)) == [("ses", Outcome.ACCEPTED)]


def test_before_it_expires_a_mail_is_offered_once_to_the_least_bad(service, clock):
    for provider in service.providers.values():
        provider.answers = [AccountRefused("401")] * 9
    service.send()
    mail = service.send(expires_at=clock() + timedelta(seconds=20))
    assert outcomes(mail) == [("mailgun", Outcome.REFUSED)]
    assert "least bad, before the message expires" in mail.attempts[0].why
    clock.tick(10)
    service.work()
    assert len(service.store.get(mail.id).attempts) == 1
    clock.tick(10)
    service.work()
    assert service.store.get(mail.id).state is MessageState.EXPIRED


def test_a_paused_provider_is_never_asked_and_a_resumed_one_is(service, clock):
    breakers = breakers_of(service)
    for name in service.providers:
        breakers.pause(name)
    mail = service.send(expires_at=clock() + timedelta(seconds=20))
    assert mail.attempts == ()
    assert mail.state is MessageState.RETRYING
    breakers.resume("ses")
    clock.tick(20 - 1)
    assert outcomes(service.send()) == [("ses", Outcome.ACCEPTED)]


def test_redis_away_does_not_keep_a_mail_from_being_sent(tmp_path, clock):
    breakers = Breakers(
        MessageStore(connect(f"unix://{tmp_path}/nobody.sock")), POLICY, clock, freshness=0
    )
    assert breakers.of("mailgun") == Fitness()
    assert not breakers.refuses_sender("mailgun", "shop.example")
    breakers.report("mailgun", report(clock, Outcome.UNAVAILABLE))
