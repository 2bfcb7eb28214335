"""Callbacks from the step to the signed request: what is told, to whom, how often, and when."""

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import fakeredis
import orjson
import pytest
from msgspec.structs import replace
from redis import Redis
from standardwebhooks import Webhook

from app.core import callback_events, callback_queue, callback_signing, keys
from app.core.callback_book import CallbackBook, Endpoint, TooManyCallbacks
from app.core.callback_events import OF_REPORTS, OF_STATES, CallbackEvent
from app.core.callback_feed import CallbackFeed
from app.core.callback_queue import CallbackQueue, DeliveryState
from app.core.callback_transport import Answered, NotDelivered
from app.core.callbacks import LONGEST_REST, SCHEDULE, Callbacks
from app.core.models import Engagement, Happening, Message, RecipientState
from app.core.scripting import Scripts
from app.core.steps import Step
from app.core.store import Change, MessageStore
from providers.types import EventType
from tests.conftest import FakeClock
from tests.core.examples import attempt, changed
from tests.scripted import BODY, message
from tests.waiting import until

HOOK = "https://app.example.com/mail-events"
OTHER = "https://other.example.com/hook"
DAY = timedelta(days=1)
Asked = tuple[str, dict[str, str], bytes]


@dataclass
class World:
    """The whole way of a callback, but for the network: `answer` says what an application does."""

    redis: Redis
    clock: FakeClock
    asked: list[Asked] = field(default_factory=list)
    answer: Callable[[str], Answered] = lambda url: Answered(204)

    def __post_init__(self) -> None:
        scripts = Scripts(self.redis)
        self.store = MessageStore(self.redis, observers=(callback_events.observer(),))
        self.book = CallbackBook(scripts, self.clock)
        self.feed = CallbackFeed(scripts, self.book, self.clock)
        self.keep(callback_queue.MOST_OVER)

    def keep(self, most_over: int) -> None:
        self.queue = CallbackQueue(Scripts(self.redis), most_over)
        self.callbacks = Callbacks(self.book, self.queue, self, False, self.clock, lambda: 0.0)

    def post(self, target, headers, body, failing=False) -> Answered:
        url = f"{target.origin.removesuffix(':443')}{target.path}"
        self.asked.append((url, dict(headers), body))
        return self.answer(url)

    def accept(self, key: str = "shop", **envelope) -> Message:
        sent = message(self.clock(), "ann@example.net")
        sent = replace(sent, key=key, envelope=replace(sent.envelope, **envelope))
        self.store.accept([(sent, BODY)], None)
        return sent

    def to(self, before: Message, state: RecipientState, **changes) -> Message:
        after = changed(before, [state], **changes)
        moved = self.store.move(Change(before, after))
        assert moved is not None
        return moved

    def deliver(self) -> int:
        """Delivers what is due; how much that was."""
        self.feed.work()
        count = 0
        while taken := self.callbacks.take(64, 32):
            for one in taken:
                self.callbacks.deliver(one)
            count += len(taken)
        return count

    def told(self) -> list[tuple[str, str]]:
        """Which URL was told what, in order."""
        return [(url, orjson.loads(body)["type"]) for url, _, body in self.asked]

    def deliveries(self, endpoint: Endpoint) -> list[callback_queue.Delivery]:
        return self.queue.page(endpoint, None, 100)[0]


@pytest.fixture
def world(redis, clock) -> World:
    return World(redis, clock)


@pytest.fixture
def quick(clock) -> World:
    """Over the fake server only, where both would say the same."""
    return World(fakeredis.FakeRedis(decode_responses=True), clock)


def test_every_state_and_every_report_is_told_or_not_on_purpose():
    assert set(OF_STATES) == set(RecipientState)
    assert {*OF_STATES.values(), *OF_REPORTS.values()} == {None, *CallbackEvent}


