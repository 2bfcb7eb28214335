"""What a message takes in memory, and what its steps cost while many others wait."""

from datetime import timedelta

import pytest
from redis import Redis

from app.core import lifecycle
from app.core.ids import attempt_id
from app.core.lifecycle import Verdict
from app.core.models import Attempt, Body, MessageState, Outcome
from app.core.store import Change, MessageStore
from tests.scripted import message

DAY = timedelta(days=1)
LEASE = timedelta(seconds=45)
COUNT = 1000
TEXT = "Your order is on its way. " * 40
# As much as we allow ourselves for each message.
MOST = 2048


def fill(store: MessageStore, clock, count: int = COUNT, **changes) -> list[str]:
    messages = [message(clock(), f"ann{n}@example.net", **changes) for n in range(count)]
    for start in range(0, count, 250):
        store.accept([(m, Body(TEXT, None)) for m in messages[start : start + 250]], None)
    return [m.id for m in messages]


def used(redis: Redis) -> int:
    return redis.info("memory")["used_memory_dataset"]


def deliver(store: MessageStore, clock, count: int) -> None:
    """Sends so many of those that wait, without a provider."""
    _, claims = store.take(count, "w1", clock(), LEASE)
    for claim in claims:
        mine = claim.message
        attempt = Attempt(attempt_id(mine.id, 1), "mailgun", "first in the order", 1, clock())
        opened = store.move(
            Change(mine, lifecycle.attempt_opened(mine, attempt), lease_until=clock() + LEASE)
        )
        verdict = Verdict(Outcome.ACCEPTED, provider_message_id="x" * 40, duration_ms=40)
        sent = lifecycle.attempt_closed(opened, verdict, clock())
        assert store.move(Change(opened, sent, drop_body=True, keep=DAY)) is not None


def test_a_stored_message_takes_little_more_than_its_body(valkey, clock):
    store = MessageStore(valkey)
    fill(store, clock, 10)
    before = used(valkey)
    fill(store, clock)
    assert (used(valkey) - before) / COUNT < len(TEXT) + MOST


def test_a_finished_message_takes_little(valkey, clock):
    store = MessageStore(valkey)
    fill(store, clock, 10)
    before = used(valkey)
    ids = fill(store, clock)
    for _ in range(11):
        deliver(store, clock, 100)
    assert store.get(ids[-1]).state is MessageState.SENT
    assert not valkey.exists(f"sp:body:{ids[-1]}")
    assert valkey.memory_usage(f"sp:message:{ids[-1]}") < MOST
    assert (used(valkey) - before) / COUNT < MOST


class Commands:
    """How many commands the server has run, scripts' own included."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        redis.config_resetstat()

    def count(self) -> int:
        found = self._redis.info("commandstats")
        return sum(
            stat["calls"] for name, stat in found.items() if not name.startswith("cmdstat_info")
        )


@pytest.mark.parametrize("where", ["queued", "scheduled", "ended"])
def test_the_steps_of_a_message_cost_the_same_however_many_others_there_are(valkey, clock, where):
    store = MessageStore(valkey)

    def one() -> int:
        commands = Commands(valkey)
        fill(store, clock, 1)
        deliver(store, clock, 1)
        return commands.count()

    one()
    few = one()
    later = {"state": MessageState.SCHEDULED, "next_attempt_at": clock() + DAY}
    fill(store, clock, **(later if where == "scheduled" else {}))
    if where == "ended":
        for _ in range(10):
            deliver(store, clock, 100)
    assert one() <= few + 1
