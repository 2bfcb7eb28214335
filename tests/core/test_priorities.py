"""Priorities: who comes first, what the others are left, and that no queue loses anybody."""

from collections import Counter
from datetime import timedelta

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from app.core import lifecycle
from app.core.models import MessageState, Priority
from app.core.queue import QUEUES
from app.core.store import Change, MessageStore
from app.services import connect
from providers.errors import Unavailable
from tests.core.test_delivery import Service
from tests.scripted import BODY, message

LEASE = timedelta(seconds=45)
HIGH, NORMAL, BULK = Priority


@pytest.fixture
def store(redis: Redis) -> MessageStore:
    return MessageStore(redis)


@pytest.fixture
def accept(store, clock):
    def accept(priority: Priority, count: int = 1) -> list[str]:
        sent = [message(clock(), priority=priority) for _ in range(count)]
        store.accept([(each, BODY) for each in sent], None)
        return [each.id for each in sent]

    return accept


@pytest.fixture
def take(store, clock):
    def take(count: int = 1, **limits: int) -> list[Priority]:
        _, claims = store.take(count, "w1", clock(), LEASE, **limits)
        return [claim.message.priority for claim in claims]

    return take


def test_high_comes_before_normal_and_normal_before_bulk(accept, take):
    for priority in (BULK, NORMAL, HIGH):
        accept(priority, 2)
    assert take(6) == [HIGH, HIGH, NORMAL, NORMAL, BULK, BULK]


def test_within_a_queue_the_oldest_comes_first(store, accept, clock):
    first = accept(BULK, 3)
    _, claims = store.take(3, "w1", clock(), LEASE)
    assert [claim.message.id for claim in claims] == first


@pytest.mark.parametrize("at_once", [1, 16])
def test_no_queue_is_kept_waiting_for_ever_by_those_before_it(accept, take, at_once):
    for priority in Priority:
        accept(priority, 200)
    taken = Counter(p for _ in range(160 // at_once) for p in take(at_once))
    assert taken == {HIGH: 120, NORMAL: 30, BULK: 10}


def test_bulk_takes_no_more_than_it_may(accept, take):
    accept(BULK, 10)
    assert take(8, lower=8, bulk=3) == [BULK] * 3
    accept(NORMAL, 10)
    accept(HIGH)
    assert take(8, lower=4, bulk=1) == [HIGH] + [NORMAL] * 4
    assert take(8, lower=0, bulk=0) == []


def test_each_queue_finds_its_own_lost_jobs(store, redis, accept, clock):
    kept = {priority: accept(priority, 2) for priority in Priority}
    assert store.ring_again(clock(), 10) == []
    for name in QUEUES.values():
        redis.lpop(f"rq:queue:{name}")
    assert store.ring_again(clock(), 10) == [kept[p][0] for p in Priority]
    assert store.ring_again(clock(), 10) == []
    redis.delete("rq:queue:mail-bulk")
    assert set(store.ring_again(clock(), 10)) == set(kept[BULK])
    assert redis.lrange("rq:queue:mail-bulk", 0, -1) != []
    assert redis.llen("rq:queue:mail") == 2


def test_rq_sees_each_message_in_the_queue_of_its_priority(valkey, valkey_url, clock):
    store = MessageStore(valkey)
    connection = connect(valkey_url, decode=False)
    for priority in Priority:
        store.accept([(message(clock(), priority=priority), BODY)], None)
    queues = Queue.all(connection=connection, serializer=JSONSerializer)
    assert {queue.name: queue.count for queue in queues} == dict.fromkeys(QUEUES.values(), 1)
    _, claims = store.take(3, "w1", clock(), LEASE)
    assert [queue.started_job_registry.get_job_count(cleanup=False) for queue in queues] == [1] * 3
    for claim in claims:
        after = lifecycle.given_up(claim.message, "no", clock())
        store.move(Change(claim.message, after, keep=LEASE))
    assert [queue.started_job_registry.get_job_count(cleanup=False) for queue in queues] == [0] * 3


def test_a_retry_keeps_its_priority(redis: Redis, clock):
    service = Service(redis, clock)
    for provider in service.providers.values():
        provider.answers = [Unavailable("503")]
    sent = service.send(priority=BULK)
    assert sent.state is MessageState.RETRYING
    clock.tick(60)
    service.sweeper.run()
    assert redis.lrange("rq:queue:mail-bulk", 0, -1) == [sent.id]


def test_the_bell_rings_from_the_first_ring_until_the_queues_are_found_empty(
    redis, store, accept, take
):
    assert take() == []
    for priority in Priority:
        accept(priority)
        accept(priority)
        assert redis.llen("sp:bell") == 1
        take(1)
        assert redis.llen("sp:bell") == 1
        take(1)
        take(1)
        assert redis.exists("sp:bell") == 0


def test_waiting_for_a_ring_ends_with_one_of_any_priority(valkey, accept, take, clock):
    store = MessageStore(valkey)
    store.accept([(message(clock(), priority=BULK), BODY)], None)
    store.wait_for_ring(60)
    store.wait_for_ring(60)
    assert valkey.llen("sp:bell") == 1
