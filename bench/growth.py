"""What a mail costs while few or many wait, and the memory that a stored one takes."""

from dataclasses import dataclass

from bench.lean import TEXT
from bench.machine import Machine, Provider
from bench.sending import window
from bench.systems import fill_ours, workers


@dataclass(frozen=True, slots=True)
class Grown:
    """With so many mails waiting: mails sent a second, and bytes for each beside its text."""

    waiting: int
    sent: float
    bytes_each: float


def measure(machine: Machine, provider: Provider, sizes: list[int], seconds: float) -> list[Grown]:
    """Sends while so many wait, beginning with the fewest."""
    machine.empty()
    empty = machine.redis.info("memory")["used_memory"]
    found = []
    for size in sizes:
        waiting = machine.redis.zcard("sp:queued") + machine.redis.zcard("sp:leased")
        fill_ours(machine, provider, size - waiting)
        used = machine.redis.info("memory")["used_memory"] - empty
        stored = size + machine.redis.zcard("sp:ended")
        provider.ask("close")
        processes = workers(machine, provider)
        try:
            sent = window(machine, provider, processes, seconds).sent
        finally:
            machine.stop(*processes)
        found.append(Grown(size, sent, used / stored - len(TEXT)))
    return found
