"""Callbacks as a worker delivers them: many at once, over real HTTP and a real server."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import orjson
from redis import Redis
from standardwebhooks import Webhook

from app.core import callback_events
from app.core.callback_book import CallbackBook
from app.core.callback_feed import CallbackFeed
from app.core.callback_queue import CallbackQueue, DeliveryState
from app.core.callback_transport import CallbackTransport
from app.core.callbacks import Callbacks
from app.core.lifecycle import Verdict, attempt_closed, attempt_opened
from app.core.models import Attempt, Outcome
from app.core.scripting import Scripts
from app.core.store import Change, MessageStore
from app.services import utc_now
from tests.receiver import Receiver
from tests.scripted import BODY, message
from tests.waiting import until
from workers.callbacks import CallbackLoop
from workers.worker import Stop

ROOT = Path(__file__).parents[2]

_WORKER = """
from gevent import monkey
monkey.patch_all(select=False)
import sys, time
from app.services import connect
from tests.workers.test_callbacks import World
with World(connect(sys.argv[1])).working():
    print("works", flush=True)
    time.sleep(60)
"""


class World:
    """What is registered, and a worker's loop over it with the true time."""

    def __init__(self, redis: Redis, deadline: float = 5.0) -> None:
        scripts = Scripts(redis)
        self.store = MessageStore(redis, observers=(callback_events.observer(),))
        self.book = CallbackBook(scripts, utc_now)
        self.feed = CallbackFeed(scripts, self.book, utc_now)
        self.queue = CallbackQueue(scripts)
        self.callbacks = Callbacks(
            self.book,
            self.queue,
            CallbackTransport(True, deadline),
            True,
            utc_now,
            lambda: 0.0,
            timedelta(seconds=deadline + 1),
        )

    def send(self, count: int = 1) -> None:
        """So many mails are sent, as far as anybody can see."""
        for _ in range(count):
            mail = message(utc_now())
            self.store.accept([(mail, BODY)], None)
            opened = attempt_opened(mail, Attempt(f"{mail.id}-1", "mailgun", "first", 1, utc_now()))
            sent = attempt_closed(opened, Verdict(Outcome.ACCEPTED), utc_now())
            assert self.store.move(Change(mail, sent))
        self.feed.work()

    @contextmanager
    def working(self, at_once: int = 16) -> Iterator[None]:
        stop = Stop(grace=5)
        thread = threading.Thread(target=CallbackLoop(self.callbacks, stop, at_once).run)
        thread.start()
        try:
            yield
        finally:
            stop.ask()
            thread.join(10)
            assert not thread.is_alive()


def test_what_is_told_arrives_signed(valkey):
    world = World(valkey)
    with Receiver() as receiver, world.working():
        hook = world.book.add("shop", f"{receiver.url}/hook")
        world.send()
        until(lambda: receiver.told)
    (told,) = receiver.told
    headers = {name.lower(): text for name, text in told.headers.items()}
    verified = Webhook(hook.secret).verify(told.body, headers)
    assert (verified["type"], verified["data"]["provider"]) == ("message.sent", "mailgun")
    assert told.path == "/hook"


def test_one_that_hangs_delays_nobody_else(valkey):
    world, gate = World(valkey), threading.Event()

    def hang(told):
        gate.wait(10)
        return 204, {}, b""

    with Receiver(hang) as bad, Receiver() as good, world.working(at_once=16):
        world.book.add("shop", bad.url)
        world.book.add("shop", good.url)
        world.send(40)
        try:
            until(lambda: len(good.told) == 40, seconds=4)
            # It has its share of what goes on at once, and no more.
            assert len(bad.told) <= 8
        finally:
            gate.set()


def test_many_that_hang_delay_nobody_else_once_they_are_known(valkey):
    """They take no more than half of what can go on at once, however many they are."""
    world, gate = World(valkey, deadline=0.5), threading.Event()

    def hang(told):
        gate.wait(20)
        return 204, {}, b""

    with Receiver(hang) as bad, Receiver() as good:
        hooks = [world.book.add("shop", f"{bad.url}/{number}") for number in range(6)]
        with world.working(at_once=4):
            world.send(2)
            until(lambda: all(c.failing_since for c in world.queue.conditions(hooks)), seconds=20)
            for _ in range(3):
                for hook in hooks:
                    for delivery in world.queue.page(hook, None, 100)[0]:
                        world.queue.replay(hook, delivery.id, utc_now())
            world.book.add("shop", good.url)
            began = time.monotonic()
            world.send(10)
            until(lambda: len(good.told) == 10, seconds=5)
            assert time.monotonic() - began < 3
        gate.set()


def test_a_worker_that_is_killed_while_it_tells_leaves_it_to_another(valkey, valkey_url):
    world, gate = World(valkey, deadline=1.0), threading.Event()

    def hang(told):
        gate.wait(10)
        return 204, {}, b""

    with Receiver(hang) as receiver:
        hook = world.book.add("shop", receiver.url)
        with subprocess.Popen(
            [sys.executable, "-c", _WORKER, valkey_url],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        ) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"works\n"
            world.send()
            until(lambda: receiver.told)
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        gate.set()
        with world.working():
            until(lambda: len(receiver.told) == 2, seconds=15)
            until(lambda: world.queue.page(hook, None, 1)[0][0].state is DeliveryState.DELIVERED)
    first, second = (told.headers["webhook-id"] for told in receiver.told)
    assert first == second
    assert orjson.loads(receiver.told[1].body) == orjson.loads(receiver.told[0].body)
