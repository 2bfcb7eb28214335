"""How fast mail is sent, from the moment at which everybody has something in hand."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.machine import Machine, Process, Provider, wait_until
from bench.systems import System

_SETTLED_SECONDS = 0.7
_WARM_SECONDS = 0.7
_LONGEST_START = 20.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What one system did in one run: mails a second, and milliseconds of CPU for each of them."""

    sent: float
    worker_ms: float
    store_ms: float


@dataclass(frozen=True, slots=True)
class Rates:
    """All runs of one system: the median counts."""

    runs: tuple[Rate, ...]

    @property
    def sent(self) -> float:
        return median(run.sent for run in self.runs)

    @property
    def least(self) -> float:
        return min(run.sent for run in self.runs)

    @property
    def most(self) -> float:
        return max(run.sent for run in self.runs)

    @property
    def worker_ms(self) -> float:
        return median(run.worker_ms for run in self.runs)

    @property
    def store_ms(self) -> float:
        return median(run.store_ms for run in self.runs)


def measure(
    machine: Machine, system: System, provider: Provider, seconds: float, earlier: Sequence[Rate]
) -> Rate:
    """Lets a system send for some seconds; `earlier` are its runs before."""
    machine.empty(system.fsync)
    provider.ask("close")
    expected = max((run.sent for run in earlier), default=system.rate[1 if provider.seconds else 0])
    # More than it will need, so that nobody sees the end of it.
    system.fill(machine, provider, round(1.5 * expected * (seconds + _WARM_SECONDS)) + 500)
    processes = system.start(machine, provider)
    try:
        return window(machine, provider, processes, seconds)
    finally:
        machine.stop(*processes)


def window(machine: Machine, provider: Provider, processes: list[Process], seconds: float) -> Rate:
    """Opens the provider's gate when everybody waits at it, and soon counts for some seconds."""
    _all_wait(provider, processes)
    provider.ask("go")
    time.sleep(_WARM_SECONDS)
    before = sum(process.cpu() for process in processes), machine.store.cpu()
    began = provider.ask("count")
    time.sleep(seconds)
    # Slow ones are waited for, so that they have a rate at all.
    wait_until(lambda: provider.ask("count")["count"] > began["count"])
    ended = provider.ask("count")
    after = sum(process.cpu() for process in processes), machine.store.cpu()
    provider.ask("close")
    for process in processes:
        process.check()
    count = ended["count"] - began["count"]
    # Where the mails came to an end before the time did, they were fewer than was thought.
    return Rate(
        count / (ended["last"] - began["now"]),
        1000 * (after[0] - before[0]) / count,
        1000 * (after[1] - before[1]) / count,
    )


def _all_wait(provider: Provider, processes: list[Process]) -> None:
    seen, since = 0, time.monotonic()

    def settled() -> bool:
        nonlocal seen, since
        for process in processes:
            process.check()
        waiting = provider.ask("count")["waiting"]
        if waiting != seen:
            seen, since = waiting, time.monotonic()
        return waiting > 1 and time.monotonic() - since > _SETTLED_SECONDS

    wait_until(settled, _LONGEST_START)
