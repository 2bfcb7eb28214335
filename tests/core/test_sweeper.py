"""The sweeper after an outage: a lease that ran out meanwhile is still its owner's for a while."""

from datetime import timedelta

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from app.core.models import MessageState, Priority
from app.core.scripting import StoreUnavailable
from app.core.store import MessageStore
from app.core.sweeper import Sweeper
from tests.scripted import BODY, message

LEASE = timedelta(seconds=45)
PATIENCE = timedelta(seconds=20)


class Leaving(MessageStore):
    """A store that is away at times, as far as sweepers can tell."""

    away = False

    def lock_sweeping(self, owner: str, seconds: float) -> bool:
        if self.away:
            raise StoreUnavailable
        return True


@pytest.fixture
def store(redis: Redis) -> Leaving:
    return Leaving(redis)


@pytest.fixture
def sweeper(store, clock) -> Sweeper:
    return Sweeper(store, "w2", 5, timedelta(days=7), clock, PATIENCE)


@pytest.fixture
def taken(store, clock):
    """A message that a worker has just taken."""
    store.accept([(message(clock()), BODY)], None)
    _, (claim,) = store.take(1, "w1", clock(), LEASE)
    return claim.message


def sweep_while_away(store, sweeper) -> None:
    store.away = True
    with pytest.raises(StoreUnavailable):
        sweeper.sweep()
    store.away = False


def test_a_worker_that_lives_keeps_its_messages_over_an_outage_longer_than_its_leases(
    store, sweeper, taken, clock
):
    clock.tick(60)
    sweep_while_away(store, sweeper)
    assert sweeper.sweep().abandoned == 0
    assert store.renew([(taken.id, taken.lease.fence)], "w1", clock() + LEASE) == set()
    clock.tick(21)
    assert sweeper.sweep().abandoned == 0


def test_a_worker_that_died_in_an_outage_loses_its_messages_soon_after(
    store, sweeper, taken, clock
):
    clock.tick(60)
    sweep_while_away(store, sweeper)
    clock.tick(21)
    assert sweeper.sweep().abandoned == 1
    assert store.get(taken.id).state is MessageState.QUEUED


def test_a_lease_that_ran_out_while_redis_was_there_is_not_waited_for(store, sweeper, taken, clock):
    clock.tick(44)
    assert sweeper.sweep().abandoned == 0
    clock.tick(2)
    assert sweeper.sweep().abandoned == 1


class Trips(MessageStore):
    """A store that counts its round trips, and how many messages it moves in one at most."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.trips = self.most = 0

    def get_many(self, message_ids):
        self.trips += 1
        return super().get_many(message_ids)

    def move_many(self, changes):
        self.trips += 1
        self.most = max(self.most, len(changes))
        return super().move_many(changes)


def test_what_a_dead_worker_had_is_put_back_many_at_a_time(redis, clock):
    store = Trips(redis)
    kept = [message(clock(), priority=p) for p in (Priority.HIGH, Priority.BULK) * 120]
    store.accept([(each, BODY) for each in kept], None)
    store.take(240, "w1", clock(), LEASE)
    clock.tick(46)
    assert Sweeper(store, "w2", 5, timedelta(days=7), clock).run().abandoned == 240
    assert {each.state for each in store.get_many([m.id for m in kept])} == {MessageState.QUEUED}
    assert redis.llen("rq:queue:mail-high") == redis.llen("rq:queue:mail-bulk") == 120
    # Three steps of two round trips, and the look just above.
    assert store.trips == 7
    assert store.most == 100


class Refusing(MessageStore):
    """A store in which one message cannot be moved."""

    refused = ""

    def move_many(self, changes):
        error = ResponseError("WRONGTYPE")
        others = iter(super().move_many([c for c in changes if c.after.id != self.refused]))
        return [error if c.after.id == self.refused else next(others) for c in changes]


def test_a_message_that_cannot_be_put_back_keeps_no_other_from_it(redis, clock):
    store = Refusing(redis)
    kept = [message(clock()) for _ in range(3)]
    store.accept([(each, BODY) for each in kept], None)
    store.take(3, "w1", clock(), LEASE)
    store.refused = kept[1].id
    clock.tick(46)
    with capture_logs() as lines:
        assert Sweeper(store, "w2", 5, timedelta(days=7), clock).run().abandoned == 2
    assert [line["message"] for line in lines if line["log_level"] == "error"] == [kept[1].id]
