"""Writes that a replica has to confirm: until it has, nothing is promised and nobody is asked."""

import dataclasses
from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from app.core import lifecycle
from app.core.connections import Patience, client
from app.core.ids import attempt_id
from app.core.models import Attempt, Lease, Outcome
from app.core.scripting import StoreUnavailable, WriteInDoubt
from app.core.store import Change, Idempotency, MessageStore
from tests.core.test_delivery import Service, outcomes
from tests.redis_server import Server
from tests.scripted import BODY, message
from tests.waiting import until

LEASE = timedelta(seconds=45)
DAY = timedelta(days=1)
PATIENCE = Patience(connect=1.0, answer=2.0)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    """A master and its replica."""
    with Server() as master, Server() as replica:
        replica.replicate(master)
        yield master, replica


@pytest.fixture
def master(pair: tuple[Server, Server]) -> Iterator[Server]:
    pair[0].admin.flushall()
    until(pair[0].is_followed)
    yield pair[0]
    pair[1].resume()


@pytest.fixture
def replica(pair: tuple[Server, Server]) -> Server:
    return pair[1]


def store_of(master: Server) -> MessageStore:
    """A store with connections of its own, which have written nothing yet."""
    return MessageStore(client(master.url, PATIENCE), timedelta(milliseconds=300))


@pytest.fixture
def store(master: Server) -> MessageStore:
    return store_of(master)


def opening(store: MessageStore, clock) -> Change:
    """The opening of a claimed message's first attempt."""
    store.accept([(message(clock()), BODY)], None)
    (claim,) = store.take(1, "w1", clock(), LEASE)[1]
    attempt = Attempt(attempt_id(claim.message.id, 1), "mailgun", "first", 1, clock())
    opened = lifecycle.attempt_opened(claim.message, attempt)
    return Change(claim.message, opened, lease_until=clock() + LEASE)


def test_what_a_replica_has_confirmed_is_accepted(store, replica, clock):
    sent = message(clock())
    store.accept([(sent, BODY)], None)
    assert replica.admin.exists(f"sp:message:{sent.id}")
    store.check_ready()


def test_what_no_replica_has_confirmed_is_in_doubt_and_the_same_key_settles_it(
    master, replica, clock
):
    key = Idempotency("h", "f", clock() + DAY)
    replica.hang()
    for store in (store_of(master), store_of(master)):
        with pytest.raises(WriteInDoubt):
            store.accept([(message(clock()), BODY)], key)
    replica.resume()
    assert store.accept([(message(clock()), BODY)], key).kind == "replayed"
    assert len(store.page("shop", None, None, None, 10)) == 1


def test_what_writes_nothing_needs_no_replica(store, replica, clock):
    key = Idempotency("h", "f", clock() + DAY)
    store.accept([(message(clock()), BODY)], key)
    replica.hang()
    other = dataclasses.replace(key, fingerprint="g")
    assert store.accept([(message(clock()), BODY)], other).kind == "mismatch"
    assert store.accept([(message(clock()), BODY)], None, room=0).kind == "full"


def test_an_attempt_that_no_replica_knows_of_is_not_open_until_one_does(master, replica, clock):
    change = opening(store_of(master), clock)
    replica.hang()
    for store in (store_of(master), store_of(master)):
        with pytest.raises(StoreUnavailable):
            store.move(change)
    replica.resume()
    opened = store.move(change)
    assert opened == store.get(change.after.id)
    assert opened.open_attempt is not None
    assert replica.admin.hget(f"sp:message:{opened.id}", "attempt:1")


def test_no_provider_is_asked_until_a_replica_knows_of_the_attempt(master, replica, clock):
    waits = []

    def pause(seconds: float) -> bool:
        if seconds:
            waits.append(service.mailgun.asked[:])
            replica.resume()
        return True

    service = Service(client(master.url, PATIENCE), clock, pause)
    service.store = store_of(master)
    service.worker = service.new_worker("w1")
    message_id = service.accept()
    claim = service.take()
    replica.hang()
    sent = service.worker.deliver(claim)
    assert waits
    assert not any(waits)
    assert len(service.mailgun.asked) == 1
    assert sent == service.store.get(message_id)
    assert outcomes(sent) == [("mailgun", Outcome.ACCEPTED)]
    assert not sent.possible_duplicate


def test_a_promise_to_send_again_is_in_doubt_until_a_replica_knows_of_it(store, replica, clock):
    change = opening(store, clock)
    given_up = lifecycle.given_up(change.before, "no", clock())
    dead = store.move(Change(change.before, given_up, keep=DAY))
    again = lifecycle.resent(dead, clock(), clock() + DAY, (), ())
    replica.hang()
    with pytest.raises(WriteInDoubt):
        store.move(Change(dead, again, ring=True, promised=True))


def test_results_are_written_without_a_replica(store, replica, clock):
    change = opening(store, clock)
    opened = store.move(change)
    replica.hang()
    given_up = lifecycle.given_up(opened, "no", clock())
    assert store.move(Change(opened, given_up, keep=DAY)) is not None


def test_a_master_without_replicas_is_not_ready(clock):
    with Server() as lonely:
        store = MessageStore(client(lonely.url, PATIENCE), timedelta(milliseconds=100))
        with pytest.raises(StoreUnavailable):
            store.check_ready()


def test_a_version_that_a_failover_has_given_out_twice_is_known_by_its_owner(store, clock):
    """The claim of one worker was forgotten, and another one's has the same number."""
    change = opening(store, clock)
    theirs = replace(change.before, lease=Lease("w2", 1, clock() + LEASE))
    assert store.move(replace(change, before=theirs)) is None
    assert store.move(change) is not None
