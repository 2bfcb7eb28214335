"""What became of the mail that providers took: how it is counted, judged and used."""

from dataclasses import replace
from datetime import timedelta

import pytest
from redis import Redis

from app.core import keys
from app.core.event_inbox import EventInbox
from app.core.events import MailEvents
from app.core.router import Order
from app.core.scripting import Scripts, StoreUnavailable
from app.core.store import MessageStore
from app.core.track_record import (
    Counts,
    Impression,
    RecordPolicy,
    TrackRecords,
    judged,
    moved_back,
    observer,
)
from providers.errors import Unavailable
from providers.types import Bounce, DeliveryEvent, EventType
from providers.webhooks import WebhookContent
from tests.core.examples import NOW
from tests.core.test_delivery import POLICY, Service

HOUR = timedelta(hours=1)
RECORD = RecordPolicy(HOUR, least=3, share=0.5)


class Watched(Service):
    """A service that counts, and asks who looks bad last."""

    def __init__(self, redis, clock):
        super().__init__(redis, clock)
        self.store = MessageStore(redis, observers=[observer(RECORD)])
        self.inbox = EventInbox(Scripts(redis))
        self.events = MailEvents(self.inbox, self.store, self.book, POLICY.retention, clock)
        self.hearing = dict.fromkeys(self.providers, True)
        self.records = TrackRecords(
            Scripts(redis), RECORD, self.hearing, clock, lambda: clock.now.timestamp()
        )
        self.worker = self.new_worker("w1")
        self.worker._chooser._track_records = self.records

    def report(self, mail, kind, number=1, **more):
        attempt = mail.attempts[number - 1]
        event = DeliveryEvent(
            f"{attempt.id}-{kind}", EventType(kind), self.clock(), "ann@example.net", attempt.id
        )
        content = WebhookContent((replace(event, **more),))
        self.inbox.receive(attempt.provider, content, self.clock())
        self.events.work()

    def heard_once(self):
        """Webhooks of Mailgun have come at all."""
        self.report(self.send(), "delivered")

    def record(self, name="mailgun"):
        return self.records.all()[name]


@pytest.fixture
def service(redis: Redis, clock) -> Watched:
    return Watched(redis, clock)


def test_what_is_taken_heard_of_and_blocked_is_counted_once(service):
    first, second = service.send(), service.send()
    for _ in range(2):
        service.report(first, "deferred")
        service.report(first, "delivered")
        service.report(second, "bounced", bounce=Bounce.BLOCK)
    assert service.record().counts == Counts(taken=2, heard=2, blocked=1)
    assert service.record("sendgrid").counts == Counts()


def test_a_report_that_outweighs_a_block_takes_its_place(service):
    mail = service.send()
    service.report(mail, "bounced", bounce=Bounce.BLOCK)
    service.report(mail, "complained")
    assert service.record().counts == Counts(taken=1, heard=1)


def test_every_recipient_counts_for_whom_a_provider_took_it(service):
    service.mailgun.answers = [Unavailable("down")]
    service.send("ann@example.net", "bob@example.net")
    assert service.record().counts == Counts()
    assert service.record("sendgrid").counts == Counts(taken=2)


def test_counters_do_not_stay(service, redis):
    service.send()
    (name,) = redis.keys(keys.track_record("mailgun", 0)[:-1] + "*")
    assert 0 < redis.pttl(name) <= 6 * HOUR / timedelta(milliseconds=1)


def test_a_provider_of_which_nothing_is_heard_is_noticed(service, clock):
    service.heard_once()
    clock.tick(7200)
    for _ in range(3):
        service.send()
    assert service.record().impression is Impression.UNKNOWN
    clock.tick(3600 + 700)
    found = service.record()
    assert found.impression is Impression.SILENT
    assert found.reason == "no news of 3 of 3 that it took, 1 h later"


def test_silence_says_nothing_where_no_webhook_has_ever_come(service, clock):
    for _ in range(3):
        service.send()
    clock.tick(4300)
    assert service.record().impression is Impression.UNKNOWN


def test_silence_says_nothing_where_webhooks_are_not_set_up(service, clock):
    service.hearing["mailgun"] = False
    service.heard_once()
    for _ in range(3):
        service.send()
    clock.tick(4300)
    assert service.record().impression is not Impression.SILENT


