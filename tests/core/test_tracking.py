"""Opens and clicks that we see ourselves: from the links in a mail to the numbers of a message."""

import dataclasses
import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.core import stats
from app.core.event_inbox import EventInbox
from app.core.events import LONGEST_TIMELINE, MailEvents
from app.core.evidence import EvidenceBook
from app.core.models import OURS, Body, MessageState, Outcome, RecipientState, Source, Track
from app.core.records import decode, encode
from app.core.scripting import Scripts
from app.core.store import MessageStore
from app.core.tracking import LONGEST_HTML, MOST_LINKS, Click, Tracking
from app.core.unsubscribing import UnsubscribeLinks
from providers.errors import Unavailable, Unknown
from providers.types import DeliveryEvent, EventType
from tests.core.examples import message
from tests.core.test_delivery import LEASE, Service
from tests.core.test_events import ID, RETENTION, Bench

TRACKING = Tracking("https://mail.example.com", b"k" * 32)
BOTH = Track(opens=True, clicks=True)
ATTEMPT = f"{ID}-1"
CLICK = Click(ATTEMPT, "https://shop.example/?a=1&b=2")


def tracked(html, track=BOTH, headers=(), **envelope):
    mail = message()
    mail = replace(mail, envelope=replace(mail.envelope, track=track, **envelope))
    return TRACKING.tracked(mail, Body("text", html), ATTEMPT, headers)


def link(click=CLICK):
    html = tracked(f"<a href='{click.url}'>", Track(clicks=True)).html
    return html.removeprefix("<a href='https://mail.example.com/c/").removesuffix("'>")


def test_a_link_says_where_it_leads_and_which_attempt_it_came_with():
    assert TRACKING.clicked(link()) == CLICK


def test_the_pixel_says_which_attempt_it_came_with():
    (token,) = re.findall(r"https://mail\.example\.com/o/([\w.-]+)\.gif", tracked("<p>").html)
    assert TRACKING.opened(token) == ATTEMPT


def test_the_same_attempt_gets_the_same_and_only_the_html_is_changed():
    html = "<p>Hi <a href='https://shop.example/'>shop</a></p>"
    assert tracked(html) == tracked(html)
    assert tracked(html).text == "text"
    assert tracked(html, Track()).html == html
    assert "/o/" not in tracked(html, Track(clicks=True)).html
    assert "/c/" not in tracked(html, Track(opens=True)).html
    assert tracked(None).html is None


@given(st.integers(0, 10_000), st.integers(0, 127))
def test_no_token_with_another_bit_passes(place, bit):
    token = link()
    place %= len(token)
    forged = token[:place] + chr(ord(token[place]) ^ (1 << bit % 7)) + token[place + 1 :]
    assert TRACKING.clicked(forged) is None


@given(st.text() | st.from_regex(r"[\w-]{0,60}\.[\w-]{22}", fullmatch=True))
def test_nothing_made_up_is_a_token(text):
    assert TRACKING.clicked(text) is None
    assert TRACKING.opened(text) is None


def test_a_token_of_one_use_is_none_of_another():
    pixel = re.findall(r"/o/([\w.-]+)\.gif", tracked("<p>").html)[0]
    assert TRACKING.clicked(pixel) is None
    assert TRACKING.opened(link()) is None
    unsubscribe = UnsubscribeLinks("https://mail.example.com", b"k" * 32)
    assert unsubscribe.read(link()) is None
    assert Tracking("https://mail.example.com", b"j" * 32).clicked(link()) is None


def test_links_to_unsubscribe_by_are_left_alone():
    ours = "https://mail.example.com/u/abc.def"
    html = f"<a href='https://shop.example/off?x=1&amp;y=2'><a href='{ours}'>"
    listed = ("List-Unsubscribe", "<mailto:a@b.example>, <https://shop.example/off?x=1&y=2>")
    clicks = Track(clicks=True)
    assert tracked(html, clicks, headers=(listed,)).html == html
    assert tracked(html, clicks, headers=()).html != html


def test_a_custom_header_to_unsubscribe_by_counts_too():
    mail = message()
    envelope = replace(
        mail.envelope,
        track=Track(clicks=True),
        headers=(("list-unsubscribe", "<https://shop.example/off>"),),
    )
    html = "<a href='https://shop.example/off'>"
    body = TRACKING.tracked(replace(mail, envelope=envelope), Body(None, html), ATTEMPT)
    assert body.html == html


def test_what_is_tracked_already_is_not_tracked_again():
    html = tracked("<a href='https://shop.example/'>", Track(clicks=True)).html
    assert tracked(html, Track(clicks=True)).html == html