def test_an_endpoint_is_told_what_becomes_of_a_mail(world):
    hook = world.book.add("shop", HOOK)
    sent = world.accept(tags=("order",), metadata={"order": "17"})
    moved = world.to(sent, RecipientState.SENT, attempts=(attempt("mailgun"),))
    world.to(moved, RecipientState.DELIVERED)
    assert world.deliver() == 2
    assert world.told() == [(HOOK, "message.sent"), (HOOK, "message.delivered")]
    _, headers, body = world.asked[0]
    assert orjson.loads(body) == {
        "type": "message.sent",
        "timestamp": moved.updated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {
            "message_id": sent.id,
            "recipient": "ann@example.net",
            "kind": "to",
            "status": "sent",
            "provider": "mailgun",
            "attempt_id": moved.attempts[0].id,
            "reason": None,
            "bounce": None,
            "code": None,
            "message_status": "queued",
            "possible_duplicate": False,
            "tags": ["order"],
            "metadata": {"order": "17"},
        },
    }
    assert headers["Content-Type"] == "application/json"
    first, second = world.deliveries(hook)
    assert {first.state, second.state} == {DeliveryState.DELIVERED}
    assert [(t.status_code, t.error) for t in first.tries] == [(204, None)]


def test_the_library_of_standard_webhooks_accepts_what_is_signed(redis):
    world = World(redis, FakeClock())
    # The library looks at the time itself.
    world.clock.now = datetime.now(world.clock.now.tzinfo)
    hook = world.book.add("shop", HOOK)
    world.to(world.accept(), RecipientState.SENT)
    world.clock.tick(1)
    world.deliver()
    _, headers, body = world.asked[0]
    assert Webhook(hook.secret).verify(body, headers)["type"] == "message.sent"
    assert headers["webhook-id"] == world.deliveries(hook)[0].id


def test_the_signature_is_that_of_the_published_example():
    at = datetime.fromtimestamp(1614265330, FakeClock().now.tzinfo)
    made = callback_signing.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        at,
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_with_a_new_secret_the_old_one_signs_for_a_day(quick):
    old = quick.book.add("shop", HOOK)
    new = quick.book.change("shop", old.id, lambda seen: seen.rotated(quick.clock()))
    assert new.secret != old.secret
    quick.to(quick.accept(), RecipientState.SENT)
    quick.deliver()
    quick.clock.tick(24 * 3600)
    quick.to(quick.accept(), RecipientState.SENT)
    quick.deliver()
    first, second = (headers["webhook-signature"].split(" ") for _, headers, _ in quick.asked)
    assert (len(first), len(second)) == (2, 1)


def test_both_secrets_check_what_was_signed_meanwhile(quick):
    quick.clock.now = datetime.now(quick.clock.now.tzinfo)
    old = quick.book.add("shop", HOOK)
    new = quick.book.change("shop", old.id, lambda seen: seen.rotated(quick.clock()))
    quick.to(quick.accept(), RecipientState.SENT)
    quick.clock.tick(1)
    quick.deliver()
    _, headers, body = quick.asked[0]
    for secret in (old.secret, new.secret):
        assert Webhook(secret).verify(body, headers)


def test_an_endpoint_is_told_what_it_asked_for(world):
    world.book.add("shop", HOOK, frozenset({CallbackEvent.BOUNCED}))
    sent = world.to(world.accept(), RecipientState.SENT)
    world.to(sent, RecipientState.BOUNCED)
    world.deliver()
    assert world.told() == [(HOOK, "message.bounced")]


def test_an_endpoint_is_told_of_the_mail_of_its_key_only(world):
    world.book.add("shop", HOOK)
    world.book.add("office", OTHER)
    world.to(world.accept("office"), RecipientState.SENT)
    world.to(world.accept("third"), RecipientState.SENT)
    world.deliver()
    assert world.told() == [(OTHER, "message.sent")]


def test_an_endpoint_is_told_of_all_that_happens_once_it_is_registered(world):
    earlier = world.accept()
    sent = world.to(earlier, RecipientState.SENT)
    world.book.add("shop", HOOK)
    world.to(sent, RecipientState.DELIVERED)
    world.deliver()
    assert world.told() == [(HOOK, "message.delivered")]


