"""The backlog limit: it is found before anything is written, and what is full still empties."""

from dataclasses import replace
from datetime import timedelta

import pytest
from redis import Redis

from app.core import lifecycle
from app.core.backlog import Backlog
from app.core.ids import attempt_id
from app.core.lifecycle import Verdict
from app.core.models import Attempt, MessageState, Outcome
from app.core.scripting import StoreUnavailable
from app.core.store import Change, Idempotency, Memory, MessageStore
from tests.redis_server import Server
from tests.scripted import BODY, message

LEASE = timedelta(seconds=45)
DAY = timedelta(days=1)


@pytest.fixture
def store(redis: Redis) -> MessageStore:
    return MessageStore(redis)


def test_every_unfinished_message_counts_until_it_has_ended(store, redis, clock):
    for _ in range(3):
        store.accept([(message(clock()), BODY)], None)
    _, claims = store.take(2, "w1", clock(), LEASE)
    sending, other = (claim.message for claim in claims)
    store.move(Change(other, lifecycle.waiting(other, clock() + DAY, clock())))
    before = {name: redis.dump(name) for name in redis.keys("*")}
    assert store.accept([(message(clock()), BODY)], None, room=3).kind == "full"
    assert {name: redis.dump(name) for name in redis.keys("*")} == before
    store.move(Change(sending, lifecycle.given_up(sending, "no", clock()), keep=DAY))
    assert store.accept([(message(clock()), BODY)], None, room=3).kind == "accepted"
    assert store.accept([(message(clock()), BODY)], None, room=3).kind == "full"


def test_several_at_once_are_accepted_together_or_not_at_all(store, clock):
    three = [(message(clock()), BODY) for _ in range(3)]
    assert store.accept(three, None, room=2).kind == "full"
    assert store.page("shop", None, None, None, 10) == []
    assert store.accept(three, None, room=3).kind == "accepted"


def test_a_request_that_was_answered_before_gets_its_answer_again_though_there_is_no_room(
    store, clock
):
    key = Idempotency("h", "f", clock() + DAY)
    first = store.accept([(message(clock()), BODY)], key, room=1)
    again = store.accept([(message(clock()), BODY)], key, room=0)
    assert (again.kind, again.ids) == ("replayed", first.ids)
    other = store.accept([(message(clock()), BODY)], replace(key, fingerprint="g"), room=0)
    assert other.kind == "mismatch"


def test_an_answer_that_is_given_again_keeps_its_end(store, redis, clock):
    key = Idempotency("h", "f", clock() + DAY)
    store.accept([(message(clock()), BODY)], key)
    (name,) = redis.keys("sp:idempotency:*")
    redis.pexpire(name, 5000)
    store.accept([(message(clock()), BODY)], key)
    assert 0 < redis.pttl(name) <= 5000


class Telling(MessageStore):
    """A store whose server has the memory that a test gives it."""

    def __init__(self, told: Memory | None) -> None:
        self.told = told
        self.asked = 0

    def memory(self) -> Memory | None:
        self.asked += 1
        return self.told


@pytest.mark.parametrize(
    ("most_bytes", "told", "room"),
    [
        (None, Memory(500, 1000), 7),
        (None, Memory(501, 1000), 0),
        (None, Memory(501, 0), 7),
        (None, None, 7),
        (400, Memory(401, 1000), 0),
        (400, Memory(401, 0), 0),
        (400, Memory(399, 1000), 7),
        (0, Memory(999, 1000), 7),
    ],
)
def test_there_is_no_room_while_more_memory_is_used_than_mail_may_use(most_bytes, told, room):
    assert Backlog(Telling(told), 7, most_bytes).room() == room


def test_the_memory_is_looked_at_once_a_second():
    now = 0.0
    store = Telling(Memory(0, 1000))
    backlog = Backlog(store, 7, None, lambda: now)
    assert [backlog.room() for _ in range(3)] == [7, 7, 7]
    store.told = Memory(900, 1000)
    now = 0.9
    assert (backlog.room(), store.asked) == (7, 1)
    now = 1.0
    assert (backlog.room(), store.asked) == (0, 2)
    store.told = Memory(100, 1000)
    now = 2.0
    assert (backlog.room(), store.asked) == (7, 3)


def test_without_a_limit_the_memory_is_not_looked_at():
    store = Telling(Memory(999, 1000))
    Backlog(store, 7, 0).room()
    assert store.asked == 0


def test_a_real_server_tells_its_memory(valkey: Redis):
    told = MessageStore(valkey).memory()
    assert told.limit == int(valkey.config_get("maxmemory")["maxmemory"])
    assert 0 < told.used < told.limit


def test_a_full_server_takes_no_mail_and_still_lets_what_it_has_leave(clock):
    with Server() as server:
        store = MessageStore(server.admin)
        sent, kept = message(clock()), message(clock())
        store.accept([(sent, BODY)], None)
        store.accept([(kept, BODY)], None)
        server.admin.config_set("maxmemory", 1)
        before = {name: server.admin.dump(name) for name in server.admin.keys("*")}
        key = Idempotency("h", "f", clock() + DAY)
        for idempotency in (None, key):
            with pytest.raises(StoreUnavailable) as caught:
                store.accept([(message(clock()), BODY)], idempotency)
            assert type(caught.value) is StoreUnavailable
        assert {name: server.admin.dump(name) for name in server.admin.keys("*")} == before
        with pytest.raises(StoreUnavailable):
            store.check_ready()

        assert store.lock_sweeping("w1", 1.0)
        server.admin.delete("rq:queue:mail")
        assert store.ring_again(clock(), 10) == [sent.id, kept.id]
        _, (claim,) = store.take(1, "w1", clock(), LEASE)
        mine = claim.message
        assert store.renew([(mine.id, mine.lease.fence)], "w1", clock() + LEASE) == set()
        attempt = Attempt(attempt_id(mine.id, 1), "mailgun", "first", 1, clock())
        opened = store.move(
            Change(mine, lifecycle.attempt_opened(mine, attempt), lease_until=clock() + LEASE)
        )
        closed = lifecycle.attempt_closed(opened, Verdict(Outcome.ACCEPTED), clock())
        assert store.move(Change(opened, closed, drop_body=True, keep=DAY)) is not None
        assert store.get(sent.id).state is MessageState.SENT
        assert store.write_fitness("mailgun", 0, "{}")
        clock.tick(2 * DAY.total_seconds())
        assert store.purge(clock(), 10) == 1
