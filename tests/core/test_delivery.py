"""Delivery: who is asked, what follows from the answer, and what is written when."""

from datetime import timedelta

import pytest
from redis import Redis

from app.core.breaker import BreakerPolicy
from app.core.delivery import Delivery, DeliveryPolicy
from app.core.evidence import EvidenceBook
from app.core.fitness import Breakers
from app.core.leases import LeaseKeeper
from app.core.models import (
    Evidence,
    Finding,
    MessageState,
    Outcome,
    RecipientState,
    Source,
)
from app.core.quotas import Quotas
from app.core.route_book import RouteBook
from app.core.scripting import Scripts, StoreUnavailable
from app.core.store import MessageStore
from app.core.suppression import Suppressions
from app.core.sweeper import Sweeper
from app.core.tracking import Tracking
from app.core.unsubscribing import UnsubscribeLinks
from providers.errors import (
    AccountRefused,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.types import Accepted, NotTaken
from tests.scripted import BODY, Scripted, message

LEASE = timedelta(seconds=45)
BREAKER = BreakerPolicy(3, timedelta(seconds=30), LEASE)
POLICY = DeliveryPolicy((10.0, 30.0), LEASE, timedelta(days=7), grace=timedelta(seconds=20))


class Service:
    """A store with providers, one worker and the sweeper, moved by hand."""

    def __init__(self, redis: Redis, clock, pause=lambda seconds: True) -> None:
        self.redis = redis
        self.clock = clock
        self.store = MessageStore(redis)
        self.mailgun, self.sendgrid, self.ses = map(Scripted, ("mailgun", "sendgrid", "ses"))
        self.providers = {p.name: p for p in (self.mailgun, self.sendgrid, self.ses)}
        self.pause = pause
        self.quotas: Quotas | None = None
        self.suppressions = Suppressions(Scripts(redis), clock)
        self.links = UnsubscribeLinks("https://mail.example.com", b"k" * 32)
        self.sweeper = Sweeper(self.store, "w1", 5, POLICY.retention, clock)
        self.book = EvidenceBook(self.store, POLICY.retention, clock)
        self.worker = self.new_worker("w1")

    def new_worker(self, owner: str) -> Delivery:
        leases = LeaseKeeper(
            self.store, owner, LEASE, self.clock, lambda: self.clock.now.timestamp()
        )
        breakers = Breakers(self.store, BREAKER, self.clock, freshness=0)
        return Delivery(
            self.store,
            self.providers,
            tuple(self.providers),
            POLICY,
            leases,
            breakers,
            self.book,
            self.clock,
            lambda: 0.5,
            self.pause,
            routes=RouteBook(Scripts(self.redis), freshness=0),
            quotas=self.quotas,
            suppressions=self.suppressions,
            unsubscribe_links=self.links,
            tracking=Tracking("https://mail.example.com", b"k" * 32),
        )

    def accept(self, *to: str, **changes):
        sent = message(self.clock(), *to, **changes)
        self.store.accept([(sent, BODY)], None)
        return sent.id

    def take(self, owner: str = "w1"):
        return self.store.take(1, owner, self.clock(), LEASE)[1][0]

    def work(self) -> None:
        """Everything that can be done now."""
        self.sweeper.run()
        while claims := self.store.take(10, "w1", self.clock(), LEASE)[1]:
            for claim in claims:
                self.worker.deliver(claim)

    def send(self, *to: str, **changes):
        message_id = self.accept(*to, **changes)
        self.work()
        return self.store.get(message_id)


@pytest.fixture
def service(redis: Redis, clock) -> Service:
    return Service(redis, clock)


def outcomes(sent):
    return [(a.provider, a.outcome) for a in sent.attempts]


def states(sent):
    return [r.state for r in sent.recipients]


def test_an_accepted_mail_is_sent_once_and_its_content_dropped(service):
    sent = service.send("ann@example.net")
    assert sent.state is MessageState.SENT
    assert states(sent) == [RecipientState.SENT]
    assert outcomes(sent) == [("mailgun", Outcome.ACCEPTED)]
    assert sent.attempts[0].provider_message_id == "mailgun-1"
    assert sent.provider == "mailgun"
    assert not sent.possible_duplicate
    assert service.redis.exists(f"sp:body:{sent.id}") == 0
    email = service.mailgun.asked[0]
    assert email.attempt_id == sent.attempts[0].id
    assert (email.text, email.html) == (BODY.text, BODY.html)


def test_the_attempt_is_written_before_the_call(service):
    seen = []

    def look(email):
        seen.append(service.store.get(email.attempt_id.rsplit("-", 1)[0]))
        return Accepted("x")

    service.mailgun.answers = [look]
    service.send()
    assert seen[0].state is MessageState.SENDING
    assert seen[0].open_attempt.provider == "mailgun"
    assert "first in the order" in seen[0].open_attempt.why


@pytest.mark.parametrize(
    ("failure", "outcome", "scope"),
    [
        (AccountRefused("401: no such key", status=401), Outcome.REFUSED, "account"),
        (SenderRefused("403: not verified", status=403), Outcome.REFUSED, "sender"),
        (MessageRefused("too large"), Outcome.REFUSED, "message"),
        (Unavailable("503", status=503), Outcome.UNAVAILABLE, None),
        (Unknown("read timeout"), Outcome.UNKNOWN, None),
    ],
)
def test_the_next_provider_is_asked_at_once(service, failure, outcome, scope):
    service.mailgun.answers = [failure]
    sent = service.send()
    assert sent.state is MessageState.SENT
    assert outcomes(sent) == [("mailgun", outcome), ("sendgrid", Outcome.ACCEPTED)]
    assert sent.attempts[0].scope == scope
    assert sent.attempts[0].reason == failure.reason
    assert "mailgun was asked" in sent.attempts[1].why
    assert sent.possible_duplicate is (outcome is Outcome.UNKNOWN)
    assert not service.ses.asked


def test_a_rejection_that_names_nobody_fails_the_message_and_asks_no_other_provider(service):
    service.mailgun.answers = [Rejected("400: bad content", status=400)]
    sent = service.send("ann@example.net", "bob@example.net")
    assert sent.state is MessageState.FAILED
    assert sent.reason == "400: bad content"
    assert states(sent) == [RecipientState.FAILED] * 2
    assert not service.sendgrid.asked
    assert service.redis.exists(f"sp:body:{sent.id}") == 1


def test_a_rejection_that_names_a_recipient_fails_it_and_offers_the_others_again(service):
    service.mailgun.answers = [Rejected("bad address", recipients=("bob@example.net",))]
    sent = service.send("ann@example.net", "bob@example.net")
    assert sent.state is MessageState.PARTIAL
    assert states(sent) == [RecipientState.SENT, RecipientState.FAILED]
    assert [a.email for a in service.mailgun.asked[1].to] == ["ann@example.net"]
    assert not service.sendgrid.asked


def test_after_a_timeout_on_hold_nobody_else_is_asked_and_the_mail_waits_unknown(service, clock):
    service.mailgun.answers = [Unknown("read timeout")]
    sent = service.send(on_unknown="hold")
    assert sent.state is MessageState.UNKNOWN
    assert states(sent) == [RecipientState.UNKNOWN]
    assert sent.next_attempt_at == sent.expires_at
    clock.tick(24 * 3600 + 1)
    service.work()
    ended = service.store.get(sent.id)
    assert ended.state is MessageState.UNKNOWN
    assert ended.next_attempt_at is None
    assert service.redis.ttl(f"sp:message:{sent.id}") > 0
    assert not service.sendgrid.asked
    assert len(service.mailgun.asked) == 1


def test_after_a_round_without_acceptance_the_mail_waits_by_the_schedule(service, clock):
    for provider in service.providers.values():
        provider.answers = [Unavailable("503")] * 3
    sent = service.send()
    assert sent.state is MessageState.RETRYING
    assert sent.next_attempt_at == clock() + timedelta(seconds=10)
    service.work()
    assert len(service.mailgun.asked) == 1
    clock.tick(10)
    service.work()
    sent = service.store.get(sent.id)
    assert sent.next_attempt_at == clock() + timedelta(seconds=30)
    for provider in service.providers.values():
        provider.answers = []
    clock.tick(30)
    service.work()
    sent = service.store.get(sent.id)
    assert sent.state is MessageState.SENT
    assert [a.round for a in sent.attempts] == [1, 1, 1, 2, 2, 2, 3]
    assert "round 3" in sent.attempts[-1].why
    assert not sent.possible_duplicate


def test_a_mail_whose_time_runs_out_expires_and_keeps_its_content(service, clock):
    for provider in service.providers.values():
        provider.answers = [Unavailable("503")] * 3
    sent = service.send(expires_at=clock() + timedelta(seconds=15))
    clock.tick(10)
    service.work()
    waiting = service.store.get(sent.id)
    assert waiting.next_attempt_at == waiting.expires_at
    clock.tick(5)
    service.work()
    ended = service.store.get(sent.id)
    assert ended.state is MessageState.EXPIRED
    assert len(service.mailgun.asked) == 2
    assert service.redis.exists(f"sp:body:{sent.id}") == 1


def test_a_mail_that_may_have_been_sent_ends_unknown_and_not_expired(service, clock):
    service.mailgun.answers = [Unknown("reset")]
    service.sendgrid.answers, service.ses.answers = [Unavailable("503")], [Unavailable("503")]
    sent = service.send(expires_at=clock() + timedelta(seconds=5))
    clock.tick(5)
    service.work()
    assert service.store.get(sent.id).state is MessageState.UNKNOWN


def test_providers_that_cannot_carry_it_are_passed_over_with_the_reason(service):
    service.mailgun.obstacle = "it is too large"
    sent = service.send()
    assert outcomes(sent) == [("sendgrid", Outcome.ACCEPTED)]
    assert "mailgun cannot carry it: it is too large" in sent.attempts[0].why


def test_a_mail_that_nobody_can_carry_fails_with_the_reason(service):
    service.mailgun.obstacle = service.sendgrid.obstacle = "it is too large"
    service.ses.answers = [MessageRefused("413")]
    sent = service.send()
    assert sent.state is MessageState.FAILED
    assert "it is too large" in sent.reason


def test_the_messages_own_order_is_followed(service):
    service.ses.answers = [Unavailable("503")]
    sent = service.send(providers=("ses", "mailgun"))
    assert outcomes(sent) == [("ses", Outcome.UNAVAILABLE), ("mailgun", Outcome.ACCEPTED)]
    assert "message's own order" in sent.attempts[0].why


def test_a_provider_class_that_breaks_off_leaves_an_unknown_outcome(service):
    service.mailgun.answers = [ZeroDivisionError("a defect")]
    sent = service.send()
    assert outcomes(sent) == [("mailgun", Outcome.UNKNOWN), ("sendgrid", Outcome.ACCEPTED)]
    assert sent.possible_duplicate


def test_a_message_found_with_an_open_attempt_is_unknown_and_not_blindly_resent(service, clock):
    class Killed(BaseException):
        pass

    def die(email):
        raise Killed

    service.mailgun.answers = [die]
    message_id = service.accept(on_unknown="hold")
    with pytest.raises(Killed):
        service.worker.deliver(service.take())
    clock.tick(46)
    service.work()
    found = service.store.get(message_id)
    assert found.state is MessageState.UNKNOWN
    assert found.attempts[0].outcome is Outcome.UNKNOWN
    assert len(service.mailgun.asked) == 1
    assert not service.sendgrid.asked


def test_a_message_claimed_by_a_worker_that_died_before_its_attempt_is_simply_sent(service, clock):
    message_id = service.accept(on_unknown="hold")
    service.take()
    clock.tick(44)
    service.work()
    assert not service.mailgun.asked
    clock.tick(2)
    service.work()
    found = service.store.get(message_id)
    assert found.state is MessageState.SENT
    assert not found.possible_duplicate


def test_a_worker_that_lost_its_lease_starts_no_call(service, clock):
    message_id = service.accept()
    mine = service.take("w1")
    clock.tick(46)
    service.sweeper.run()
    theirs = service.take("w2")
    assert service.worker.deliver(mine) is None
    assert not service.mailgun.asked
    assert service.new_worker("w2").deliver(theirs).state is MessageState.SENT
    assert len(service.mailgun.asked) == 1
    assert service.store.get(message_id).state is MessageState.SENT


def stop_for_a_minute(service, clock, answer):
    """A call during which its worker stands still, and another takes the message up."""

    def call(email):
        clock.tick(60)
        service.sweeper.run()
        service.new_worker("w2").deliver(service.take("w2"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


def test_a_late_acceptance_counts_as_evidence_and_settles_a_held_message(service, clock):
    message_id = service.accept(on_unknown="hold")
    service.mailgun.answers = [stop_for_a_minute(service, clock, Accepted("late"))]
    assert service.worker.deliver(service.take()) is None
    found = service.store.get(message_id)
    assert found.state is MessageState.SENT
    assert found.provider == "mailgun"
    assert found.attempts[0].outcome is Outcome.UNKNOWN
    assert found.attempts[0].evidence.provider_message_id == "late"
    assert len(service.mailgun.asked) == 1
    assert not found.possible_duplicate


def test_a_late_refusal_lets_a_held_message_go_on_without_a_doubt(service, clock):
    message_id = service.accept(on_unknown="hold")
    service.mailgun.answers = [stop_for_a_minute(service, clock, Unavailable("503"))]
    service.worker.deliver(service.take())
    assert service.store.get(message_id).state is MessageState.QUEUED
    service.work()
    found = service.store.get(message_id)
    assert found.state is MessageState.SENT
    assert not found.possible_duplicate


def test_a_late_answer_without_news_leaves_the_message_unknown(service, clock):
    message_id = service.accept(on_unknown="hold")
    service.mailgun.answers = [stop_for_a_minute(service, clock, Unknown("reset"))]
    service.worker.deliver(service.take())
    assert service.store.get(message_id).state is MessageState.UNKNOWN
    assert len(service.mailgun.asked) == 1


def test_evidence_that_comes_while_another_provider_is_asked_is_not_lost(service, clock):
    message_id = service.accept()
    service.mailgun.answers = [Unknown("reset")]

    def news_comes(email):
        proof = Evidence(1, Source.ANSWER, Finding.ACCEPTED, clock(), None, "found")
        service.book.add(message_id, proof)
        assert service.store.get(message_id).state is MessageState.SENDING
        raise Unavailable("503")

    service.sendgrid.answers = [news_comes]
    service.work()
    found = service.store.get(message_id)
    assert found.state is MessageState.SENT
    assert found.provider == "mailgun"
    assert outcomes(found)[1] == ("sendgrid", Outcome.UNAVAILABLE)
    assert not service.ses.asked
    assert service.redis.exists(f"sp:body:{message_id}") == 0


def test_a_worker_that_stops_hands_the_message_back_after_its_attempt(redis, clock):
    service = Service(redis, clock, pause=lambda seconds: not service.mailgun.asked)
    service.mailgun.answers = [Unavailable("503")]
    message_id = service.accept()
    service.worker.deliver(service.take())
    found = service.store.get(message_id)
    assert found.state is MessageState.QUEUED
    assert outcomes(found) == [("mailgun", Outcome.UNAVAILABLE)]
    assert not service.sendgrid.asked
    assert redis.lrange("rq:queue:mail", 0, -1) == [message_id]


class Flaky:
    """A store whose next moves find Redis away, `times` times."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self.times = 0

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def move(self, change):
        if self.times:
            self.times -= 1
            raise StoreUnavailable("away")
        return self._store.move(change)


def test_a_result_is_kept_while_redis_is_away_and_nothing_is_sent_again(redis, clock):
    service = Service(redis, clock)
    service.store = Flaky(service.store)
    worker = service.new_worker("w1")

    def redis_goes(email):
        service.store.times = 5
        return Accepted("x")

    service.mailgun.answers = [redis_goes]
    message_id = service.accept()
    assert worker.deliver(service.take()).state is MessageState.SENT
    assert service.store.get(message_id).state is MessageState.SENT
    assert len(service.mailgun.asked) == 1
    assert not service.sendgrid.asked


@pytest.mark.parametrize("on_unknown", ["failover", "hold"])
def test_evidence_found_during_the_grace_settles_it_and_nobody_else_is_asked(
    service, clock, on_unknown
):
    service.mailgun.can_tell = True
    service.mailgun.answers = [Unknown("read timeout")]
    mail = service.send(on_unknown=on_unknown)
    assert mail.state is MessageState.RETRYING
    assert mail.next_attempt_at == clock() + timedelta(seconds=10)
    service.mailgun.known[mail.attempts[0].id] = Accepted("found")
    clock.tick(10)
    service.work()
    found = service.store.get(mail.id)
    assert found.state is MessageState.SENT
    assert found.provider == "mailgun"
    assert found.attempts[0].evidence.source is Source.EVENTS
    assert not found.possible_duplicate
    assert not service.sendgrid.asked


def test_without_evidence_the_next_provider_is_asked_when_the_grace_is_over(service, clock):
    service.mailgun.can_tell = True
    service.mailgun.answers = [Unknown("read timeout")]
    mail = service.send()
    for _ in range(2):
        clock.tick(10)
        service.work()
    sent = service.store.get(mail.id)
    assert outcomes(sent) == [("mailgun", Outcome.UNKNOWN), ("sendgrid", Outcome.ACCEPTED)]
    assert sent.possible_duplicate
    assert len(service.mailgun.looked_for) == 2


def test_without_evidence_a_held_message_is_held_when_the_grace_is_over(service, clock):
    service.mailgun.can_tell = True
    service.mailgun.answers = [Unknown("read timeout")]
    mail = service.send(on_unknown="hold")
    for _ in range(2):
        clock.tick(10)
        service.work()
    held = service.store.get(mail.id)
    assert held.state is MessageState.UNKNOWN
    assert held.next_attempt_at == held.expires_at


def test_a_provider_that_cannot_be_asked_costs_no_grace(service):
    service.mailgun.answers = [Unknown("read timeout")]
    assert service.send().state is MessageState.SENT


def test_a_message_that_was_taken_for_some_is_offered_to_the_next_for_the_rest(service):
    not_taken = (
        NotTaken("bob@example.net", "550 no such user", rejected=True),
        NotTaken("eve@example.net", "451 later", rejected=False),
    )
    service.mailgun.answers = [lambda email: Accepted("mg-1", not_taken)]
    sent = service.send("ann@example.net", "bob@example.net", "eve@example.net")
    assert outcomes(sent) == [("mailgun", Outcome.ACCEPTED), ("sendgrid", Outcome.ACCEPTED)]
    assert states(sent) == [RecipientState.SENT, RecipientState.FAILED, RecipientState.SENT]
    assert sent.recipients[1].reason == "550 no such user"
    assert [a.email for a in service.sendgrid.asked[0].recipients] == ["eve@example.net"]
    first, second = sent.attempts
    assert first.recipients == ("ann@example.net",)
    assert "not for 2 of its recipients: 550 no such user; 451 later" in first.reason
    assert second.recipients == ("eve@example.net",)
    assert not sent.possible_duplicate


def test_recipients_for_whom_a_message_was_not_taken_fail_where_all_the_others_were(service):
    not_taken = (NotTaken("bob@example.net", "inactive there", rejected=True),)
    service.mailgun.answers = [lambda email: Accepted("mg-1", not_taken)]
    sent = service.send("ann@example.net", "bob@example.net")
    assert states(sent) == [RecipientState.SENT, RecipientState.FAILED]
    assert sent.state is MessageState.PARTIAL
    assert len(sent.attempts) == 1