def test_too_long_links_too_many_and_too_long_html_are_left_alone():
    clicks = Track(clicks=True)
    assert "/c/" not in tracked(f"<a href='https://x/{'a' * 1500}'>", clicks).html
    assert tracked("<a href=http://x/>" * (MOST_LINKS + 5), clicks).html.count("/c/") == MOST_LINKS
    html = "<a href=http://x/>" + "x" * LONGEST_HTML
    assert tracked(html).html == html


def test_a_record_keeps_what_is_tracked_and_an_old_one_is_not_tracked():
    mail = message()
    mail = replace(mail, envelope=replace(mail.envelope, track=Track(clicks=True)))
    fields = {"version": "1", **encode(mail)}
    assert decode(mail.id, fields, None).envelope.track == Track(clicks=True)
    fields["envelope"] = encode(message())["envelope"]
    assert "track" not in fields["envelope"]
    assert decode(mail.id, fields, None).envelope.track == Track()


class Tracked(Bench):
    """A store with a tracked message that was sent, and what applies events."""

    def __init__(self, redis, clock, observers=()):
        super().__init__(redis, clock)
        self.store = MessageStore(redis, observers=[self._observe, *observers])
        self.events = self.another()

    def another(self):
        """Another worker."""
        book = EvidenceBook(self.store, RETENTION, self.clock)
        return MailEvents(self.inbox, self.store, book, RETENTION, self.clock)

    def sent(self, *arguments, track=BOTH, **options):
        super().sent(*arguments, track=track, **options)
        self.clock.tick(60)

    def note(self, kind="opened", number=1, **more):
        self.inbox.note(
            dataclasses.replace(
                DeliveryEvent(
                    f"{kind}-{number}", EventType(kind), self.clock(), attempt_id=ATTEMPT
                ),
                **more,
            )
        )

    def noted(self, *arguments, **more):
        self.note(*arguments, **more)
        self.events.work()
        return self.store.get(ID)


@pytest.fixture
def service(redis, clock):
    return Service(redis, clock)


def test_each_attempt_has_its_own_links_and_what_is_kept_is_what_was_given(service):
    service.mailgun.answers = [Unavailable("busy")]
    sent = service.accept(track=BOTH)
    given = service.store.claim(sent, "w1", service.clock(), LEASE)
    service.worker.deliver(given)
    (first,), (second,) = service.mailgun.asked, service.sendgrid.asked
    assert given.body.html == "<p>Hello</p>"
    assert first.text == second.text == given.body.text
    for number, email in enumerate((first, second), 1):
        (token,) = re.findall(r"/o/([\w.-]+)\.gif", email.html)
        assert TRACKING.opened(token) == f"{sent}-{number}"


def test_a_call_that_is_made_again_says_the_same(service):
    service.mailgun.repeatable = timedelta(minutes=10)
    service.mailgun.answers = [Unknown("no answer")]
    service.send(track=BOTH)
    service.clock.tick(1)
    service.work()
    first, again = service.mailgun.asked
    assert "/o/" in first.html
    assert again == first


@pytest.mark.parametrize("track", [Track(), Track(opens=True), Track(clicks=True), BOTH])
def test_the_provider_is_told_what_it_need_not_track(service, track):
    service.send(track=track)
    (email,) = service.mailgun.asked
    assert (email.opens_tracked, email.clicks_tracked) == (track.opens, track.clicks)


@pytest.fixture
def bench(redis, clock):
    return Tracked(redis, clock)


def test_an_open_counts_for_the_only_recipient_and_shows_that_it_arrived(bench):
    bench.sent()
    told = bench.noted("opened")
    (recipient,) = told.recipients
    assert (recipient.state, recipient.opened.count) == (RecipientState.DELIVERED, 1)
    (happening,) = bench.store.timeline(ID)
    assert (happening.provider, happening.recipient) == (OURS, "ann@example.net")
    assert not happening.automatic


def test_a_click_is_in_the_timeline_with_where_it_led(bench):
    bench.sent()
    told = bench.noted("clicked", url="https://shop.example/")
    assert told.recipients[0].clicked.count == 1
    assert bench.store.timeline(ID)[0].url == "https://shop.example/"


def test_the_first_and_the_last_time_are_kept(bench, clock):
    bench.sent()
    first = clock()
    bench.noted("opened", 1)
    clock.tick(3600)
    told = bench.noted("opened", 2)
    assert told.recipients[0].opened.first_at == first
    assert told.recipients[0].opened.last_at == clock()


