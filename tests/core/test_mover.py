import threading
from datetime import timedelta

import pytest
from msgspec.structs import replace
from redis.exceptions import ResponseError

from app.core import lifecycle
from app.core.mover import Mover
from app.core.scripting import StoreUnavailable, WriteInDoubt
from app.core.store import Change, MessageStore
from tests.scripted import BODY, message

DAY = timedelta(days=1)
LEASE = timedelta(seconds=45)


class Server:
    """A store that takes its time: the first batch waits until it is told to go on."""

    def __init__(self, store: MessageStore) -> None:
        self.store = store
        self.batches: list[int] = []
        self.errors: list[Exception] = []
        self.busy = threading.Event()
        self.go_on = threading.Event()

    def move(self, change):
        return self.store.move(change)

    def move_many(self, changes):
        self.batches.append(len(changes))
        self.busy.set()
        assert self.go_on.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        return self.store.move_many(changes)


class Movers:
    """Threads that each move a message of their own."""

    def __init__(self, redis, clock) -> None:
        self.server = Server(MessageStore(redis))
        self.clock = clock
        self.mover = Mover(self.server, lambda: 0)
        self.found: dict[str, object] = {}
        self.threads: list[threading.Thread] = []

    def claimed(self, count: int):
        store, clock = self.server.store, self.clock
        store.accept([(message(clock()), BODY) for _ in range(count)], None)
        _, claims = store.take(count, "w1", clock(), LEASE)
        return [claim.message for claim in claims]

    def move(self, change: Change) -> None:
        def run() -> None:
            try:
                self.found[change.after.id] = self.mover.move(change)
            except (StoreUnavailable, ResponseError, AttributeError) as error:
                self.found[change.after.id] = error

        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)

    def all_waiting(self, count: int) -> None:
        from tests.waiting import until

        until(lambda: len(self.mover._waiting) == count)

    def finish(self) -> None:
        self.server.go_on.set()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def movers(redis, clock) -> Movers:
    return Movers(redis, clock)


def given_up(seen, clock) -> Change:
    return Change(seen, lifecycle.given_up(seen, "no", clock()), keep=DAY)


def test_one_that_is_alone_is_written_at_once(movers, clock):
    movers.server.go_on.set()
    (mine,) = movers.claimed(1)
    assert movers.mover.move(given_up(mine, clock)) == movers.server.store.get(mine.id)
    assert movers.server.batches == [1]


def test_those_who_come_while_one_writes_are_written_together(movers, clock):
    first, *others = movers.claimed(8)
    movers.move(given_up(first, clock))
    assert movers.server.busy.wait(10)
    for mine in others:
        movers.move(given_up(mine, clock))
    movers.all_waiting(7)
    movers.finish()
    assert movers.server.batches == [1, 7]
    for mine in (first, *others):
        assert movers.found[mine.id] == movers.server.store.get(mine.id)


def test_each_has_an_answer_of_its_own(movers, clock):
    first, stale, good = movers.claimed(3)
    movers.move(given_up(first, clock))
    assert movers.server.busy.wait(10)
    movers.move(given_up(replace(stale, version=99), clock))
    movers.move(given_up(good, clock))
    movers.all_waiting(2)
    movers.finish()
    assert movers.found[stale.id] is None
    assert movers.found[good.id] == movers.server.store.get(good.id)


def test_all_are_in_doubt_when_the_answer_is_lost_and_may_be_written_again(movers, clock):
    first, *others = movers.claimed(3)
    movers.server.errors = [WriteInDoubt("lost"), WriteInDoubt("lost")]
    changes = [given_up(mine, clock) for mine in (first, *others)]
    movers.move(changes[0])
    assert movers.server.busy.wait(10)
    for change in changes[1:]:
        movers.move(change)
    movers.all_waiting(2)
    movers.finish()
    found = list(movers.found.values())
    assert [type(error) for error in found] == [WriteInDoubt] * 3
    assert len({id(error) for error in found}) == 3
    for change in changes:
        assert movers.mover.move(change) == movers.server.store.get(change.after.id)


def test_what_is_wrong_with_one_is_no_concern_of_the_others(movers, clock):
    first, broken, good = movers.claimed(3)
    movers.move(given_up(first, clock))
    assert movers.server.busy.wait(10)
    after = replace(given_up(broken, clock).after, envelope=None)
    movers.move(Change(broken, after, keep=DAY))
    movers.move(given_up(good, clock))
    movers.all_waiting(2)
    movers.finish()
    assert isinstance(movers.found[broken.id], AttributeError)
    assert movers.found[good.id] == movers.server.store.get(good.id)


def test_an_error_of_one_record_in_redis_leaves_the_others_moved(movers, clock, redis):
    movers.server.go_on.set()
    broken, good = movers.claimed(2)
    redis.delete("sp:ended")
    redis.delete(f"sp:message:{broken.id}")
    redis.set(f"sp:message:{broken.id}", "not a record")
    found = movers.server.store.move_many([given_up(broken, clock), given_up(good, clock)])
    assert isinstance(found[0], ResponseError)
    assert found[1] == movers.server.store.get(good.id)
