"""Mail that waits: it goes when it is due, not after it expired, and not once it is called back."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from redis import Redis

from app.core import keys, lifecycle
from app.core.dead_letters import DeadLetters, NotPossible
from app.core.models import MessageState, Outcome, Priority, RecipientState
from app.core.store import Change, MessageStore
from app.core.submit import Submission, Submitter, fingerprint
from app.core.sweeper import Sweeper
from app.core.waiting import TooLate, WaitingMail
from providers.errors import Rejected, Unavailable, Unknown
from providers.types import Address
from tests.core.test_delivery import POLICY, Service, outcomes, states
from tests.scripted import BODY, message

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def service(redis: Redis, clock) -> Service:
    return Service(redis, clock)


@pytest.fixture
def waiting(service, clock) -> WaitingMail:
    return WaitingMail(service.store, DAY, POLICY.retention, clock)


@pytest.fixture
def dead(service, clock) -> DeadLetters:
    return DeadLetters(service.store, service.book, DAY, POLICY.retention, clock)


@pytest.fixture
def submit(service, clock):
    submitter = Submitter(service.store, "failover", DAY, clock)

    def submit(key=None, **fields):
        request = Submission(
            Address("orders@shop.example"), to=(Address("ann@example.net"),), text="Hi", **fields
        )
        submitted = submitter.submit("shop", request, key, fingerprint(request))
        return service.store.get(submitted.message_id)

    return submit


def now_of(service, sent):
    return service.store.get(sent.id)


def test_a_scheduled_message_waits_for_its_time_and_goes_then(service, submit, clock):
    sent = submit(send_at=clock() + HOUR)
    assert sent.state is MessageState.SCHEDULED
    assert sent.next_attempt_at == sent.send_at == clock() + HOUR
    assert sent.expires_at == clock() + HOUR + DAY
    clock.tick(3599)
    service.work()
    assert now_of(service, sent).state is MessageState.SCHEDULED
    assert service.redis.ttl(f"sp:message:{sent.id}") == -1
    clock.tick(1)
    service.work()
    assert now_of(service, sent).state is MessageState.SENT
    assert service.redis.zcard("sp:waiting") == 0


def test_a_time_that_is_past_is_now(service, submit, clock):
    sent = submit(send_at=clock() - HOUR)
    assert sent.state is MessageState.QUEUED
    assert sent.expires_at == clock() + DAY


def test_what_is_due_gets_into_the_queue_of_its_priority(service, submit, clock):
    at = clock() + HOUR
    sent = {p: submit(send_at=at, priority=p) for p in Priority}
    clock.tick(3600)
    assert service.sweeper.ring_due() == 3
    taken = service.store.take(3, "w1", clock(), POLICY.lease)[1]
    assert [claim.message.id for claim in taken] == [sent[p].id for p in Priority]


def test_many_that_are_due_at_once_are_all_rung(service, submit, clock):
    at = clock() + HOUR
    for _ in range(450):
        submit(send_at=at)
    clock.tick(3600)
    assert service.sweeper.ring_due() == 450
    assert service.sweeper.ring_due() == 0
    assert service.redis.llen("rq:queue:mail") == 450


def test_what_is_due_is_rung_by_priority_and_not_by_time(service, submit, clock):
    bulk = [submit(send_at=clock() + HOUR, priority=Priority.BULK) for _ in range(5)]
    normal = submit(send_at=clock() + 2 * HOUR)
    high = submit(send_at=clock() + 3 * HOUR, priority=Priority.HIGH)
    clock.tick(3 * 3600)
    assert service.store.ring_due(clock(), 3) == (3, [])
    assert now_of(service, high).state is now_of(service, normal).state is MessageState.QUEUED
    assert [now_of(service, sent).state for sent in bulk].count(MessageState.QUEUED) == 1
    assert service.store.ring_due(clock(), 3) == (3, [])
    assert service.store.unfinished() == {"waiting": 1, "queued": 6, "sending": 0}


def test_high_mail_that_becomes_due_while_bulk_is_rung_does_not_wait_for_it(service, submit, clock):
    for _ in range(450):
        submit(send_at=clock() + HOUR, priority=Priority.BULK)
    high = submit(send_at=clock() + HOUR + timedelta(seconds=1), priority=Priority.HIGH)
    clock.tick(3600)
    store, order = service.store, []

    class Slow(MessageStore):
        """Each step takes a second."""

        def ring_due(self, now, limit):
            done = super().ring_due(now, limit)
            order.append((now_of(service, high).state, self.unfinished()["waiting"] > 0))
            clock.tick(1)
            return done

    slow = Sweeper(Slow(service.redis), "w2", 5, POLICY.retention, clock)
    assert slow.ring_due() == 451
    assert order[:2] == [(MessageState.SCHEDULED, True), (MessageState.QUEUED, True)]
    assert store.unfinished()["waiting"] == 0


def in_one_list(service, *sent) -> None:
    """As messages waited when there was one list for all priorities."""
    for each in sent:
        for name in keys.WAITING_BY_PRIORITY:
            service.redis.zrem(name, each.id)
        due = int(each.next_attempt_at.timestamp() * 1000)
        service.redis.zadd(keys.WAITING, {each.id: due})


def test_what_waits_in_the_one_list_of_old_is_found_whatever_its_priority(service, submit, clock):
    sent = [submit(send_at=clock() + HOUR, priority=p) for p in Priority]
    in_one_list(service, *sent)
    assert service.sweeper.ring_due() == 0
    assert service.store.unfinished()["waiting"] == 3
    clock.tick(3600)
    service.work()
    assert [now_of(service, each).state for each in sent] == [MessageState.SENT] * 3
    assert not service.redis.exists(*keys.WAITING_BY_PRIORITY)


def test_what_has_left_the_one_list_of_old_is_rung_at_its_time_and_no_other(
    service, submit, waiting, clock
):
    later, sooner, gone = (submit(send_at=clock() + HOUR, priority=Priority.HIGH) for _ in "abc")
    in_one_list(service, later, sooner, gone)
    waiting.move(later, clock() + 2 * HOUR)
    waiting.move(sooner, clock() + HOUR / 2)
    waiting.cancel(gone)
    clock.tick(1800)
    assert service.sweeper.ring_due() == 1
    clock.tick(1800)
    assert service.sweeper.ring_due() == 0
    assert service.redis.zrange(keys.WAITING, 0, -1) == []
    assert service.redis.zrange(keys.WAITING_HIGH, 0, -1) == [later.id]
    clock.tick(3600)
    service.work()
    assert [now_of(service, each).state for each in (later, sooner, gone)] == [
        MessageState.SENT,
        MessageState.SENT,
        MessageState.CANCELLED,
    ]


def test_a_one_time_password_is_dropped_rather_than_sent_late(service, submit, clock):
    sent = submit(expires_at=clock() + timedelta(minutes=5))
    clock.tick(300)
    service.work()
    assert now_of(service, sent).state is MessageState.EXPIRED
    assert service.mailgun.asked == []


def test_the_time_is_looked_at_before_every_attempt_and_not_only_before_the_first(
    service, submit, clock
):
    def slowly(email):
        clock.tick(400)
        raise Unavailable("503")

    service.mailgun.answers = [slowly]
    sent = submit(expires_at=clock() + timedelta(minutes=5))
    service.work()
    expired = now_of(service, sent)
    assert expired.state is MessageState.EXPIRED
    assert len(service.mailgun.asked) == 1
    assert service.sendgrid.asked == []


def test_an_idempotency_key_is_kept_for_a_day_after_the_mail_was_due(service, submit, waiting):
    sent = submit("k", send_at=service.clock() + HOUR)
    (name,) = service.redis.keys("sp:idempotency:*")
    assert service.redis.expiretime(name) == int((service.clock() + HOUR + DAY).timestamp())
    waiting.move(sent, service.clock() + 48 * HOUR)
    assert service.redis.expiretime(name) == int((service.clock() + 48 * HOUR + DAY).timestamp())
    waiting.move(now_of(service, sent), service.clock() + HOUR)
    assert service.redis.expiretime(name) == int((service.clock() + 48 * HOUR + DAY).timestamp())


def test_a_scheduled_message_is_moved_and_expires_as_long_after(service, submit, waiting, clock):
    sent = submit(send_at=clock() + HOUR)
    moved = waiting.move(sent, clock() + 2 * HOUR)
    assert moved.state is MessageState.SCHEDULED
    assert moved.send_at == moved.next_attempt_at == clock() + 2 * HOUR
    assert moved.expires_at == clock() + 2 * HOUR + DAY
    clock.tick(3600)
    service.work()
    assert now_of(service, sent).state is MessageState.SCHEDULED
    clock.tick(3600)
    service.work()
    assert now_of(service, sent).state is MessageState.SENT


def test_a_message_that_is_moved_to_a_past_time_goes_at_once(service, submit, waiting, clock):
    sent = submit(send_at=clock() + HOUR, priority=Priority.HIGH)
    assert waiting.move(sent, clock() - HOUR).state is MessageState.QUEUED
    assert service.redis.lrange("rq:queue:mail-high", 0, -1) == [sent.id]
    service.work()
    assert now_of(service, sent).state is MessageState.SENT


def test_a_message_is_not_moved_beyond_the_time_at_which_it_said_that_it_expires(
    submit, waiting, clock
):
    sent = submit(send_at=clock() + HOUR, expires_at=clock() + 2 * HOUR)
    assert waiting.move(sent, clock() + HOUR / 2).expires_at == clock() + 2 * HOUR
    with pytest.raises(TooLate):
        waiting.move(sent, clock() + 2 * HOUR)


def test_only_what_is_scheduled_can_be_moved(service, submit, waiting, clock):
    sent = submit(send_at=clock() + HOUR)
    clock.tick(3600)
    service.sweeper.ring_due()
    # As it was seen it was scheduled still; what counts is what it is.
    with pytest.raises(NotPossible):
        waiting.move(sent, clock() + HOUR)


@pytest.mark.parametrize("wait", [None, HOUR])
def test_what_is_called_back_is_not_sent(service, submit, waiting, clock, wait):
    sent = submit(send_at=None if wait is None else clock() + wait)
    cancelled = waiting.cancel(sent)
    assert cancelled.state is MessageState.CANCELLED
    assert states(cancelled) == [RecipientState.CANCELLED]
    assert cancelled.reason == "called back"
    clock.tick(7200)
    service.work()
    assert service.mailgun.asked == []
    assert now_of(service, sent) == cancelled
    assert service.redis.ttl(f"sp:message:{sent.id}") > 0
    assert service.redis.exists(f"sp:body:{sent.id}", *keys.WAITING_BY_PRIORITY, "sp:queued") == 0


def test_what_rests_between_rounds_can_be_called_back(service, waiting):
    for provider in service.providers.values():
        provider.answers = [Unavailable("503")]
    assert waiting.cancel(service.send()).state is MessageState.CANCELLED


def test_calling_back_twice_gives_the_same_answer(submit, waiting, clock):
    sent = submit(send_at=clock() + HOUR)
    first = waiting.cancel(sent)
    assert waiting.cancel(sent) == first
    assert waiting.cancel(first) == first


def test_nothing_is_called_back_while_a_worker_has_it(service, waiting):
    sent = service.store.get(service.accept())
    claim = service.take()
    with pytest.raises(NotPossible):
        waiting.cancel(sent)
    service.worker.deliver(claim)
    with pytest.raises(NotPossible):
        waiting.cancel(sent)
    assert now_of(service, sent).state is MessageState.SENT


@pytest.mark.parametrize("on_unknown", ["hold", "failover"])
def test_what_may_have_been_sent_is_unknown_when_it_is_called_back(service, waiting, on_unknown):
    for provider in service.providers.values():
        provider.answers = [Unknown("reset")]
    seen = service.send(on_unknown=on_unknown)
    asked = len(seen.attempts)
    cancelled = waiting.cancel(seen)
    assert cancelled.state is MessageState.UNKNOWN
    assert cancelled.next_attempt_at is None
    assert service.redis.exists(f"sp:body:{seen.id}")
    assert waiting.cancel(cancelled) == cancelled
    service.clock.tick(90_000)
    service.work()
    assert now_of(service, seen).state is MessageState.UNKNOWN
    assert len(now_of(service, seen).attempts) == asked


def test_what_was_called_back_is_not_sent_when_it_turns_out_not_to_have_been(
    service, waiting, dead
):
    service.mailgun.answers = [Unknown("reset")]
    cancelled = waiting.cancel(service.send(on_unknown="hold"))
    resolved = dead.resolve(cancelled, "not_sent")
    assert resolved.state is MessageState.CANCELLED
    service.work()
    assert outcomes(now_of(service, resolved)) == [("mailgun", Outcome.UNKNOWN)]


def test_what_was_called_back_too_late_is_sent_when_it_turns_out_to_have_been(
    service, waiting, dead
):
    service.mailgun.answers = [Unknown("reset")]
    cancelled = waiting.cancel(service.send(on_unknown="hold"))
    assert dead.resolve(cancelled, "sent").state is MessageState.SENT


def test_calling_back_leaves_those_who_have_their_fate_already(service, waiting, dead):
    others = [Unavailable("503")]
    service.mailgun.answers = [Rejected("no such user", recipients=("bob@example.net",)), *others]
    service.sendgrid.answers, service.ses.answers = list(others), list(others)
    seen = service.send("ann@example.net", "bob@example.net")
    cancelled = waiting.cancel(seen)
    assert states(cancelled) == [RecipientState.CANCELLED, RecipientState.FAILED]
    assert cancelled.state is MessageState.PARTIAL
    again = dead.resend(cancelled)
    assert states(again) == [RecipientState.CANCELLED, RecipientState.QUEUED]
    assert not again.cancelled


@pytest.mark.parametrize("state", MessageState)
@pytest.mark.parametrize("held", [False, True])
def test_in_every_state_a_cancel_stops_the_work_or_is_refused(waiting, service, state, held, clock):
    seen = replace(message(clock()), state=state, next_attempt_at=clock() + HOUR if held else None)
    could = lifecycle.is_waiting(seen)
    service.store.accept([(seen, BODY)], None)
    if not could:
        with pytest.raises(NotPossible):
            waiting.cancel(seen)
        return
    assert lifecycle.has_ended(waiting.cancel(seen))


def test_a_move_that_was_overtaken_is_tried_with_what_there_is_then(
    service, submit, waiting, clock
):
    sent = submit(send_at=clock() + HOUR)
    other = lifecycle.scheduled(sent, clock() + 3 * HOUR, sent.expires_at, clock())
    service.store.move(Change(sent, other))
    assert waiting.move(sent, clock() + 2 * HOUR).send_at == clock() + 2 * HOUR


def test_a_hundred_thousand_scheduled_messages_cost_nothing_while_they_wait(valkey, clock):
    store = MessageStore(valkey)
    sweeper = Sweeper(store, "w1", 5, POLICY.retention, clock)

    def commands() -> dict[str, int]:
        """What a second of work takes: how often the server runs each command."""
        store.accept([(message(clock()), BODY)], None, room=1_000_000)
        valkey.config_resetstat()
        store.accept([(message(clock()), BODY)], None, room=1_000_000)
        sweeper.ring_due()
        sweeper.run()
        store.take(2, "w1", clock(), POLICY.lease)
        return {name: about["calls"] for name, about in valkey.info("commandstats").items()}

    commands()
    before = commands()
    due = int((clock() + DAY).timestamp() * 1000)
    valkey.zadd("sp:waiting", {f"msg_{number:026}": due + number for number in range(100_000)})
    assert commands() == before
