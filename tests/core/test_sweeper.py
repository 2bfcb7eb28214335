"""The sweeper after an outage: a lease that ran out meanwhile is still its owner's for a while."""

from datetime import timedelta

import pytest
from redis import Redis

from app.core.models import MessageState
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
