"""The store: what is accepted is whole, what is moved is moved once, and nothing is left behind."""

import json
import threading
from datetime import timedelta

import pytest
from msgspec.structs import replace
from redis import Redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs

from app.core import lifecycle
from app.core.ids import attempt_id
from app.core.models import Attempt, MessageState, Outcome
from app.core.queue import QUEUE
from app.core.scripting import StoreUnavailable
from app.core.store import Change, Idempotency, MessageStore
from app.services import connect, utc_now
from tests.scripted import BODY, message

LEASE = timedelta(seconds=45)
DAY = timedelta(days=1)


@pytest.fixture
def store(redis: Redis) -> MessageStore:
    return MessageStore(redis)


def claim(store, clock, owner="w1"):
    _, claims = store.take(1, owner, clock(), LEASE)
    return claims[0].message


def attempt(of, clock):
    return Attempt(attempt_id(of.id, 1), "mailgun", "first in the order", 1, clock())


def all_keys(redis: Redis) -> set[str]:
    return set(redis.keys("*"))


def test_an_accepted_message_reads_back_as_it_was_written(store, clock):
    sent = message(clock(), "ann@example.net", "bücher@bücher.example")
    store.accept([(sent, BODY)], None)
    assert store.get(sent.id) == sent


@pytest.mark.parametrize(
    "wrong", [("LPUSH", "sp:message:of-tests", "x"), ("HINCRBY", "sp:number-of-tests", "n", 1)]
)
def test_what_cannot_be_written_with_a_message_is_logged_and_the_rest_is_done(redis, clock, wrong):
    redis.hset("sp:message:of-tests", "a", "hash")
    redis.set("sp:number-of-tests", "no hash")
    store = MessageStore(redis, observers=(lambda step: [wrong, ("INCR", "sp:n")],))
    sent = message(clock())
    with capture_logs() as lines:
        store.accept([(sent, BODY)], None)
        taken = claim(store, clock)
        store.move(Change(taken, lifecycle.given_up(taken, "no", clock())))
    assert [line["event"] for line in lines] == [
        "not written with the messages",
        "left out of a step",
    ]
    assert all(line["message"] == sent.id and wrong[0] in str(line) for line in lines)
    assert store.get(sent.id).state is MessageState.FAILED
    assert redis.get("sp:n") == "2"


