"""The world of one schedule: its time, its chance, and tasks of which one runs at a time.

A task is a piece of production code in a greenlet. It gives way at every message to Redis and at
every call of a provider, and the scheduler decides who goes on. Nothing else happens in between.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zlib import crc32

from greenlet import getcurrent, greenlet

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
_START_MS = int(START.timestamp()) * 1000
_NEVER = 10**15


class Killed(BaseException):
    """The process that a task belongs to is no more. Production code cannot catch it."""


class Violation(BaseException):
    """A rule does not hold. Production code cannot catch it."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


class Time:
    """Two clocks in milliseconds: one only runs, the other one jumps forward besides."""

    def __init__(self) -> None:
        self.elapsed = 0
        self.jumped = 0
        self.last_jump = -(10**9)

    def __call__(self) -> datetime:
        return START + timedelta(milliseconds=self.elapsed + self.jumped)

    @property
    def ms(self) -> int:
        return _START_MS + self.elapsed + self.jumped

    def unix(self) -> float:
        return self.ms / 1000

    def monotonic(self) -> float:
        return self.elapsed / 1000

    def jump(self, ms: int) -> None:
        self.jumped += ms
        self.last_jump = self.elapsed

    def until(self, wall_ms: float) -> int:
        """When the running clock will show that the other one has reached a time."""
        return int(wall_ms) - _START_MS - self.jumped


@dataclass(eq=False, slots=True)
class Process:
    """What dies and stands still as one: a worker, or a web process.

    `claims` are the messages that it ever had, with their fences.
    """

    name: str
    alive: bool = True
    frozen_until: int = 0
    stopping: bool = False
    tasks: list["Task"] = field(default_factory=list)
    claims: set[tuple[str, int]] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Task:
    """Some work of a process; `role` says which, `claim` is the message and fence that it has."""

    name: str
    role: str
    process: Process
    run: greenlet
    wakes_at: int = 0
    claim: tuple[str, int] | None = None
    in_evidence: bool = False
    reads: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    blind: bool = False
    probing: dict[str, int] = field(default_factory=dict)


class Lock:
    """A lock between the tasks of a process."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._taken = False
        self._waiting: list[Task] = []

    def acquire(self) -> None:
        while self._taken:
            self._world.wait(self._waiting)
        self._taken = True

    def release(self) -> None:
        self._taken = False
        self._world.go_on(self._waiting)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class World:
    """Time, chance and tasks of one schedule; what a seed decides is drawn from `random`."""

    def __init__(self, seed: int, trace: list[str] | None = None) -> None:
        self.random = Random(seed)
        self.time = Time()
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.counts: Counter[str] = Counter()
        self.trace = trace
        self.steps = 0
        self.quiet = False
        self.digest = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)

    def say(self, text: str) -> None:
        """A line of the trace, where one is kept."""
        self.digest = crc32(text.encode(), self.digest)
        if self.trace is not None:
            name = self.current.name if self.current else ""
            self.trace.append(f"{self.time.elapsed / 1000:10.3f}  {name:<18} {text}")

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def start(self, process: Process, role: str, work: Callable[..., Any], *given: Any) -> Task:
        """Makes a task ready to run."""
        task = Task(f"{process.name} {role}", role, process, greenlet(lambda: work(*given)))
        process.tasks.append(task)
        self.tasks.append(task)
        return task

    def give_way(self) -> None:
        """Lets others go on, if a task is what calls; less often where all is quiet."""
        task = self.current
        if task is not None and (not self.quiet or self.random.random() < 0.1):
            task.run.parent.switch()

    def sleep(self, seconds: float) -> None:
        """Lets others go on, and wakes when the time has passed."""
        task = self.current
        if task is not None:
            task.wakes_at = self.time.elapsed + int(seconds * 1000)
            task.run.parent.switch()

    def wait(self, waiting: list[Task]) -> None:
        """Lets others go on until one of them calls `go_on` with the same list."""
        task = self.current
        assert task is not None
        waiting.append(task)
        task.wakes_at = _NEVER
        task.run.parent.switch()

    def go_on(self, waiting: list[Task]) -> None:
        """Whoever waits in the list may go on."""
        for task in waiting:
            task.wakes_at = self.time.elapsed
        waiting.clear()

    def at(self, delay: int, action: Callable[[], None]) -> None:
        """Has something happen after some milliseconds, whatever becomes of the tasks."""
        heapq.heappush(self._events, (self.time.elapsed + delay, next(self._numbers), action))

    def happen(self) -> None:
        """Everything whose time has come happens."""
        while self._events and self._events[0][0] <= self.time.elapsed:
            heapq.heappop(self._events)[2]()

    def next_event(self) -> int | None:
        return self._events[0][0] if self._events else None

    def ready(self) -> list[Task]:
        now = self.time.elapsed
        return [t for t in self.tasks if t.wakes_at <= now and t.process.frozen_until <= now]

    def resume(self, task: Task) -> None:
        """Runs a task until it gives way or ends. What it raises is raised here."""
        self.steps += 1
        self.current = task
        task.run.parent = getcurrent()
        try:
            task.run.switch()
        finally:
            self.current = None
            if task.run.dead:
                self.tasks.remove(task)
                task.process.tasks.remove(task)

    def kill(self, process: Process) -> None:
        """A process dies: none of its tasks takes another step."""
        process.alive = False
        for task in list(process.tasks):
            self._end(task)

    def end(self) -> None:
        """Ends what still runs."""
        for task in list(self.tasks):
            self._end(task)

    def _end(self, task: Task) -> None:
        self.tasks.remove(task)
        task.process.tasks.remove(task)
        task.run.parent = getcurrent()
        with suppress(Killed):
            task.run.throw(Killed)
        assert task.run.dead, f"{task.name} goes on after its death"