def test_of_several_recipients_nobody_is_named_and_the_message_counts(redis, clock):
    bench = Tracked(redis, clock, [stats.observe])
    bench.sent(emails=("ann@example.net", "bob@example.net"))
    for number in range(3):
        told = bench.noted("opened", number)
    assert told.opened.count == 3
    assert all(r.opened is None and r.state is RecipientState.SENT for r in told.recipients)
    assert {h.recipient for h in bench.store.timeline(ID)} == {""}
    assert stats.Stats(Scripts(redis)).totals().all()["opened"] == 1


def test_what_comes_right_after_the_send_is_a_machines(bench, clock):
    bench.sent()
    clock.tick(-59)
    told = bench.noted("clicked", url="https://shop.example/")
    assert bench.store.timeline(ID)[0].automatic
    assert told.recipients[0].clicked is None
    assert told.state is MessageState.SENT


@pytest.mark.parametrize("automatic", [True, False])
def test_whoever_has_got_a_mail_proves_that_it_was_taken(bench, automatic):
    bench.sent(Outcome.UNKNOWN)
    told = bench.noted("opened", automatic=automatic)
    evidence = told.attempts[0].evidence
    assert (evidence.source, told.attempts[0].accepted) == (Source.RECIPIENT, True)
    assert told.state is (MessageState.SENT if automatic else MessageState.DELIVERED)


@pytest.mark.parametrize("automatic", [True, False])
def test_of_a_mail_that_was_turned_down_only_a_person_proves_more(bench, automatic):
    bench.sent(Outcome.REFUSED)
    told = bench.noted("clicked", automatic=automatic)
    assert told.attempts[0].accepted is not automatic
    assert (told.state is MessageState.DELIVERED) is not automatic


def test_counters_go_on_where_the_timeline_ends_and_there_is_room_for_others(bench):
    bench.sent()
    for number in range(LONGEST_TIMELINE + 100):
        bench.note("opened", number)
    while bench.events.work():
        pass
    told = bench.noted("unsubscribed", recipient="ann@example.net")
    assert told.recipients[0].opened.count == LONGEST_TIMELINE + 100
    assert told.recipients[0].unsubscribed_at is not None
    assert len(bench.store.timeline(ID)) == LONGEST_TIMELINE + 1
    assert bench.inbox.waiting() == 0


def test_two_workers_with_the_same_opens_count_them_once(bench, clock):
    bench.sent()
    for number in range(LONGEST_TIMELINE + 10):
        bench.note("opened", number)
    slow = bench.inbox.take(clock(), timedelta(seconds=30), 300)
    clock.tick(31)
    while bench.events.work():
        pass
    bench.another()._apply_all(slow)
    assert bench.store.get(ID).recipients[0].opened.count == LONGEST_TIMELINE + 10


def test_a_worker_that_dies_after_the_step_has_counted_once(bench, clock):
    bench.sent()
    bench.note("opened")

    class Dying(EventInbox):
        def done(self, finished):
            raise SystemExit

    dying = bench.another()
    dying._inbox = Dying(Scripts(bench.redis))
    with pytest.raises(SystemExit):
        dying.work()
    clock.tick(31)
    bench.events.work()
    assert bench.store.get(ID).recipients[0].opened.count == 1
    assert bench.inbox.waiting() == 0


def test_what_a_provider_counts_itself_is_left_out_where_we_count_it(bench):
    bench.sent(track=Track(opens=True))
    told = bench.tell(bench.event("opened"), bench.event("clicked"))
    assert told.recipients[0].opened is None
    assert told.recipients[0].clicked.count == 1


def test_what_a_provider_counts_itself_proves_still_that_it_took_the_mail(bench):
    bench.sent(Outcome.UNKNOWN)
    told = bench.tell(bench.event("opened"))
    assert told.attempts[0].evidence.source is Source.WEBHOOK
    assert told.state is MessageState.SENT


def test_unsubscribing_is_told_once_however_often_it_is_done(bench):
    bench.sent()
    for _ in range(3):
        told = bench.noted("unsubscribed", recipient="ann@example.net")
    assert told.recipients[0].unsubscribed_at is not None
    assert [h.type for h in bench.store.timeline(ID)] == [EventType.UNSUBSCRIBED]


def test_what_belongs_to_no_message_any_more_changes_nothing(bench, redis):
    bench.note("opened")
    bench.note("unsubscribed", recipient="ann@example.net")
    bench.events.work()
    assert bench.inbox.counts()[OURS]["strays"] == 2
    assert bench.inbox.waiting() == 0