def test_nothing_is_kept_where_nobody_asked(world):
    world.to(world.accept(), RecipientState.SENT)
    assert world.deliver() == 0
    assert world.redis.keys("sp:callback*") == []


def test_a_process_that_knows_of_no_callback_asks_redis_again_within_a_second(quick):
    listeners = callback_events.Listeners()
    feed = CallbackFeed(Scripts(quick.redis), quick.book, quick.clock, listeners)
    observe = callback_events.observer(listeners)
    before = message(quick.clock(), "ann@example.net")
    step = Step(before, changed(before, [RecipientState.SENT]))
    own = replace(step.after, envelope=replace(before.envelope, callback_url=OTHER))
    # Nothing is known yet.
    assert list(observe(step))
    feed.work()
    assert list(observe(step)) == []
    assert len(list(observe(Step(before, own)))) == 2
    until(lambda: list(observe(step)), seconds=3)
    quick.book.add("shop", HOOK)
    feed.work()
    assert list(observe(step))


def test_opens_and_clicks_are_told_one_by_one(world):
    world.book.add("shop", HOOK, frozenset({CallbackEvent.OPENED, CallbackEvent.CLICKED}))
    taken = attempt("mailgun")
    before = world.to(world.accept(), RecipientState.DELIVERED, attempts=(taken,))
    now = world.clock()
    told = [
        Happening("h1", EventType.OPENED, now, "mailgun", 1, "ann@example.net", automatic=True),
        Happening("h2", EventType.CLICKED, now, "mailgun", 1, "", url="https://shop.example/"),
    ]
    opened = replace(before.recipients[0], opened=Engagement(1, now, now))
    after = replace(before, recipients=(opened,))
    assert world.store.move(Change(before, after, happenings=tuple(told)))
    world.deliver()
    bodies = [orjson.loads(body) for _, _, body in world.asked]
    assert [(b["type"], b["data"]["automatic"], b["data"]["url"]) for b in bodies] == [
        ("message.opened", True, None),
        ("message.clicked", False, "https://shop.example/"),
    ]


def test_who_opened_a_mail_to_several_may_not_be_known(quick):
    hook = quick.book.add("shop", HOOK)
    taken = attempt("mailgun")
    sent = replace(message(quick.clock(), "ann@example.net", "bob@example.net"), attempts=(taken,))
    quick.store.accept([(sent, BODY)], None)
    opened = Happening("h1", EventType.OPENED, quick.clock(), "mailgun", 1, "")
    assert quick.store.move(Change(sent, sent, happenings=(opened,)))
    quick.deliver()
    (delivery,) = quick.deliveries(hook)
    assert delivery.event is CallbackEvent.OPENED
    data = orjson.loads(delivery.body)["data"]
    assert (data["recipient"], data["status"], data["provider"]) == (None, None, "mailgun")


def test_a_message_may_name_its_own_url(world):
    hook = world.book.add("shop", HOOK)
    sent = world.accept(callback_url=OTHER)
    world.to(sent, RecipientState.SENT)
    world.to(world.accept(callback_url=None), RecipientState.SENT)
    world.deliver()
    assert sorted(world.told()) == [
        (HOOK, "message.sent"),
        (HOOK, "message.sent"),
        (OTHER, "message.sent"),
    ]
    default = world.book.get("shop", "default")
    assert default.secret not in ("", hook.secret)
    (delivery,) = world.deliveries(default)
    assert (delivery.url, delivery.state) == (OTHER, DeliveryState.DELIVERED)


def test_the_same_step_written_again_is_told_once(world):
    world.book.add("shop", HOOK)
    before = world.accept()
    change = Change(before, changed(before, [RecipientState.SENT]))
    assert world.store.move(change)
    assert world.store.move(change)
    world.deliver()
    assert len(world.asked) == 1


