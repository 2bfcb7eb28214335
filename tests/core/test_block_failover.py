"""Failing over after the fact: who is blocked is offered to another provider, once."""

import dataclasses
from datetime import timedelta

import pytest
from msgspec.structs import replace
from redis import Redis

from app.core import keys, stats
from app.core.block_failover import CONTENT_KEPT, BlockFailover, content_lasts
from app.core.dead_letters import DeadLetters
from app.core.event_inbox import EventInbox
from app.core.events import MailEvents
from app.core.models import MessageState, Outcome, RecipientState
from app.core.route_book import RouteBook
from app.core.routes import Place, Route
from app.core.scripting import Scripts
from app.core.suppression import Suppression, SuppressionReason
from app.core.waiting import WaitingMail
from providers.errors import Rejected, Unavailable, Unknown
from providers.types import Accepted, Attachment, Bounce, DeliveryEvent, EventType, NotTaken
from providers.webhooks import WebhookContent
from tests.core.examples import attempt
from tests.core.test_delivery import POLICY, Service, outcomes, states
from tests.scripted import BODY, message

ANN, BOB = "ann@example.net", "bob@example.net"
BLOCKED = {"bounce": Bounce.BLOCK, "code": "550", "reason": "550 listed at bl.example"}


class Blocking(Service):
    """A service whose providers report what a test tells them to."""

    def __init__(self, redis, clock):
        super().__init__(redis, clock)
        self.inbox = EventInbox(Scripts(redis))
        self.events = MailEvents(
            self.inbox,
            self.store,
            self.book,
            POLICY.retention,
            clock,
            block_failover=BlockFailover(
                self.store,
                tuple(self.providers),
                timedelta(hours=24),
                RouteBook(Scripts(redis), freshness=0),
                self.suppressions,
            ),
        )
        self.told = 0

    def report(self, mail, kind, number=1, email=ANN, **more):
        """The provider of an attempt reports, and a worker applies it; the message then."""
        self.told += 1
        attempt = mail.attempts[number - 1]
        event = DeliveryEvent(
            f"e{self.told}", EventType(kind), self.clock(), email, attempt.id, **more
        )
        return self.tell(attempt.provider, event)

    def tell(self, provider, *events):
        self.inbox.receive(provider, WebhookContent(events), self.clock())
        self.events.work()
        message_id = events[0].attempt_id.rpartition("-")[0]
        return self.store.get(message_id)

    def blocked(self, mail, number=1, email=ANN):
        return self.report(mail, "bounced", number, email, **BLOCKED)

    def again(self, mail):
        """The message when what was waiting has been done."""
        self.clock.tick(60)
        self.work()
        return self.store.get(mail.id)


@pytest.fixture
def service(redis: Redis, clock) -> Blocking:
    return Blocking(redis, clock)


def test_who_is_blocked_is_offered_to_the_next_provider(service):
    mail = service.send(ANN, failover_on_block=True)
    back = service.blocked(mail)
    assert (back.state, states(back)) == (MessageState.QUEUED, [RecipientState.QUEUED])
    assert back.recipients[0].passed_on == 1
    after = service.again(mail)
    assert outcomes(after) == [("mailgun", Outcome.ACCEPTED), ("sendgrid", Outcome.ACCEPTED)]
    assert after.state is MessageState.SENT
    assert after.provider == "sendgrid"
    why = "next in the order, round 2; after a block by mailgun: 550 listed at bl.example"
    assert after.attempts[1].why == why
    assert not after.possible_duplicate
    assert service.sendgrid.asked[0].text == BODY.text
    assert service.report(after, "delivered", 2).state is MessageState.DELIVERED


def test_what_the_provider_dropped_for_reasons_of_policy_goes_on_too(service):
    mail = service.send(ANN, failover_on_block=True)
    back = service.report(mail, "rejected", bounce=Bounce.BLOCK, reason="spam content")
    assert back.state is MessageState.QUEUED
    assert service.again(mail).provider == "sendgrid"


@pytest.mark.parametrize(
    ("kind", "bounce"),
    [
        ("bounced", Bounce.HARD),
        ("bounced", Bounce.SOFT),
        ("rejected", Bounce.HARD),
        ("rejected", Bounce.SOFT),
        ("rejected", None),
        ("complained", None),
        ("deferred", None),
        ("delivered", None),
        ("unsubscribed", None),
    ],
)
def test_no_other_news_leads_to_another_provider(service, kind, bounce):
    mail = service.send(ANN, failover_on_block=True)
    assert states(service.report(mail, kind, bounce=bounce)) != [RecipientState.QUEUED]
    assert len(service.again(mail).attempts) == 1


