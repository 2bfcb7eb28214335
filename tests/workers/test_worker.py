"""The worker over a real server: it takes what there is, and RQ's tools see it as one of theirs."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend
from rq.worker import BaseWorker

from app.core.breaker import BreakerPolicy
from app.core.delivery import Delivery, DeliveryPolicy
from app.core.evidence import EvidenceBook
from app.core.fitness import Breakers
from app.core.leases import LeaseKeeper
from app.core.models import MessageState
from app.core.queue import QUEUE
from app.services import WorkerServices, build_worker, connect, utc_now
from config import Settings
from providers.types import Accepted
from tests.scripted import BODY, Scripted, message
from tests.waiting import until
from workers import jobs
from workers.worker import MailWorker, Stop


class Running:
    """A worker in threads of this process, and the provider that it asks."""

    def __init__(self, valkey_url: str, concurrency: int = 4, interval: str = "0.2s") -> None:
        self.provider = Scripted("mailgun")
        self.stop = Stop(grace=5)
        settings = Settings.from_env(
            {
                "REDIS_URL": valkey_url,
                "API_KEYS": "shop:0123456789abcdef",
                "SECRET_KEY": "x" * 32,
                "SWEEP_INTERVAL": interval,
                "SIMULATOR": "on",
            }
        )
        self.services = with_provider(build_worker(settings, self.stop.pause), self.provider, self)
        self.worker = MailWorker(self.services, concurrency, self.stop)
        self.thread = threading.Thread(target=self.worker.run)

    def accept(self) -> str:
        sent = message(utc_now())
        self.services.store.accept([(sent, BODY)], None)
        return sent.id

    def state(self, message_id: str) -> MessageState:
        return self.services.store.get(message_id).state

    def __enter__(self) -> "Running":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop.ask()
        self.thread.join(10)
        assert not self.thread.is_alive()


def with_provider(services: WorkerServices, provider: Scripted, running: Running) -> WorkerServices:
    for built in services.providers.values():
        built.close()
    delivery = Delivery(
        services.store,
        {provider.name: provider},
        (provider.name,),
        DeliveryPolicy((0.2,), services.lease, services.lease),
        services.leases,
        Breakers(services.store, BreakerPolicy(99, services.lease, services.lease), utc_now),
        EvidenceBook(services.store, services.lease, utc_now),
        utc_now,
        lambda: 0.5,
        running.stop.pause,
    )
    return replace(services, delivery=delivery, providers={provider.name: provider})


@pytest.fixture
def running(valkey_url: str, valkey: Redis) -> Iterator[Running]:
    with Running(valkey_url) as worker:
        yield worker


def test_a_mail_into_an_idle_worker_is_sent(running):
    message_id = running.accept()
    until(lambda: running.state(message_id) is MessageState.SENT)


def test_many_are_worked_on_at_once_and_each_once(valkey_url, valkey):
    gate = threading.Barrier(5)

    def meet(email):
        gate.wait(10)
        return Accepted("x")

    with Running(valkey_url, concurrency=4) as running:
        running.provider.answers = [meet] * 4
        ids = [running.accept() for _ in range(4)]
        gate.wait(10)
        ids += [running.accept() for _ in range(50)]
        until(lambda: all(running.state(i) is MessageState.SENT for i in ids))
        assert len(running.provider.asked) == 54


def test_a_retry_is_rung_by_the_worker_itself(running):
    from providers.errors import Unavailable

    running.provider.answers = [Unavailable("503")]
    message_id = running.accept()
    until(lambda: running.state(message_id) is MessageState.SENT)
    assert len(running.services.store.get(message_id).attempts) == 2


def test_rq_lists_the_worker_with_what_it_executes(valkey_url, valkey):
    begun, go_on = threading.Event(), threading.Event()

    def wait(email):
        begun.set()
        go_on.wait(10)
        return Accepted("x")

    connection = connect(valkey_url, decode=False)
    with Running(valkey_url) as running:
        running.provider.answers = [wait]
        message_id = running.accept()
        assert begun.wait(10)
        (worker,) = BaseWorker.all(connection=connection, serializer=JSONSerializer)
        assert worker.name == running.worker.name
        assert worker.queue_names() == [] or QUEUE in worker.queue_names()
        assert [e.job_id for e in worker.get_current_executions()] == [message_id]
        go_on.set()
        until(lambda: running.state(message_id) is MessageState.SENT)
        assert worker.get_current_executions(refresh=True) == []
    assert BaseWorker.all(connection=connection, serializer=JSONSerializer) == []


def test_rq_suspend_keeps_the_worker_from_taking_more(valkey_url, valkey):
    connection = connect(valkey_url, decode=False)
    suspend(connection)
    running = Running(valkey_url)
    running.worker._look_for_suspension()
    with running:
        message_id = running.accept()
        assert running.state(message_id) is MessageState.QUEUED
        resume(connection)
        until(lambda: running.state(message_id) is MessageState.SENT)


def test_a_stop_finishes_the_call_under_way_and_leaves_the_rest_queued(valkey_url, valkey):
    begun, go_on = threading.Event(), threading.Event()

    def wait(email):
        begun.set()
        go_on.wait(10)
        return Accepted("x")

    running = Running(valkey_url, concurrency=1)
    running.provider.answers = [wait]
    with running:
        first = running.accept()
        assert begun.wait(10)
        second = running.accept()
        running.stop.ask()
        go_on.set()
    assert running.state(first) is MessageState.SENT
    assert running.state(second) is MessageState.QUEUED
    assert len(running.provider.asked) == 1


def test_a_stock_rq_worker_can_run_the_job(valkey_url, valkey, monkeypatch):
    running = Running(valkey_url)
    monkeypatch.setattr(jobs, "_services", lambda: running.services)
    message_id = running.accept()
    queue = Queue(QUEUE, connection=connect(valkey_url, decode=False), serializer=JSONSerializer)
    worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
    worker.work(burst=True, logging_level="ERROR")
    assert running.state(message_id) is MessageState.SENT
    assert queue.failed_job_registry.count == 0
    assert isinstance(running.services.leases, LeaseKeeper)