def test_a_reader_who_dies_before_it_wrote_leaves_the_entries_to_the_next(world):
    world.book.add("shop", HOOK)
    world.to(world.accept(), RecipientState.SENT)
    world.redis.delete(keys.CALLBACK_READER)
    _, read = Scripts(world.redis).run("callback_feed", [], ["dead", 1000, 10])
    assert len(read) == 1
    assert world.feed.work() is False
    assert world.callbacks.take(1, 1) == []
    world.redis.delete(keys.CALLBACK_READER)
    assert world.deliver() == 1


def test_two_readers_who_read_the_same_write_it_once(world):
    hook = world.book.add("shop", HOOK)
    world.to(world.accept(), RecipientState.SENT)
    _, read = Scripts(world.redis).run("callback_feed", [], ["x", 1000, 10])
    ((feed, before, entries),) = read
    world.redis.delete(keys.CALLBACK_READER)
    world.feed.work()
    late = [before, len(entries), entries[-1], 0, 1000, 10]
    assert Scripts(world.redis).run("callback_spread", [feed], late) == "stale"
    world.to(world.accept(), RecipientState.SENT)
    assert world.deliver() == 2
    assert len(world.deliveries(hook)) == 2


def test_what_fails_is_tried_for_a_day_by_the_schedule_under_the_same_id(quick):
    hook = quick.book.add("shop", HOOK)
    quick.to(quick.accept(), RecipientState.SENT)
    quick.answer = lambda url: Answered(500, "not now")
    began, times = quick.clock(), []
    quick.feed.work()
    for _ in range(40 * 3600):
        if taken := quick.callbacks.take(9, 9):
            times.append(quick.clock())
            quick.callbacks.deliver(taken[0])
        (delivery,) = quick.deliveries(hook)
        if delivery.next_try_at is None:
            break
        quick.clock.now = delivery.next_try_at
    waits = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
    assert waits == list(SCHEDULE)
    assert timedelta(hours=20) < times[-1] - began < timedelta(hours=26)
    assert delivery.state is DeliveryState.FAILED
    assert len(delivery.tries) == len(SCHEDULE) + 1
    assert {t.answer for t in delivery.tries} == {"not now"}
    assert len({headers["webhook-id"] for _, headers, _ in quick.asked}) == 1
    assert len({headers["webhook-timestamp"] for _, headers, _ in quick.asked}) == len(times)
    (condition,) = quick.queue.conditions([hook])
    assert (condition.last_fault, condition.failing_since) == ("answered 500", times[0])


def test_retry_after_has_the_whole_endpoint_rest_but_not_for_ever(world):
    world.book.add("shop", HOOK)
    for _ in range(2):
        world.to(world.accept(), RecipientState.SENT)
    world.feed.work()
    first, second = world.callbacks.take(9, 9)
    world.answer = lambda url: Answered(503, retry_after=600)
    world.callbacks.deliver(first)
    world.answer = lambda url: Answered(429, retry_after=10**6)
    world.callbacks.deliver(second)
    world.to(world.accept(), RecipientState.SENT)
    world.answer = lambda url: Answered(204)
    world.clock.tick(LONGEST_REST.total_seconds() - 1)
    assert world.deliver() == 0
    world.clock.tick(1)
    assert world.deliver() == 3


def test_an_endpoint_that_is_gone_is_told_nothing_more(world):
    hook = world.book.add("shop", HOOK)
    for _ in range(2):
        world.to(world.accept(), RecipientState.SENT)
    world.feed.work()
    world.answer = lambda url: Answered(410)
    (one,) = world.callbacks.take(1, 1)
    world.callbacks.deliver(one)
    assert world.deliver() == 0
    now = world.book.get("shop", hook.id)
    assert (now.enabled, now.disabled_because) == (False, "it answered 410 Gone")
    world.answer = lambda url: Answered(204)
    world.book.change("shop", hook.id, lambda seen: dataclasses.replace(seen, enabled=True))
    assert world.deliver() == 1
    states = {delivery.state for delivery in world.deliveries(hook)}
    assert states == {DeliveryState.FAILED, DeliveryState.DELIVERED}


