"""Asking providers for their events: what is read is kept first, and nothing is passed over."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from redis import Redis

from app.core import keys
from app.core.event_inbox import EventInbox, InboxFull
from app.core.event_poll import INTERVAL, EventPoll
from app.core.scripting import Scripts
from app.core.store import MessageStore
from providers.errors import Unavailable
from providers.types import DeliveryEvent, EventType
from tests.scripted import Scripted

HOUR = timedelta(hours=1)


@dataclass
class Telling(Scripted):
    """A provider that tells so many events at a time, if it is up."""

    events: list[DeliveryEvent] = field(default_factory=list)
    asked_since: list[datetime] = field(default_factory=list)
    at_once: int = 2
    up: bool = True
    hooked: bool = False
    can_tell: bool = True

    @property
    def hears(self) -> bool:
        return self.hooked

    def news(self, since):
        self.asked_since.append(since)
        if not self.up:
            raise Unavailable("503")
        told = tuple(e for e in self.events if e.occurred_at > since)[: self.at_once]
        return told, told[-1].occurred_at if told else since


class Bench:
    """A poller over a real store, and what it asks."""

    def __init__(self, redis: Redis, clock, most: int = 100) -> None:
        self.redis, self.clock = redis, clock
        self.mailgun, self.ses = Telling("mailgun"), Telling("ses")
        self.inbox = EventInbox(Scripts(redis), most)
        self.poll = self.new_poll("w1")

    def new_poll(self, owner: str) -> EventPoll:
        providers = {p.name: p for p in (self.mailgun, self.ses)}
        return EventPoll(self.inbox, providers, MessageStore(self.redis), owner, self.clock)

    def later(self) -> None:
        """One interval later, as real servers' keys do not go by our clock."""
        self.clock.tick(INTERVAL.total_seconds())
        self.redis.delete(keys.POLLER)

    def work(self) -> None:
        self.poll.work()
        self.later()

    def kept(self) -> list[str]:
        now = self.clock() + timedelta(days=1)
        return sorted(one.event.id for one in self.inbox.take(now, timedelta(0), 100))


@pytest.fixture
def bench(redis: Redis, clock) -> Bench:
    return Bench(redis, clock)


def event(name: str, at: datetime) -> DeliveryEvent:
    return DeliveryEvent(name, EventType.DELIVERED, at, "ann@example.net")


def test_what_a_provider_has_to_tell_is_kept_as_if_a_webhook_had_brought_it(bench, clock):
    bench.mailgun.events = [event("a", clock() - HOUR / 2)]
    bench.ses.events = [event("b", clock() - HOUR / 3)]
    began = clock()
    bench.work()
    assert bench.kept() == ["a", "b"]
    heard = bench.inbox.heard()["mailgun"]
    assert (heard.events, heard.last_at) == (1, began)


def test_the_first_look_goes_back_an_hour_and_the_next_go_on_from_there(bench, clock):
    began = clock()
    bench.mailgun.events = [event(str(n), began - HOUR + n * HOUR / 4) for n in range(1, 6)]
    for _ in range(4):
        bench.work()
    looks = [began - HOUR, *(began - HOUR + n * HOUR / 4 for n in (2, 4, 5))]
    assert bench.mailgun.asked_since == looks
    assert bench.kept() == ["1", "2", "3", "4", "5"]


def test_where_it_was_left_is_known_to_whoever_asks_next(bench, clock):
    bench.mailgun.events = [event("a", clock() - HOUR / 2)]
    bench.work()
    bench.new_poll("w2").work()
    assert bench.mailgun.asked_since[1] == bench.mailgun.events[0].occurred_at
    # What is known of it goes when nobody has asked for a week.
    assert 0 < bench.redis.pttl(keys.polled("mailgun")) <= 7 * 86_400_000


def test_one_worker_asks_once_in_an_interval(bench):
    bench.poll.work()
    bench.poll.work()
    bench.new_poll("w2").work()
    assert len(bench.mailgun.asked_since) == 1
    bench.later()
    bench.new_poll("w2").work()
    assert len(bench.mailgun.asked_since) == 2


def test_who_has_webhooks_or_cannot_tell_is_not_asked(bench):
    bench.mailgun.hooked = True
    bench.ses.can_tell = False
    bench.poll.work()
    assert bench.mailgun.asked_since == bench.ses.asked_since == []
    # Nor does anybody take the turn.
    assert not bench.redis.exists(keys.POLLER)


def test_a_provider_that_does_not_answer_keeps_no_other_from_it_and_loses_nothing(bench, clock):
    bench.mailgun.events = [event("a", clock() - HOUR / 2)]
    bench.ses.events = [event("b", clock() - HOUR / 2)]
    bench.mailgun.up = False
    bench.work()
    assert bench.kept() == ["b"]
    bench.mailgun.up = True
    bench.work()
    assert bench.kept() == ["a", "b"]


def test_what_finds_no_room_is_read_again(redis, clock):
    bench = Bench(redis, clock, most=1)
    bench.mailgun.events = [event(name, clock() - HOUR / 2) for name in "ab"]
    with pytest.raises(InboxFull):
        bench.work()
    assert bench.kept() == []
    bench.later()
    bench.inbox = EventInbox(Scripts(redis))
    bench.new_poll("w1").work()
    assert bench.kept() == ["a", "b"]
