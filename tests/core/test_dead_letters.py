"""What a person can do about mail that did not arrive, and what stays true meanwhile."""

from datetime import timedelta

import pytest
from redis import Redis

from app.core.dead_letters import DeadLetters, NotPossible
from app.core.models import MessageState, Outcome, RecipientState
from providers.errors import Rejected, Unavailable, Unknown
from tests.core.test_delivery import POLICY, Service, outcomes, states

DAY = timedelta(hours=24)


@pytest.fixture
def service(redis: Redis, clock) -> Service:
    return Service(redis, clock)


@pytest.fixture
def dead(service, clock) -> DeadLetters:
    return DeadLetters(service.store, service.book, DAY, POLICY.retention, clock)


def held(service):
    service.mailgun.answers = [Unknown("reset")]
    return service.send(on_unknown="hold")


def test_an_operator_who_knows_that_it_was_sent_ends_the_doubt(service, dead):
    resolved = dead.resolve(held(service), "sent")
    assert resolved.state is MessageState.SENT
    assert resolved.provider == "mailgun"
    assert service.redis.exists(f"sp:body:{resolved.id}") == 0
    assert service.redis.ttl(f"sp:message:{resolved.id}") > 0


def test_an_operators_not_sent_sends_it_and_says_that_there_may_be_two(service, dead):
    resolved = dead.resolve(held(service), "not_sent")
    assert resolved.state is MessageState.QUEUED
    assert resolved.possible_duplicate
    service.work()
    sent = service.store.get(resolved.id)
    assert sent.state is MessageState.SENT
    assert outcomes(sent) == [("mailgun", Outcome.UNKNOWN), ("sendgrid", Outcome.ACCEPTED)]
    assert sent.possible_duplicate


def test_a_not_sent_after_its_time_makes_an_expired_dead_letter(service, dead, clock):
    mail = held(service)
    clock.tick(DAY.total_seconds())
    service.work()
    resolved = dead.resolve(service.store.get(mail.id), "not_sent")
    assert resolved.state is MessageState.EXPIRED
    assert dead.resend(resolved).state is MessageState.QUEUED


def test_only_what_is_unknown_can_be_resolved(service, dead):
    with pytest.raises(NotPossible):
        dead.resolve(service.send(), "not_sent")


def test_a_failed_message_is_resent_under_its_id_with_its_old_attempts(service, dead, clock):
    service.mailgun.answers = [Rejected("400: bad content")]
    failed = service.send()
    clock.tick(3600)
    again = dead.resend(failed)
    assert again.id == failed.id
    assert again.expires_at == clock() + DAY
    service.work()
    sent = service.store.get(failed.id)
    assert sent.state is MessageState.SENT
    assert outcomes(sent) == [("mailgun", Outcome.REJECTED), ("mailgun", Outcome.ACCEPTED)]
    assert not sent.possible_duplicate


def test_a_resend_by_a_named_provider_asks_only_that_one(service, dead):
    service.mailgun.answers = [Rejected("400")]
    dead.resend(failed := service.send(), providers=["ses"])
    service.work()
    assert outcomes(service.store.get(failed.id))[-1] == ("ses", Outcome.ACCEPTED)


def test_a_resend_goes_only_to_those_it_did_not_reach(service, dead):
    service.mailgun.answers = [Rejected("bad", recipients=("bob@example.net",))]
    partial = service.send("ann@example.net", "bob@example.net")
    assert partial.state is MessageState.PARTIAL
    dead.resend(partial)
    service.work()
    assert states(service.store.get(partial.id)) == [RecipientState.SENT] * 2
    assert [a.email for a in service.mailgun.asked[-1].to] == ["bob@example.net"]


def test_chosen_recipients_only_are_resent(service, dead):
    service.mailgun.answers = [Rejected("bad")]
    failed = service.send("ann@example.net", "bob@example.net")
    dead.resend(failed, recipients=["bob@example.net"])
    service.work()
    mail = service.store.get(failed.id)
    assert states(mail) == [RecipientState.FAILED, RecipientState.SENT]
    assert mail.state is MessageState.PARTIAL


def test_the_rests_between_rounds_start_afresh_with_a_resend(service, dead, clock):
    for provider in service.providers.values():
        provider.answers = [Unavailable("503")] * 2
    mail = service.send(expires_at=clock() + timedelta(seconds=1))
    clock.tick(1)
    service.work()
    again = dead.resend(service.store.get(mail.id))
    service.work()
    assert service.store.get(again.id).next_attempt_at == clock() + timedelta(seconds=10)


@pytest.mark.parametrize("recipients", [[], ["nobody@example.net"]])
def test_what_was_sent_cannot_be_resent(service, dead, recipients):
    with pytest.raises(NotPossible):
        dead.resend(service.send(), recipients)


def test_a_dropped_message_keeps_its_record_and_cannot_be_resent(service, dead, clock):
    service.mailgun.answers = [Rejected("400")]
    dropped = dead.drop(service.send())
    assert dropped.state is MessageState.FAILED
    assert service.redis.exists(f"sp:body:{dropped.id}") == 0
    with pytest.raises(NotPossible):
        dead.resend(dropped)


def test_a_held_message_that_is_dropped_waits_for_nothing_more(service, dead, clock):
    dropped = dead.drop(held(service))
    assert dropped.state is MessageState.FAILED
    clock.tick(DAY.total_seconds())
    service.work()
    assert service.store.get(dropped.id) == dropped


def test_of_two_who_resend_at_once_one_is_told(service, dead):
    service.mailgun.answers = [Rejected("400")]
    failed = service.send()
    dead.resend(failed)
    with pytest.raises(NotPossible):
        dead.resend(failed)