def test_a_taken_message_comes_with_its_body_and_a_lease(store, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    rings, (taken,) = store.take(5, "w1", clock(), LEASE)
    assert rings == 1
    assert taken.body == BODY
    assert taken.message.state is MessageState.SENDING
    assert taken.message.lease.owner == "w1"
    assert taken.message.lease.until == clock() + LEASE
    assert store.get(sent.id) == taken.message


def test_two_workers_never_take_the_same_message(store, clock):
    for _ in range(20):
        store.accept([(message(clock()), BODY)], None)
    first = store.take(15, "w1", clock(), LEASE)[1]
    second = store.take(15, "w2", clock(), LEASE)[1]
    assert len(first) == 15
    assert len(second) == 5
    assert not {c.message.id for c in first} & {c.message.id for c in second}


def test_a_move_of_a_message_that_somebody_else_has_moved_changes_nothing(store, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    mine = claim(store, clock)
    handed_back = lifecycle.queued(mine, clock())
    assert store.move(Change(mine, handed_back, ring=True)) is not None
    theirs = claim(store, clock, "w2")
    assert store.move(Change(mine, lifecycle.given_up(mine, "no", clock()), keep=DAY)) is None
    assert store.get(sent.id) == theirs


def test_a_change_that_is_written_again_is_known_and_is_not_taken_for_somebody_elses(store, clock):
    store.accept([(message(clock()), BODY)], None)
    mine = claim(store, clock)
    change = Change(mine, lifecycle.attempt_opened(mine, attempt(mine, clock)))
    opened = store.move(change)
    assert store.move(change) == opened
    assert store.get(mine.id) == opened


def test_a_move_that_needs_a_lease_is_refused_once_it_has_run_out(store, clock):
    store.accept([(message(clock()), BODY)], None)
    mine = claim(store, clock)
    clock.tick(46)
    after = replace(mine, updated_at=clock())
    assert store.move(Change(mine, after, lease_until=clock() + LEASE)) is None
    assert store.move(Change(mine, after)) is not None


def test_the_same_idempotency_key_gives_one_message_to_a_hundred_requests_at_once(
    valkey_url, valkey, clock
):
    until = clock() + DAY
    answers = []

    def accept() -> None:
        store = MessageStore(connect(valkey_url))
        result = store.accept([(message(clock()), BODY)], Idempotency("h", "f", until))
        answers.append(result)

    threads = [threading.Thread(target=accept) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.kind for a in answers) == ["accepted"] + ["replayed"] * 99
    assert len({a.ids for a in answers}) == 1
    assert valkey.llen("rq:queue:mail") == 1


def test_an_idempotency_key_with_another_request_is_a_mismatch_and_keeps_nothing(
    store, redis, clock
):
    until = clock() + DAY
    store.accept([(message(clock()), BODY)], Idempotency("h", "one", until))
    before = all_keys(redis)
    result = store.accept([(message(clock()), BODY)], Idempotency("h", "two", until))
    assert result.kind == "mismatch"
    assert all_keys(redis) == before


def test_a_sent_message_leaves_its_record_and_nothing_else(store, redis, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    mine = claim(store, clock)
    opened = store.move(Change(mine, lifecycle.attempt_opened(mine, attempt(mine, clock))))
    after = lifecycle.attempt_closed(opened, lifecycle.Verdict(Outcome.ACCEPTED), clock())
    store.move(Change(opened, after, drop_body=True, keep=DAY))
    assert all_keys(redis) == {
        f"sp:message:{sent.id}",
        "sp:messages:shop",
        "sp:messages:shop:sent",
        "sp:ended",
        "sp:ring",
        "sp:bell",
        "rq:queues",
    }
    assert redis.ttl(f"sp:message:{sent.id}") >= DAY.total_seconds()


def test_an_unfinished_message_carries_no_expiry(store, redis, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    mine = claim(store, clock)
    store.move(Change(mine, lifecycle.waiting(mine, clock() + DAY, clock())))
    assert redis.ttl(f"sp:message:{sent.id}") == -1
    assert redis.ttl(f"sp:body:{sent.id}") == -1


def test_a_purge_takes_an_ended_message_out_of_every_list(store, redis, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    mine = claim(store, clock)
    store.move(Change(mine, lifecycle.given_up(mine, "no", clock()), keep=DAY))
    assert store.purge(clock(), 10) == 0
    clock.tick(DAY.total_seconds() + 1)
    assert store.purge(clock(), 10) == 1
    assert all_keys(redis) == {"sp:ring", "sp:bell", "rq:queues"}


def test_a_queued_message_whose_job_is_gone_is_rung_again(store, redis, clock):
    lost, kept = message(clock()), message(clock())
    store.accept([(lost, BODY)], None)
    store.accept([(kept, BODY)], None)
    redis.lpop("rq:queue:mail")
    assert store.ring_again(clock(), 10) == [lost.id]
    assert store.ring_again(clock(), 10) == []
    assert {c.message.id for c in store.take(10, "w1", clock(), LEASE)[1]} == {lost.id, kept.id}


def test_all_queued_messages_are_rung_again_when_the_queue_is_lost(store, redis, clock):
    ids = set()
    for _ in range(3):
        sent = message(clock())
        store.accept([(sent, BODY)], None)
        ids.add(sent.id)
    redis.delete("rq:queue:mail")
    assert set(store.ring_again(clock(), 10)) == ids


def test_an_extra_ring_does_no_harm(store, redis, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    redis.rpush("rq:queue:mail", sent.id, "msg_gone")
    rings, claims = store.take(10, "w1", clock(), LEASE)
    assert rings == 3
    assert [c.message.id for c in claims] == [sent.id]


def test_leases_are_renewed_only_for_their_holder(store, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    mine = claim(store, clock)
    clock.tick(30)
    assert store.renew([(mine.id, mine.lease.fence)], "w1", clock() + LEASE) == set()
    assert store.abandoned(clock() + timedelta(seconds=40), 10) == []
    assert store.renew([(mine.id, mine.lease.fence)], "w2", clock() + LEASE) == {mine.id}
    assert store.renew([(mine.id, mine.lease.fence + 1)], "w1", clock() + LEASE) == {mine.id}


def test_pages_are_newest_first_and_go_on_where_the_last_one_ended(store, clock):
    ids = []
    for _ in range(5):
        sent = message(clock())
        store.accept([(sent, BODY)], None)
        ids.append(sent.id)
        clock.tick(1)
    store.accept([(message(clock(), key="other"), BODY)], None)
    first = store.page("shop", None, None, None, 2)
    assert first == [ids[4], ids[3]]
    assert store.page("shop", None, first[-1], None, 10) == [ids[2], ids[1], ids[0]]
    assert store.page("shop", "queued", None, ids[3], 10) == [ids[4], ids[3]]
    assert store.page("shop", "sent", None, None, 10) == []


def test_rq_reads_the_job_that_was_written(store, valkey_url, valkey, clock):
    sent = message(clock())
    MessageStore(valkey).accept([(sent, BODY)], None)
    queue = Queue(QUEUE, connection=connect(valkey_url, decode=False), serializer=JSONSerializer)
    assert queue.job_ids == [sent.id]
    job = queue.fetch_job(sent.id)
    assert job.func_name == "workers.jobs.deliver"
    assert job.args == [sent.id]
    assert job.kwargs == {}
    assert job.get_status() is JobStatus.QUEUED
    assert job.origin == QUEUE
    assert job.enqueued_at == clock()
    assert job.timeout == 180
    assert queue in Queue.all(connection=queue.connection)


def test_rq_knows_what_a_worker_has_taken_and_forgets_what_is_done(valkey_url, valkey):
    clock = utc_now
    store = MessageStore(valkey)
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    mine = claim(store, clock)
    connection = connect(valkey_url, decode=False)
    registry = StartedJobRegistry(QUEUE, connection=connection, serializer=JSONSerializer)
    assert registry.get_job_ids(cleanup=False) == [sent.id]
    job = Job.fetch(sent.id, connection=connection, serializer=JSONSerializer)
    assert job.get_status() is JobStatus.STARTED
    assert job.worker_name == "w1"
    assert [e.worker_name for e in job.get_executions()] == ["w1"]
    store.move(Change(mine, lifecycle.given_up(mine, "no", clock()), keep=DAY))
    assert registry.get_job_ids(cleanup=False) == []
    assert not Job.exists(sent.id, connection=connection)


def test_a_server_that_is_away_is_said_to_be_so(tmp_path, clock):
    store = MessageStore(connect(f"unix://{tmp_path}/nobody.sock"))
    with pytest.raises(StoreUnavailable):
        store.ping()
    with pytest.raises(StoreUnavailable) as caught:
        store.accept([(message(clock()), BODY)], None)
    assert type(caught.value) is StoreUnavailable


def test_the_record_is_text_that_a_person_can_read(store, redis, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    record = redis.hgetall(f"sp:message:{sent.id}")
    assert record["state"] == "queued"
    assert json.loads(record["recipients"]) == [["ann@example.net", "", "to", "queued", None]]