def test_late_news_make_it_well_again(service, clock):
    service.heard_once()
    mails = [service.send() for _ in range(4)]
    clock.tick(4300)
    assert service.record().impression is Impression.SILENT
    for mail in mails:
        service.report(mail, "delivered")
    assert service.record().impression is Impression.WELL


def test_a_provider_whose_mail_is_blocked_is_noticed_at_once(service):
    for bounce in (Bounce.BLOCK, Bounce.BLOCK, Bounce.HARD):
        service.report(service.send(), "bounced", bounce=bounce)
    found = service.record()
    assert found.impression is Impression.BLOCKED
    assert found.reason == "2 of the last 3 that it told of were blocked"


def test_bad_addresses_are_not_its_fault(service):
    for bounce in (Bounce.HARD, Bounce.SOFT, Bounce.HARD, Bounce.BLOCK):
        service.report(service.send(), "bounced", bounce=bounce)
    assert service.record().impression is Impression.WELL


def test_who_looks_bad_is_asked_last_and_the_attempt_says_why(service, clock):
    service.heard_once()
    for _ in range(3):
        service.send()
    clock.tick(4300)
    mail = service.send()
    assert mail.provider == "sendgrid"
    assert mail.attempts[0].why == (
        "next in the order; mailgun was moved back: no news of 3 of 4 that it took, 1 h later"
    )
    service.sendgrid.answers = [Unavailable("down")]
    service.ses.answers = [Unavailable("down")]
    assert [a.provider for a in service.send().attempts] == ["sendgrid", "ses", "mailgun"]


def test_it_comes_back_by_itself_when_its_silence_is_long_ago(service, clock):
    service.heard_once()
    for _ in range(3):
        service.send()
    clock.tick(4300)
    assert service.send().provider == "sendgrid"
    clock.tick(4 * 3600)
    assert service.send().provider == "mailgun"


def test_with_redis_away_what_was_seen_last_counts(service, clock):
    service.heard_once()
    for _ in range(3):
        service.send()
    clock.tick(4300)
    seen = service.records.bad()
    assert seen

    class Away:
        def read(self, command):
            raise StoreUnavailable("gone")

    service.records._scripts = Away()
    clock.tick(60)
    assert service.records.bad() == seen


def windows(*counts):
    """Windows of ten minutes, the first of which began just now."""
    return [(NOW - n * RECORD.window, found) for n, found in enumerate(counts)]


def test_of_mail_that_is_old_enough_the_latest_counts():
    young = [Counts()] * 7
    well, silent = Counts(taken=3, heard=3), Counts(taken=3)
    assert judged(windows(*young, well, silent), RECORD, NOW, hears=True).impression == "well"
    assert judged(windows(*young, silent, well), RECORD, NOW, hears=True).impression == "silent"


def test_too_little_mail_says_nothing():
    few = windows(*[Counts()] * 8, Counts(taken=2))
    assert judged(few, RECORD, NOW, hears=True).impression is Impression.UNKNOWN


def test_without_a_policy_nothing_is_bad():
    records = TrackRecords(None, None, {"ses": True}, lambda: NOW, lambda: 0.0)
    assert records.bad() == {}
    assert records.all()["ses"].impression is Impression.UNKNOWN


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ((), ("a", "b", "c")),
        (("a",), ("b", "c", "a")),
        (("a", "b"), ("c", "a", "b")),
        (("c",), ("a", "b", "c")),
        (("a", "b", "c"), ("a", "b", "c")),
        (("x",), ("a", "b", "c")),
    ],
)
def test_who_looks_bad_comes_after_the_others_and_never_goes(bad, expected):
    assert moved_back(Order(("a", "b", "c")), dict.fromkeys(bad, "why")).providers == expected


def test_a_share_of_who_looks_bad_goes_to_the_next():
    drawn = Order(("a", "b"), "the route 'x'", drawn="by its share")
    assert moved_back(drawn, {"a": "silent"}).drawn == "next in the route 'x'"
    assert moved_back(drawn, {"c": "silent"}).drawn == "by its share"