def test_without_being_asked_for_it_does_not_happen_and_no_content_is_kept(service):
    mail = service.send(ANN)
    assert not service.store.has_body(mail.id)
    assert service.blocked(mail).state is MessageState.BOUNCED
    assert len(service.again(mail).attempts) == 1


def test_it_happens_once(service):
    mail = service.send(ANN, failover_on_block=True)
    service.blocked(mail)
    after = service.again(mail)
    bounced = service.blocked(after, 2)
    assert (bounced.state, bounced.recipients[0].bounce) == (MessageState.BOUNCED, Bounce.BLOCK)
    service.blocked(bounced)
    service.blocked(bounced, 2)
    assert len(service.again(mail).attempts) == 2
    assert not service.store.has_body(mail.id)


def test_a_block_that_is_told_twice_passes_on_once(service):
    mail = service.send(ANN, failover_on_block=True)
    event = DeliveryEvent(
        "e", EventType.BOUNCED, service.clock(), ANN, mail.attempts[0].id, **BLOCKED
    )
    service.tell("mailgun", event, dataclasses.replace(event, id="another"))
    service.tell("mailgun", event)
    after = service.again(mail)
    service.tell("mailgun", event, dataclasses.replace(event, id="a third"))
    assert outcomes(service.again(mail)) == outcomes(after)
    assert len(after.attempts) == 2


def test_only_who_is_blocked_gets_it_again(service):
    mail = service.send(ANN, BOB, failover_on_block=True)
    service.report(mail, "delivered", email=BOB)
    assert service.blocked(mail).state is MessageState.QUEUED
    after = service.again(mail)
    (email,) = service.sendgrid.asked
    assert [a.email for a in email.recipients] == [ANN]
    assert [a.email for a in email.header_to] == [ANN, BOB]
    assert states(after) == [RecipientState.SENT, RecipientState.DELIVERED]


def test_a_provider_that_was_down_before_is_asked_now(service):
    service.mailgun.answers = [Unavailable("down")]
    mail = service.send(ANN, failover_on_block=True, providers=("mailgun", "sendgrid"))
    service.blocked(mail, 2)
    after = service.again(mail)
    assert [a.provider for a in after.attempts] == ["mailgun", "sendgrid", "mailgun"]
    assert after.state is MessageState.SENT


def test_it_waits_for_a_provider_that_is_down_now(service):
    service.sendgrid.answers = [Unavailable("down")]
    mail = service.send(ANN, failover_on_block=True, providers=("mailgun", "sendgrid"))
    service.blocked(mail)
    service.work()
    assert service.store.get(mail.id).state is MessageState.RETRYING
    after = service.again(mail)
    assert [a.provider for a in after.attempts] == ["mailgun", "sendgrid", "sendgrid"]


def test_where_nobody_else_could_have_it_the_block_stays(service):
    mail = service.send(ANN, failover_on_block=True, providers=("mailgun",))
    assert service.blocked(mail).state is MessageState.BOUNCED


def test_somebody_who_may_have_it_already_is_not_asked(service):
    service.mailgun.answers = [Unknown("reset")]
    mail = service.send(ANN, failover_on_block=True, providers=("mailgun", "sendgrid"))
    assert outcomes(mail)[-1] == ("sendgrid", Outcome.ACCEPTED)
    assert service.blocked(mail, 2).state is MessageState.BOUNCED


def test_the_providers_of_its_route_are_asked(service):
    RouteBook(Scripts(service.redis)).replace(
        (Route("orders", (Place("ses"), Place("mailgun")), ("order",)),)
    )
    mail = service.send(ANN, failover_on_block=True)
    service.blocked(mail)
    assert [a.provider for a in service.again(mail).attempts] == ["ses", "mailgun"]


def test_with_another_copy_on_its_way_it_waits_for_that(service):
    service.mailgun.answers = [Unknown("reset")]
    mail = service.send(ANN, failover_on_block=True)
    mail = service.report(mail, "accepted", 1)
    assert mail.possible_duplicate
    assert service.blocked(mail, 2).state is MessageState.BOUNCED


def test_a_suppressed_recipient_is_not_passed_on(service, clock):
    mail = service.send(ANN, failover_on_block=True)
    entry = Suppression(ANN, SuppressionReason.MANUAL, "api:shop", clock())
    service.suppressions.add([entry])
    assert service.blocked(mail).state is MessageState.BOUNCED
    allowed = service.send(ANN, failover_on_block=True, override_suppression="asked for")
    assert service.blocked(allowed).state is MessageState.QUEUED


