"""Evidence that somebody appended, and drew no conclusion from: the next report does."""

import pytest
from redis import Redis

from app.core.event_inbox import EventInbox
from app.core.events import MailEvents
from app.core.models import Evidence, Finding, MessageState, RecipientState, Source
from app.core.scripting import Scripts
from providers.errors import Unknown
from providers.types import Bounce, DeliveryEvent, EventType
from providers.webhooks import WebhookContent
from tests.core.test_delivery import POLICY, Service


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