@pytest.mark.parametrize("status", [301, 302, 308, 404, 500])
def test_only_2xx_is_an_answer_that_counts(quick, status):
    hook = quick.book.add("shop", HOOK)
    quick.to(quick.accept(), RecipientState.SENT)
    quick.answer = lambda url: Answered(status)
    quick.deliver()
    assert quick.deliveries(hook)[0].state is DeliveryState.WAITING


def test_a_delivery_whose_worker_died_comes_back(world):
    hook = world.book.add("shop", HOOK)
    world.to(world.accept(), RecipientState.SENT)
    world.feed.work()
    (lost,) = world.callbacks.take(9, 9)
    assert world.deliver() == 0
    world.clock.tick(61)
    assert world.deliver() == 1
    # The one that was taken for dead says something all the same.
    world.answer = lambda url: Answered(500)
    world.callbacks.deliver(lost)
    (delivery,) = world.deliveries(hook)
    assert delivery.state is DeliveryState.DELIVERED
    assert len(delivery.tries) == 1


def test_an_endpoint_that_fails_is_tried_one_at_a_time_and_takes_no_room_of_others(world):
    world.book.add("shop", HOOK)
    world.book.add("shop", OTHER)
    world.answer = lambda url: Answered(204) if url == OTHER else Answered(500)
    for _ in range(20):
        world.to(world.accept(), RecipientState.SENT)
    world.feed.work()
    # At first nobody knows: each gets its share.
    taken = world.callbacks.take(64, 0)
    assert len(taken) == 16
    for one in taken:
        world.callbacks.deliver(one)
    taken = world.callbacks.take(64, 1)
    assert sorted(one.failing for one in taken) == [False] * 8 + [True]
    assert {one.endpoint.url for one in taken if one.failing} == {HOOK}
    # While it hangs, the other one goes on.
    for one in taken:
        if not one.failing:
            world.callbacks.deliver(one)
    assert [one.endpoint.url for one in world.callbacks.take(64, 1)] == [OTHER] * 4


def test_messages_urls_on_one_host_wait_for_each_other_only(world):
    for path in ("a", "b"):
        sent = world.accept(callback_url=f"https://bad.example.com/{path}")
        world.to(sent, RecipientState.SENT)
    world.to(world.accept(callback_url=OTHER), RecipientState.SENT)
    world.feed.work()
    lanes = {one.delivery.url: one.lane for one in world.callbacks.take(9, 9)}
    assert len(lanes) == 3
    assert len(set(lanes.values())) == 2


def test_what_was_delivered_or_given_up_can_be_told_again(world):
    hook = world.book.add("shop", HOOK)
    world.to(world.accept(), RecipientState.SENT)
    world.deliver()
    (delivery,) = world.deliveries(hook)
    assert world.queue.replay(hook, delivery.id, world.clock()) == "planned"
    assert world.deliveries(hook)[0].state is DeliveryState.WAITING
    (again,) = world.callbacks.take(9, 9)
    assert world.queue.replay(hook, delivery.id, world.clock()) == "busy"
    world.callbacks.deliver(again)
    assert [h["webhook-id"] for _, h, _ in world.asked] == [delivery.id] * 2
    assert len(world.deliveries(hook)[0].tries) == 2
    assert world.queue.replay(hook, "evt_nothing", world.clock()) == "gone"


def test_the_log_is_bounded(quick):
    quick.keep(3)
    hook = quick.book.add("shop", HOOK)
    for _ in range(5):
        quick.to(quick.accept(), RecipientState.SENT)
        quick.deliver()
        quick.clock.tick(1)
    assert len(quick.deliveries(hook)) == 3
    assert len(quick.redis.keys("sp:callback-delivery:*")) == 3


def test_pages_of_the_log_follow_each_other(world):
    hook = world.book.add("shop", HOOK)
    for _ in range(5):
        world.to(world.accept(), RecipientState.SENT)
        world.deliver()
        world.clock.tick(1)
    all_ids = [delivery.id for delivery in world.deliveries(hook)]
    first, following = world.queue.page(hook, None, 3)
    rest, end = world.queue.page(hook, following, 3)
    assert [d.id for d in first + rest] == all_ids
    assert end is None


