"""Priorities with a real worker over a real server: bulk mail keeps nobody waiting."""

import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from msgspec.structs import replace

from app.core.models import MessageState, Priority
from app.services import utc_now
from providers.types import Accepted
from tests.scripted import BODY, message
from tests.waiting import until
from tests.workers.test_worker import Running
from workers.slots import Room, Slots

HIGH, NORMAL, BULK = Priority
SLOW = 1.0


def accept(running: Running, count: int, **changes) -> list[str]:
    sent = [message(utc_now(), **changes) for _ in range(count)]
    for begin in range(0, count, 1000):
        running.services.store.accept([(m, BODY) for m in sent[begin : begin + 1000]], None)
    return [m.id for m in sent]


def sent_at(running: Running, message_id: str):
    def sent():
        found = running.services.store.get(message_id)
        return found.updated_at if found.state is MessageState.SENT else None

    return until(sent, 20)


@pytest.fixture
def slow(valkey_url, valkey):
    """A worker of 16 slots whose provider takes its time over bulk mail."""
    gate = threading.Event()
    running = Running(valkey_url, concurrency=16)
    bulk_asked = Counter()

    def answer(email):
        if email.subject == "bulk":
            bulk_asked[threading.current_thread().name] += 1
            gate.wait(SLOW)
        return Accepted("x")

    running.provider.send = answer
    running.bulk_asked = bulk_asked
    yield running
    gate.set()


def bulk(running: Running, count: int) -> list[str]:
    envelope = replace(message(utc_now()).envelope, subject="bulk")
    return accept(running, count, priority=BULK, envelope=envelope)


@pytest.mark.parametrize("priority", [HIGH, NORMAL])
def test_thousands_of_bulk_mails_with_a_slow_provider_do_not_delay_another(slow, priority):
    waiting = bulk(slow, 5000)
    with slow:
        until(lambda: slow.bulk_asked.total() >= 12)
        for _ in range(5):
            began = utc_now()
            (message_id,) = accept(slow, 1, priority=priority)
            assert sent_at(slow, message_id) - began < timedelta(seconds=SLOW / 2)
        states = [slow.services.store.get(i).state for i in waiting]
        assert states.count(MessageState.SENDING) <= 12
        assert states.count(MessageState.QUEUED) > 4900


def test_bulk_mail_goes_on_as_slots_become_free(slow):
    ids = bulk(slow, 30)
    with slow:
        began = time.monotonic()
        until(lambda: all(slow.state(i) is MessageState.SENT for i in ids))
        assert time.monotonic() - began < 3 * SLOW + 1.5


def test_a_scheduled_mail_starts_within_two_seconds_of_its_time(valkey_url, valkey):
    with Running(valkey_url, interval="5s") as running:
        at = utc_now() + timedelta(seconds=1.2)
        (message_id,) = accept(
            running, 1, state=MessageState.SCHEDULED, send_at=at, next_attempt_at=at
        )
        sent = sent_at(running, message_id)
        assert timedelta(0) <= sent - at < timedelta(seconds=2)


def test_slots_are_kept_for_what_is_not_bulk_and_a_few_for_high():
    slots = Slots(32)
    assert slots.room() == Room(32, 30, 24)
    slots.fill([BULK] * 20 + [NORMAL] * 2)
    assert slots.room() == Room(10, 8, 4)
    slots.fill([BULK] * 4)
    assert slots.room() == Room(6, 4, 0)
    slots.fill([NORMAL] * 4 + [HIGH])
    assert slots.room() == Room(1, 0, 0)
    slots.leave(BULK)
    assert slots.room() == Room(2, 1, 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_worker_of_few_slots_takes_bulk_too(count):
    assert Slots(count).room().bulk >= 1