def test_a_mail_whose_own_time_is_over_is_not_sent_again(service, clock):
    mail = service.accept(ANN, failover_on_block=True)
    seen = service.store.get(mail)
    until = clock() + timedelta(hours=1)
    over = replace(seen.envelope, expires_at=until)
    service.redis.flushall()
    service.store.accept([(replace(seen, envelope=over, expires_at=until), BODY)], None)
    service.work()
    sent = service.store.get(mail)
    assert 0 < service.redis.pttl(keys.body(mail)) <= 3_600_000
    clock.tick(3600)
    assert service.blocked(sent).state is MessageState.BOUNCED


def test_a_mail_without_a_time_of_its_own_gets_one_as_long_as_any_other(service, clock):
    mail = service.send(ANN, failover_on_block=True)
    clock.tick(60 * 3600)
    assert service.blocked(mail).expires_at == clock() + timedelta(hours=24)
    assert service.again(mail).state is MessageState.SENT


def test_what_was_called_back_is_not_sent_again(service):
    mail = service.send(ANN, failover_on_block=True)
    seen = service.store.get(mail.id)
    service.redis.hset(keys.message(mail.id), "cancelled", "1")
    assert service.blocked(seen).state is MessageState.BOUNCED


def test_content_and_files_stay_for_72_hours_and_no_longer(service, redis, clock):
    file = Attachment("a.pdf", "application/pdf", b"%PDF")
    mail = message(clock(), ANN, failover_on_block=True)
    service.store.accept([(mail, replace(BODY, attachments=(file,)))], None)
    service.work()
    hours = CONTENT_KEPT / timedelta(milliseconds=1)
    for name in (keys.body(mail.id), keys.attachments(mail.id)):
        assert hours - 60_000 < redis.pttl(name) <= hours
    assert redis.pttl(keys.message(mail.id)) > hours
    clock.tick(3600)
    service.report(service.store.get(mail.id), "deferred")
    assert hours - 3_660_000 < redis.pttl(keys.body(mail.id)) <= hours - 3_600_000
    service.report(service.store.get(mail.id), "delivered")
    assert not redis.exists(keys.body(mail.id), keys.attachments(mail.id))


def test_content_does_not_outlast_its_record(service, redis):
    service.worker._policy = dataclasses.replace(POLICY, retention=timedelta(hours=1))
    mail = service.send(ANN, failover_on_block=True)
    assert 0 < redis.pttl(keys.body(mail.id)) <= redis.pttl(keys.message(mail.id)) + 1000


def test_content_is_of_no_use_when_its_time_is_over(clock):
    mail = message(clock(), ANN, failover_on_block=True, state=MessageState.SENT)
    sent = replace(mail.recipients[0], state=RecipientState.SENT)
    mail = replace(
        mail, recipients=(sent,), attempts=(replace(attempt("ses"), started_at=clock()),)
    )
    assert content_lasts(mail, clock()) == CONTENT_KEPT
    assert content_lasts(mail, clock() + timedelta(days=4)) == timedelta(0)


def test_when_the_content_is_gone_the_block_stays(service, redis):
    mail = service.send(ANN, failover_on_block=True)
    redis.delete(keys.body(mail.id))
    assert service.blocked(mail).state is MessageState.BOUNCED


def test_content_that_goes_between_the_look_and_the_step_keeps_it_from_being_done(
    service, redis, clock
):
    mail = service.send(ANN, failover_on_block=True)
    service.store.has_body = lambda message_id: bool(redis.delete(keys.body(message_id)))
    assert service.blocked(mail).state is MessageState.SENT
    del service.store.has_body
    clock.tick(2)
    service.events.work()
    assert service.store.get(mail.id).state is MessageState.BOUNCED


def test_what_is_put_back_lasts_until_it_has_ended_again(service, redis):
    mail = service.send(ANN, failover_on_block=True)
    service.blocked(mail)
    for name in (keys.message(mail.id), keys.body(mail.id), keys.timeline(mail.id)):
        assert redis.pttl(name) == -1
    assert redis.zscore(keys.ENDED, mail.id) is None
    service.again(mail)
    assert redis.pttl(keys.message(mail.id)) > 0
    assert not redis.exists(keys.body(mail.id))


def test_a_delivery_that_is_told_after_the_block_is_a_possible_duplicate(service):
    mail = service.send(ANN, failover_on_block=True)
    service.blocked(mail)
    after = service.again(mail)
    assert not after.possible_duplicate
    told = service.report(after, "delivered", 1)
    assert told.possible_duplicate
    assert service.report(told, "delivered", 2).state is MessageState.DELIVERED


