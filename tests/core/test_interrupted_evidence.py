"""Evidence that somebody appended, and drew no conclusion from: the next report does."""

import pytest
from redis import Redis

from app.core.event_inbox import EventInbox
from app.core.events import MailEvents
from app.core.models import Evidence, Finding, MessageState, RecipientState, Source
from app.core.scripting import Scripts
from providers.errors import Rejected, Unknown
from providers.types import Accepted, Bounce, DeliveryEvent, EventType, NotTaken
from providers.webhooks import WebhookContent
from tests.core.test_delivery import LEASE, POLICY, Service, states

ANN, BOB = "ann@example.net", "bob@example.net"


@pytest.fixture
def service(redis: Redis, clock) -> Service:
    return Service(redis, clock)


def report(service, clock, mail, kind: EventType, bounce: Bounce | None = None) -> None:
    """A webhook comes with a report on the first attempt, and a worker applies it."""
    inbox = EventInbox(Scripts(service.redis))
    events = MailEvents(inbox, service.store, service.book, POLICY.retention, clock)
    event = DeliveryEvent(
        "event-1", kind, clock(), "ann@example.net", mail.attempts[0].id, bounce=bounce
    )
    inbox.receive("mailgun", WebhookContent((event,)), clock())
    events.work()


def held_with_evidence(service, clock):
    """A held message of which a webhook has told, and whose worker died over it."""
    service.mailgun.answers = [Unknown("reset")]
    mail = service.send(on_unknown="hold")
    assert mail.state is MessageState.UNKNOWN
    found = Evidence(1, Source.WEBHOOK, Finding.ACCEPTED, clock())
    service.store.append(mail.id, found)
    return mail


def test_a_bounce_ends_what_somebody_elses_evidence_had_proved(service, clock):
    mail = held_with_evidence(service, clock)
    report(service, clock, mail, EventType.BOUNCED, Bounce.HARD)
    after = service.store.get(mail.id)
    assert after.state is MessageState.BOUNCED
    assert after.recipients[0].state is RecipientState.BOUNCED
    assert service.redis.ttl(f"sp:message:{mail.id}") > 0


def test_an_acceptance_that_is_told_again_ends_it_too(service, clock):
    mail = held_with_evidence(service, clock)
    report(service, clock, mail, EventType.ACCEPTED)
    assert service.store.get(mail.id).state is MessageState.SENT


def while_others_took_over(service, clock, answer):
    """Mailgun's answer, which comes when another worker has the message already."""

    def late(email):
        clock.tick(LEASE.total_seconds() + 1)
        service.sweeper.run()
        service.new_worker("w2").deliver(service.take("w2"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return late


def lost(service, clock, answer, on_unknown="hold"):
    """A mail to two, as it is when the worker that lost it has appended what it was answered."""
    service.mailgun.answers = [while_others_took_over(service, clock, answer)]
    message_id = service.accept(ANN, BOB, on_unknown=on_unknown)
    service.worker.deliver(service.take())
    return service.store.get(message_id)


PARTLY = Accepted("m-1", (NotTaken(BOB, "try again", rejected=False),))


def test_a_late_answer_that_it_was_taken_for_some_sends_it_to_the_others(service, clock):
    mail = lost(service, clock, PARTLY)
    assert states(mail) == [RecipientState.SENT, RecipientState.QUEUED]
    assert mail.state is MessageState.QUEUED
    assert mail.attempts[0].recipients == (ANN,)
    service.work()
    after = service.store.get(mail.id)
    assert states(after) == [RecipientState.SENT, RecipientState.SENT]
    assert [a.email for a in service.sendgrid.asked[-1].recipients] == [BOB]
    assert not after.possible_duplicate


def test_a_late_answer_for_some_says_nothing_of_who_waits(service, clock):
    service.sendgrid.answers = service.ses.answers = [Unknown("reset")] * 4
    mail = lost(service, clock, PARTLY, "failover")
    assert states(mail) == [RecipientState.SENT, RecipientState.QUEUED]


def test_a_late_rejection_that_names_some_fails_these_alone(service, clock):
    mail = lost(service, clock, Rejected("no such user", recipients=(BOB,)))
    assert states(mail) == [RecipientState.QUEUED, RecipientState.FAILED]
    assert mail.state is MessageState.QUEUED
    service.work()
    assert states(service.store.get(mail.id)) == [RecipientState.SENT, RecipientState.FAILED]


def test_a_late_rejection_that_names_nobody_fails_all(service, clock):
    mail = lost(service, clock, Rejected("spam"))
    assert states(mail) == [RecipientState.FAILED] * 2


def test_a_webhook_does_not_widen_what_an_answer_said(service, clock):
    mail = lost(service, clock, PARTLY)
    report(service, clock, mail, EventType.DELIVERED)
    after = service.store.get(mail.id)
    assert states(after) == [RecipientState.DELIVERED, RecipientState.QUEUED]
