"""Who is measured at sending: how each is given its mails, and how it is started."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from redis import Redis
from rq import Queue

from app.core.store import MessageStore
from app.core.submit import Submission, Submitter
from app.services import utc_now
from bench.lean import TEXT, mail
from bench.machine import Machine, Process, Provider
from providers.types import Address

_AT_ONCE = 500
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class System:
    """Somebody who sends mail.

    `fill` hands over so many mails, `start` begins to send them. `rate` is about what it sends in a
    second without and with a provider's latency, so that enough of them wait. Peers get the `fsync`
    that a store has by default.
    """

    name: str
    fill: Callable[[Machine, Provider, int], None]
    start: Callable[[Machine, Provider], list[Process]]
    rate: tuple[int, int]
    fsync: str = "everysec"


def submission() -> Submission:
    return Submission(
        sender=Address("orders@shop.example", "Shop"),
        to=(Address("ann@example.net", "Ann"),),
        subject="Your order",
        text=TEXT,
    )


def fill_ours(machine: Machine, _provider: Provider, count: int) -> None:
    """Accepts mails as the web process does, but many in one step."""
    submitter = Submitter(MessageStore(machine.redis), "failover", _DAY, utc_now)
    asked_for = submission()
    for left in range(count, 0, -_AT_ONCE):
        submitter.submit_batch("default", [asked_for] * min(left, _AT_ONCE), None, "")


def workers(
    machine: Machine, provider: Provider, module: str = "workers", **settings: str
) -> list[Process]:
    """Two worker processes of ours, with the settings that they have by themselves."""
    base = f"http://127.0.0.1:{provider.port}"
    env = machine.service(**{"SENDGRID_BASE_URL": base, **settings})
    return [machine.start(module, **env) for _ in range(2)]


def _executor(module: str, concurrency: int) -> Callable[[Machine, Provider], list[Process]]:
    def start(machine: Machine, provider: Provider) -> list[Process]:
        return workers(machine, provider, module, WORKER_CONCURRENCY=str(concurrency))

    return start


def _failing_over(machine: Machine, provider: Provider) -> list[Process]:
    base = f"http://127.0.0.1:{provider.port}"
    return workers(
        machine,
        provider,
        PROVIDERS="bench.second:Down,sendgrid",
        DOWN_BASE_URL=f"{base}/down",
        BREAKER_FAILURES="1000000000",
    )


def _nothing(machine: Machine, provider: Provider, count: int) -> None:
    """The ceiling makes its own mails."""


def _ceiling(machine: Machine, provider: Provider) -> list[Process]:
    concurrency = str(machine.settings.worker_concurrency)
    return _two(machine, provider, "bench.ceiling", concurrency)


def _environment(machine: Machine, provider: Provider) -> dict[str, str]:
    return {
        "BENCH_PORT": str(provider.port),
        "BENCH_SOCKET": machine.socket,
        "LOG_LEVEL": "warning",
    }


def _two(machine: Machine, provider: Provider, module: str, *arguments: str) -> list[Process]:
    env = _environment(machine, provider)
    return [machine.start(module, *arguments, **env) for _ in range(2)]


def _fill_rq(machine: Machine, provider: Provider, count: int) -> None:
    queue = Queue("bench", connection=Redis.from_url(machine.settings.redis_url))
    jobs = [
        Queue.prepare_data("bench.rq_jobs.send", args=(mail(number),), result_ttl=0)
        for number in range(count)
    ]
    queue.enqueue_many(jobs)


def _rq(kind: str) -> Callable[[Machine, Provider], list[Process]]:
    def start(machine: Machine, provider: Provider) -> list[Process]:
        argv = [str(Path(sys.executable).with_name("rq")), "worker", "bench", "--quiet"]
        argv += ["--url", machine.settings.redis_url, "--worker-class", kind]
        env = {**_environment(machine, provider), "PYTHONPATH": os.getcwd()}
        return [machine.run(argv, env) for _ in range(2)]

    return start


def _fill_celery(machine: Machine, provider: Provider, count: int) -> None:
    os.environ.update(_environment(machine, provider))
    from bench.celery_app import app, send

    app.conf.broker_url = f"redis+socket://{machine.socket}"
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(count):
            send.apply_async((mail(number),), producer=producer)


def _celery(
    pool: str, concurrency: int, nodes: int
) -> Callable[[Machine, Provider], list[Process]]:
    def start(machine: Machine, provider: Provider) -> list[Process]:
        options = f"--pool {pool} --concurrency {concurrency} --loglevel ERROR".split()
        options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        env = _environment(machine, provider)
        return [
            machine.start(
                "celery", "-A", "bench.celery_app", "worker", *options, "-n", f"{n}@bench", **env
            )
            for n in range(nodes)
        ]

    return start


def _fill_dramatiq(machine: Machine, provider: Provider, count: int) -> None:
    os.environ.update(_environment(machine, provider))
    from bench.dramatiq_app import send

    for number in range(count):
        send.send(mail(number))


def _dramatiq(threads: int) -> Callable[[Machine, Provider], list[Process]]:
    def start(machine: Machine, provider: Provider) -> list[Process]:
        options = ("--processes", "2", "--threads", str(threads))
        env = _environment(machine, provider)
        return [machine.start("dramatiq", "bench.dramatiq_app", *options, **env)]

    return start


OURS = System("ours", fill_ours, workers, (2000, 2000), "always")
FAILING_OVER = System("ours, failing over", fill_ours, _failing_over, (1000, 1000), "always")
CEILING = System("no queue", _nothing, _ceiling, (0, 0))
DRAMATIQ: Sequence[System] = (
    System("dramatiq, 2 x 32 threads", _fill_dramatiq, _dramatiq(32), (1500, 1000)),
    System("dramatiq, 2 x 100 threads", _fill_dramatiq, _dramatiq(100), (1500, 1500)),
)
CELERY: Sequence[System] = (
    System("celery, prefork 2", _fill_celery, _celery("prefork", 2, 1), (1300, 60)),
    System("celery, prefork 32", _fill_celery, _celery("prefork", 32, 1), (900, 700)),
    System("celery, threads 2 x 64", _fill_celery, _celery("threads", 64, 2), (900, 900)),
    System("celery, gevent 2 x 100", _fill_celery, _celery("gevent", 100, 2), (1200, 1200)),
)
EXECUTORS: Sequence[System] = tuple(
    System(f"{name}, 2 x {count}", fill_ours, _executor(module, count), (2000, 2000), "always")
    for name, module in (("greenlets", "workers"), ("threads", "bench.threads"))
    for count in (16, 64, 128, 256)
)
"""Ours in greenlets and in threads, so many at once in each of two processes."""
RQ = System("2 x rq worker", _fill_rq, _rq("rq.worker.Worker"), (80, 50))
SIMPLE_RQ = System("2 x SimpleWorker", _fill_rq, _rq("rq.worker.SimpleWorker"), (800, 60))