def test_a_mail_that_was_delivered_before_it_came_back_is_not_sent_again(service):
    mail = service.send(ANN, failover_on_block=True)
    service.report(mail, "delivered")
    back = service.blocked(mail)
    assert (back.state, back.recipients[0].bounce) == (MessageState.BOUNCED, Bounce.BLOCK)
    assert len(service.again(mail).attempts) == 1


def test_a_complaint_about_the_first_copy_ends_it(service):
    mail = service.send(ANN, failover_on_block=True)
    service.blocked(mail)
    assert service.report(mail, "complained").state is MessageState.COMPLAINED
    assert len(service.again(mail).attempts) == 1


def test_others_who_still_wait_may_be_sent_it_by_who_had_the_blocked_copy(service):
    service.mailgun.answers = [
        lambda email: Accepted("m-1", (NotTaken(BOB, "try again", rejected=False),))
    ]
    service.sendgrid.answers = [Unavailable("down")]
    service.ses.answers = [Unavailable("down")]
    mail = service.send(ANN, BOB, failover_on_block=True)
    assert mail.state is MessageState.RETRYING
    mixed = service.blocked(mail)
    assert mixed.state is MessageState.RETRYING
    assert states(mixed) == [RecipientState.QUEUED, RecipientState.QUEUED]
    after = service.again(mail)
    assert [[a.email for a in e.recipients] for e in service.mailgun.asked] == [[ANN, BOB], [BOB]]
    assert [[a.email for a in e.recipients] for e in service.sendgrid.asked[1:]] == [[ANN]]
    assert states(after) == [RecipientState.SENT, RecipientState.SENT]


def test_an_answer_of_the_second_provider_is_for_who_was_passed_on(service):
    service.sendgrid.answers = [Rejected("no such user", recipients=(ANN,))]
    mail = service.send(ANN, BOB, failover_on_block=True)
    service.report(mail, "delivered", email=BOB)
    service.blocked(mail)
    after = service.again(mail)
    assert states(after) == [RecipientState.FAILED, RecipientState.DELIVERED]
    assert after.state is MessageState.PARTIAL


def test_whoever_has_it_resent_may_want_it_from_the_provider_that_blocked(service, clock):
    service.sendgrid.answers = [Rejected("spam")]
    mail = service.send(ANN, failover_on_block=True, providers=("mailgun", "sendgrid"))
    service.blocked(mail)
    failed = service.again(mail)
    assert failed.state is MessageState.FAILED
    letters = DeadLetters(service.store, service.book, timedelta(hours=24), POLICY.retention, clock)
    letters.resend(failed)
    assert [a.provider for a in service.again(mail).attempts] == ["mailgun", "sendgrid", "mailgun"]
    assert service.blocked(service.store.get(mail.id), 3).state is MessageState.BOUNCED


def test_on_hold_a_doubt_about_the_second_copy_is_waited_for(service, clock):
    service.sendgrid.answers = [Unknown("reset")]
    mail = service.send(ANN, failover_on_block=True, on_unknown="hold")
    service.blocked(mail)
    held = service.again(mail)
    assert held.state is MessageState.UNKNOWN
    letters = DeadLetters(service.store, service.book, timedelta(hours=24), POLICY.retention, clock)
    assert letters.resolve(held, "not_sent").state is MessageState.QUEUED
    after = service.again(mail)
    assert [a.provider for a in after.attempts] == ["mailgun", "sendgrid", "ses"]
    assert after.state is MessageState.SENT
    assert after.possible_duplicate


def test_what_was_put_back_can_be_called_back(service, clock):
    mail = service.send(ANN, failover_on_block=True)
    waiting = WaitingMail(service.store, timedelta(hours=24), POLICY.retention, clock)
    assert waiting.cancel(service.blocked(mail)).state is MessageState.CANCELLED
    assert len(service.again(mail).attempts) == 1
    assert not service.store.has_body(mail.id)


def test_it_is_counted_as_a_failover_after_a_block(service):
    mail = service.send(ANN, failover_on_block=True)
    counted = stats.Numbers(stats.contribution(service.blocked(mail))).all()
    assert (counted["sent"], counted["failed_over_after_block"]) == (0, 0)
    after = service.again(mail)
    numbers = stats.Numbers(stats.contribution(after))
    assert numbers.all()["failed_over_after_block"] == numbers.all()["failed_over"] == 1
    assert numbers.by_provider()["sendgrid"]["failed_over_after_block"] == 1


def test_the_timeline_tells_of_the_block_and_what_followed(service):
    mail = service.send(ANN, failover_on_block=True)
    service.blocked(mail)
    service.report(service.again(mail), "delivered", 2)
    told = [(h.type, h.provider, h.attempt) for h in service.store.timeline(mail.id)]
    assert told == [("bounced", "mailgun", 1), ("delivered", "sendgrid", 2)]