def test_too_much_that_waits_is_left_out_and_counted(quick):
    quick.feed = CallbackFeed(Scripts(quick.redis), quick.book, quick.clock, most_waiting=2)
    hook = quick.book.add("shop", HOOK)
    for _ in range(3):
        quick.to(quick.accept(), RecipientState.SENT)
    quick.feed.work()
    assert quick.queue.conditions([hook])[0].left_out == 1
    assert quick.deliver() == 2


def test_everything_has_an_expiry_but_what_is_registered(world):
    hook = world.book.add("shop", HOOK)
    world.to(world.accept(callback_url=OTHER), RecipientState.SENT)
    world.feed.work()
    taken = world.callbacks.take(9, 9)
    unlimited = {"sp:callbacks:shop", "sp:callback-keys", "sp:callback-feed:shop"}
    lists = {keys.CALLBACK_LANES, keys.CALLBACK_FAILING_LANES}

    def without_expiry() -> set[str]:
        return {name for name in world.redis.keys("sp:callback*") if world.redis.ttl(name) < 0}

    assert without_expiry() <= unlimited | lists
    for one in taken:
        world.callbacks.deliver(one)
    world.answer = lambda url: Answered(500)
    world.queue.replay(hook, world.deliveries(hook)[0].id, world.clock())
    world.deliver()
    assert without_expiry() <= unlimited | lists
    assert world.book.remove("shop", hook.id)
    assert without_expiry() <= {"sp:callbacks:shop"} | lists


def test_a_message_that_is_gone_is_told_of_all_the_same(world):
    world.book.add("shop", HOOK)
    sent = world.to(world.accept(), RecipientState.SENT)
    world.redis.delete(keys.message(sent.id))
    world.deliver()
    assert world.told() == [(HOOK, "message.sent")]


def test_what_is_removed_is_told_nothing_more(world):
    hook = world.book.add("shop", HOOK)
    world.to(world.accept(), RecipientState.SENT)
    world.feed.work()
    (taken,) = world.callbacks.take(9, 9)
    assert world.book.remove("shop", hook.id)
    world.callbacks.deliver(taken)
    world.to(world.accept(), RecipientState.SENT)
    assert world.deliver() == 0
    assert world.book.get("shop", hook.id) is None
    assert not world.book.remove("shop", hook.id)
    assert world.redis.keys(f"sp:callback-lane:shop:{hook.id}") == []


def test_there_may_only_be_so_many(quick):
    for _ in range(50):
        quick.book.add("shop", HOOK)
    with pytest.raises(TooManyCallbacks):
        quick.book.add("shop", HOOK)
    quick.book.add("office", HOOK)


def test_changes_of_two_at_once_are_both_made(quick):
    hook = quick.book.add("shop", HOOK)
    interrupted = []

    def changed_meanwhile(seen: Endpoint) -> Endpoint:
        if not interrupted:
            interrupted.append(True)
            quick.book.change("shop", hook.id, lambda one: dataclasses.replace(one, url=OTHER))
        return dataclasses.replace(seen, description="mine")

    quick.book.change("shop", hook.id, changed_meanwhile)
    now = quick.book.get("shop", hook.id)
    assert (now.url, now.description) == (OTHER, "mine")


def test_no_connection_is_a_try_too(quick):
    hook = quick.book.add("shop", HOOK)
    quick.to(quick.accept(), RecipientState.SENT)

    def refuse(url: str) -> Answered:
        raise NotDelivered("could not connect")

    quick.answer = refuse
    quick.deliver()
    (only,) = quick.deliveries(hook)[0].tries
    assert (only.status_code, only.error) == (None, "could not connect")


def test_a_step_that_moves_nobody_tells_nothing():
    before = message(FakeClock()(), "ann@example.net")
    assert list(callback_events.observer()(Step(None, before))) == []
    assert list(callback_events.observer()(Step(before, replace(before, round=2)))) == []
