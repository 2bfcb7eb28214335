"""Events from the inbox to their messages: once each, whenever they come and whatever dies."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.core import keys
from app.core.event_inbox import EventInbox, InboxFull
from app.core.events import LONGEST_TIMELINE, MailEvents
from app.core.evidence import EvidenceBook
from app.core.models import (
    Attempt,
    Body,
    Envelope,
    Message,
    MessageState,
    Outcome,
    Recipient,
    Source,
)
from app.core.scripting import Scripts
from app.core.store import Change, MessageStore
from providers.types import Address, Bounce, DeliveryEvent, EventType
from providers.webhooks import WebhookContent

RETENTION = timedelta(days=7)
ID = "msg_" + "0" * 25 + "1"


class Bench:
    """A store with one message, and what applies events."""

    def __init__(self, redis, clock):
        self.redis, self.clock = redis, clock
        self.steps, self.strays = [], []
        self.store = MessageStore(redis, observers=[self._observe])
        self.inbox = EventInbox(Scripts(redis), most=1000)
        self.events = MailEvents(
            self.inbox,
            self.store,
            EvidenceBook(self.store, RETENTION, clock),
            RETENTION,
            clock,
            [self._stray],
        )

    def _observe(self, step):
        self.steps.append(step)
        return [("INCR", "sp:nothing-of-tests")]

    def _stray(self, provider, event):
        self.strays.append(event)
        return [("INCR", "sp:strays-of-tests")]

    def sent(self, outcome=Outcome.ACCEPTED, emails=("ann@example.net",), **asked):
        """A message that one provider was asked to take."""
        now = self.clock()
        new = Message(
            id=ID,
            key="shop",
            envelope=Envelope(
                Address("o@shop.example"), (), "Hi", (), (), {}, (), "failover", **asked
            ),
            recipients=tuple(Recipient(email, "", "to") for email in emails),
            state=MessageState.QUEUED,
            created_at=now,
            updated_at=now,
            expires_at=now + timedelta(days=1),
        )
        self.store.accept([(new, Body("Hello", None))], None)
        claim = self.store.claim(ID, "w", now, timedelta(seconds=45))
        from app.core import lifecycle
        from app.core.lifecycle import Verdict

        attempt = Attempt(f"{ID}-1", "mailgun", "", 1, now)
        message = self.store.move(
            Change(claim.message, lifecycle.attempt_opened(claim.message, attempt))
        )
        if outcome is not None:
            after = lifecycle.attempt_closed(message, Verdict(outcome), now)
            ended = lifecycle.has_ended(after)
            if after.state is MessageState.SENDING:
                after = lifecycle.waiting(after, now + timedelta(seconds=10), now)
            keep = RETENTION if ended else None
            message = self.store.move(Change(message, after, keep=keep))
        self.steps.clear()
        return message

    def event(self, kind="delivered", number=1, **more):
        event = DeliveryEvent(
            id=f"e-{kind}-{number}",
            type=EventType(kind),
            occurred_at=self.clock(),
            recipient="ann@example.net",
            attempt_id=f"{ID}-1",
        )
        return replace(event, **more)

    def tell(self, *events, provider="mailgun"):
        self.inbox.receive(provider, WebhookContent(tuple(events)), self.clock())
        self.events.work()
        return self.store.get(ID)


@pytest.fixture
def bench(redis, clock):
    return Bench(redis, clock)


def test_an_event_moves_its_recipient_and_is_in_the_timeline(bench):
    bench.sent()
    told = bench.tell(bench.event("bounced", bounce=Bounce.HARD, code="550", reason="no such user"))
    (recipient,) = told.recipients
    assert (told.state, recipient.bounce, recipient.code) == ("bounced", "hard", "550")
    assert told.reason == recipient.reason == "no such user"
    (happening,) = bench.store.timeline(ID)
    assert (happening.type, happening.recipient) == (EventType.BOUNCED, "ann@example.net")
    assert bench.inbox.waiting() == 0


def test_the_same_event_again_is_no_step(bench):
    bench.sent()
    first = bench.tell(bench.event())
    again = bench.tell(bench.event(), bench.event())
    assert again == first
    assert len(bench.steps) == 1
    assert [h.type for h in bench.steps[0].happenings] == [EventType.DELIVERED]
    assert len(bench.steps[0].moved) == 1


def test_an_open_is_counted_once_however_often_it_is_told(bench):
    bench.sent()
    for _ in range(3):
        told = bench.tell(bench.event("opened"), bench.event("opened", 2))
    assert told.recipients[0].opened.count == 2


def test_an_event_that_a_worker_took_and_did_not_finish_comes_again(bench, clock):
    bench.sent()
    bench.inbox.receive("mailgun", WebhookContent((bench.event(),)), clock())
    assert len(bench.inbox.take(clock(), timedelta(seconds=30), 10)) == 1
    assert not bench.inbox.take(clock(), timedelta(seconds=30), 10)
    clock.tick(31)
    bench.events.work()
    assert bench.store.get(ID).state is MessageState.DELIVERED


def test_an_event_for_an_open_attempt_is_evidence_and_waits_for_its_worker(bench, clock):
    bench.sent(outcome=None)
    told = bench.tell(bench.event())
    assert told.state is MessageState.SENDING
    assert told.attempts[0].evidence.source is Source.WEBHOOK
    assert bench.inbox.waiting() == 1


def test_an_event_for_an_unknown_attempt_is_evidence_that_it_was_accepted(bench):
    bench.sent(outcome=Outcome.UNKNOWN)
    told = bench.tell(bench.event("accepted"))
    assert told.state is MessageState.SENT
    assert told.attempts[0].evidence.source is Source.WEBHOOK
    assert bench.tell(bench.event()).state is MessageState.DELIVERED


def test_events_of_nobody_are_counted_and_offered_once(bench, redis):
    bench.sent()
    before = bench.store.get(ID)
    bench.tell(
        bench.event(attempt_id=None),
        bench.event(number=2, attempt_id="7f3"),
        bench.event(number=3, attempt_id=f"{ID}-2"),
        bench.event(number=4, attempt_id="msg_" + "9" * 26 + "-1"),
    )
    assert bench.tell(bench.event(number=5), provider="ses") == before
    assert len(bench.strays) == 5
    assert redis.get("sp:strays-of-tests") == "5"
    assert bench.inbox.counts()["mailgun"]["strays"] == 4


def test_a_token_that_comes_again_is_a_repetition(bench, clock):
    content = WebhookContent((), ("new_kind", "\x00"), "t", timedelta(hours=1))
    assert bench.inbox.receive("mailgun", content, clock())
    assert not bench.inbox.receive("mailgun", content, clock())
    counts = bench.inbox.counts()["mailgun"]
    assert (counts["ignored new_kind"], counts["ignored other"], counts["repeated"]) == (1, 1, 1)


def test_a_full_inbox_takes_nothing_and_remembers_no_token(bench, clock):
    inbox = EventInbox(Scripts(bench.redis), most=1)
    content = WebhookContent((bench.event(), bench.event("opened")), (), "t", timedelta(hours=1))
    with pytest.raises(InboxFull):
        inbox.receive("mailgun", content, clock())
    assert bench.inbox.receive("mailgun", content, clock())


def test_a_timeline_is_bounded_and_what_moves_a_recipient_still_counts(bench):
    bench.sent()
    for start in range(0, LONGEST_TIMELINE + 50, 50):
        bench.tell(*(bench.event("opened", start + n) for n in range(50)))
    told = bench.tell(bench.event("complained"))
    assert told.recipients[0].opened.count == LONGEST_TIMELINE
    assert told.state is MessageState.COMPLAINED
    assert len(bench.store.timeline(ID)) == LONGEST_TIMELINE + 1


def test_news_of_an_ended_message_keeps_all_of_it_longer(bench, clock, redis):
    bench.sent()
    ended = redis.zscore(keys.ENDED, ID)
    clock.tick(3600)
    bench.tell(bench.event())
    assert redis.zscore(keys.ENDED, ID) == ended + 3_600_000
    for name in (keys.message(ID), keys.timeline(ID)):
        assert 0 < redis.pttl(name) <= (RETENTION + timedelta(hours=2)) / timedelta(milliseconds=1)


def test_what_observers_say_is_written_once_for_each_step(bench, redis):
    bench.sent()
    before = int(redis.get("sp:nothing-of-tests"))
    for _ in range(2):
        bench.tell(bench.event(), bench.event("opened"))
    assert int(redis.get("sp:nothing-of-tests")) == before + 1


def test_a_command_that_fails_is_left_out_and_the_step_is_done(redis, clock):
    bench = Bench(redis, clock)
    bench.store._observers = (lambda step: [("LPUSH", keys.message(ID), "x"), ("INCR", "sp:n")],)
    bench.sent()
    assert bench.tell(bench.event()).state is MessageState.DELIVERED
    assert int(redis.get("sp:n")) > 0
