"""How fast mail is accepted over HTTP, and how long it takes from there to the provider."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import orjson

from app.ports import free_ports
from app.run import web_command
from bench.lean import TEXT
from bench.load import KEY
from bench.machine import ROOT, Machine, Process, Provider, wait_until
from bench.systems import workers
from config import Settings

CONNECTIONS = 16
BATCH = 1000

MAIL = {
    "from": {"email": "orders@shop.example", "name": "Shop"},
    "to": [{"email": "ann@example.net", "name": "Ann"}],
    "subject": "Your order",
    "text": TEXT,
    "tags": ["order"],
    "metadata": {"order": "17"},
}
BODY = orjson.dumps(MAIL)
OURS, BARE, ONE_SET = "wsgi:app", "bench.flask_apps:bare()", "bench.flask_apps:one_set()"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Answers a second, their times in milliseconds, and CPU (ms) an answer."""

    rate: float
    p50: float
    p99: float
    web_ms: float
    load_ms: float


@dataclass(frozen=True, slots=True)
class Ways:
    """Times of accepting and from there to the provider, in milliseconds: p50 and p99 of each."""

    accept: tuple[float, float]
    arrive: tuple[float, float]
    mails: int


class Web:
    """A web server with one of the applications: the same server with the same options for all."""

    def __init__(self, machine: Machine, application: str) -> None:
        self._machine = machine
        (self.port,) = free_ports(1, "127.0.0.1")
        env = {
            **machine.service(API_KEYS=f"default:{KEY}", SIMULATOR="off", PORT=str(self.port)),
            "BENCH_SOCKET": machine.socket,
        }
        command = [*web_command(Settings.from_env(env))[:-1], application]
        if "(" in application:
            command[-1] = application.removesuffix("()")
            command.insert(-1, "--factory")
        self.process = machine.run(command, env)
        wait_until(lambda: self.ask(1, 0.05, BODY)["statuses"].get("202"))

    def ask(
        self,
        connections: int,
        seconds: float,
        body: bytes,
        path: str = "/messages",
        rate: float = 0,
    ) -> Mapping[str, Any]:
        words = [str(word) for word in (self.port, path, connections, seconds, rate)]
        done = subprocess.run(  # noqa: S603  (our own command line)
            [sys.executable, "-m", "bench.load", *words],
            cwd=ROOT,
            input=body,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            return {"statuses": {}}
        answers: dict[str, Any] = orjson.loads(done.stdout)
        return answers

    def stop(self) -> None:
        self._machine.stop(self.process)


def measure(web: Web, seconds: float, fsync: str, machine: Machine) -> Accepted:
    """Accepts as much as it can for some seconds."""
    machine.empty(fsync)
    before = web.process.cpu()
    told = web.ask(CONNECTIONS, seconds, BODY)
    cpu = web.process.cpu() - before
    count = _all_accepted(told)
    p50, p99 = _p50_p99(told["times"])
    return Accepted(count / told["seconds"], p50, p99, 1000 * cpu / count, told["cost"])


def measure_batch(web: Web, seconds: float, machine: Machine) -> float:
    """Mails a second that are accepted in batches."""
    machine.empty()
    told = web.ask(2, seconds, orjson.dumps({"messages": [MAIL] * BATCH}), "/messages/batch")
    return _all_accepted(told) * BATCH / float(told["seconds"])


def ways(machine: Machine, provider: Provider, web: Web, rate: float, seconds: float) -> Ways:
    """How long single mails are under way while so many a second are sent."""
    machine.empty()
    processes: list[Process] = workers(machine, provider)
    try:
        wait_until(lambda: machine.redis.scard("rq:workers") == len(processes))
        provider.ask("go")
        told = web.ask(CONNECTIONS if rate > 100 else 1, seconds, BODY, rate=rate)
        wait_until(lambda: provider.ask("count")["count"] >= len(told["asked"]), 60)
        arrivals = provider.ask("arrivals")
    finally:
        machine.stop(*processes)
    took = [
        1000 * (at - told["asked"][attempt.partition("-")[0]])
        for attempt, at in arrivals.items()
        if attempt.partition("-")[0] in told["asked"]
    ]
    return Ways(_p50_p99(told["times"]), _p50_p99(took), len(took))


def _all_accepted(told: Mapping[str, Any]) -> int:
    if set(told["statuses"]) != {"202"}:
        raise RuntimeError(f"not everything was accepted: {told['statuses']}")
    return int(told["answers"])


def _p50_p99(times: list[float]) -> tuple[float, float]:
    return median(times), quantiles(times, n=100)[-1]
