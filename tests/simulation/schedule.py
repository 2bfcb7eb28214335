"""One schedule: a storm that its seed decides, and the calm in which everything has to end."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

from app.core import delivery, keys, queue
from tests.simulation.judge import Judge
from tests.simulation.link import Line
from tests.simulation.patching import patched
from tests.simulation.people import People
from tests.simulation.plan import RETENTION, Plan, draw
from tests.simulation.processes import Web, Worker
from tests.simulation.provider import SimulatedProvider
from tests.simulation.server import Server
from tests.simulation.troubles import Troubles
from tests.simulation.world import Task, Violation, World

DEFECT = "defect"
"""The rule that production never breaks off: what it can meet, it has to meet."""

_QUEUES = [(keys.RQ_QUEUE + name).encode() for name in queue.QUEUES.values()]
_CALM_STEPS = 2000
_PURGE_SLACK_MS = 60_000


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a schedule: what happened how often, and the rule that was broken, if any."""

    seed: int
    steps: int
    digest: int
    counts: Counter[str]
    rule: str | None = None
    text: str = ""


class _Secrets:
    """What the core takes from the operating system's chance, from the seed instead."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def randbits(self, bits: int) -> int:
        return self._random.getrandbits(bits)

    def token_hex(self, size: int) -> str:
        return f"{self._random.getrandbits(8 * size):0{2 * size}x}"


class _Silence:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return self._nothing

    def _nothing(self, *_: object, **__: object) -> None:
        pass


_SILENCE = _Silence()


class _Stopwatch:
    def __init__(self, world: World) -> None:
        self.monotonic = world.time.monotonic


@contextmanager
def _nothing_of_its_own(world: World) -> Iterator[None]:
    """Takes from the core what it does not get handed in: random ids, stopwatch and log."""
    random = _Secrets(world.random)
    with ExitStack() as stack:
        stack.enter_context(patched(delivery, "time", _Stopwatch(world)))
        for name, module in list(sys.modules.items()):
            if name.startswith("app.core."):
                for item, stand_in in (("secrets", random), ("log", _SILENCE)):
                    if item in vars(module):
                        stack.enter_context(patched(module, item, stand_in))
        yield


def run(seed: int, server: Server, trace: list[str] | None = None) -> Result:
    """Runs the schedule of a seed, from an empty Redis to one that has forgotten everything."""
    world = World(seed, trace)
    plan = draw(world.random)
    server.reset(world.time.unix)
    with _nothing_of_its_own(world):
        schedule = _Schedule(world, plan, server)
        try:
            schedule.storm()
            schedule.calm()
            schedule.oblivion()
        except Violation as violation:
            world.say(f"*** {violation}")
            return Result(
                seed, world.steps, world.digest, world.counts, violation.rule, str(violation)
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            world.say(f"*** {error!r}")
            return Result(seed, world.steps, world.digest, world.counts, DEFECT, repr(error))
        finally:
            world.end()
    return Result(seed, world.steps, world.digest, world.counts)


class _Schedule:
    def __init__(self, world: World, plan: Plan, server: Server) -> None:
        self.world = world
        self.plan = plan
        self.server = server
        self.judge = Judge(world, plan, server)
        self.line = Line(world, plan, server, self.judge)
        self.providers = {
            name: SimulatedProvider(name, world, plan, self.judge) for name in plan.providers
        }
        self.people = People(world, plan, self.judge)
        self.troubles = Troubles(world, plan, server, self.line)
        self.workers: list[Worker] = []
        self.webs: list[Web] = []
        self._born = 0
        self._last: Task | None = None
        self._swept_at = 0

    def storm(self) -> None:
        """Steps with everything that can go wrong."""
        world = self.world
        for _ in range(self.plan.steps):
            self._staff()
            if not self._unfinished:
                # Then it is the operators' turn, where there are any.
                if not self.plan.operator or world.chance(0.3):
                    return
                self.people.operate(self._web)
            self.troubles.strike(self.workers, self.webs)
            if world.chance(0.3) and self.people.letters_left:
                self.people.post(self._web)
            if world.chance(self.plan.operator):
                self.people.operate(self._web)
            if world.chance(self.plan.evidence):
                self.people.inform(self._web)
            if world.chance(self.plan.webhooks):
                self.people.tell(self._web)
            if world.chance(self.plan.cancel):
                self.people.cancel(self._web)
            self._step()

    def calm(self) -> None:
        """Steps with nothing going wrong any more, until there is nothing left to do."""
        self.world.quiet = True
        self.troubles.end(self.workers)
        self._staff()
        for name in self.judge.paused:
            self.people.resume(self._web, name)
        started = self.world.steps
        while self._unfinished:
            if self.world.steps - started > _CALM_STEPS:
                states = [(m.id[-4:], m.state) for m in self.judge.messages.values()]
                raise Violation("no end", f"after {_CALM_STEPS} quiet steps: {states}")
            self._staff()
            if self.people.letters_left:
                self.people.post(self._web)
            self._step()
        self.judge.at_the_end()

    def oblivion(self) -> None:
        """Everything has been kept for long enough, and goes."""
        world = self.world
        world.time.jump(int(RETENTION.total_seconds() * 1000) + _PURGE_SLACK_MS)
        self._able[0].sweep(locked=False)
        while world.tasks:
            self._step()
        self.judge.purged()

    @property
    def _unfinished(self) -> bool:
        return (
            bool(self.world.tasks)
            or self.people.letters_left
            or self.world.next_event() is not None
            or any(not m.ended for m in self.judge.messages.values())
            or self._queue_length > 0
            or keys.EVENTS.encode() in self.server.data
        )

    @property
    def _queue_length(self) -> int:
        found = [self.server.data.get(name) for name in _QUEUES]
        return sum(len(item.value) for item in found if item is not None)

    @property
    def _able(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.able]

    @property
    def _web(self) -> Web:
        return self.webs[0]

    def _staff(self) -> None:
        """For whoever has died or stopped another one starts, under another name."""
        self.workers = [
            w
            for w in self.workers
            if w.process.alive and (w.process.tasks or not w.process.stopping)
        ]
        while len(self.workers) < self.plan.workers:
            self._born += 1
            self.workers.append(
                Worker(f"w{self._born}", self.world, self.plan, self.line, self.providers)
            )
        self.webs = [web for web in self.webs if web.process.alive]
        if not self.webs:
            self._born += 1
            self.webs.append(Web(f"web{self._born}", self.world, self.plan, self.line))

    def _step(self) -> None:
        """Somebody goes on, or begins something, or time passes until somebody can."""
        world = self.world
        if not world.quiet:
            world.time.elapsed += world.random.choice(self.plan.pace)
        world.happen()
        self._begin()
        ready = world.ready()
        if not ready:
            self._wait()
            return
        if self._last not in ready or not world.chance(self.plan.stay):
            self._last = world.random.choice(ready)
        world.resume(self._last)

    def _begin(self) -> None:
        """Workers begin what is due for them."""
        world = self.world
        for worker in self._able:
            due = worker.renewal_due
            if due is not None and due <= world.time.elapsed:
                if world.chance(self.plan.late_renewal) and not world.quiet:
                    continue
                worker.renew()
        if self._queue_length:
            takers = [worker for worker in self._able if worker.has_room]
            if takers and (world.chance(0.3) or not world.tasks):
                world.random.choice(takers).take()
        if self._able and any(due <= world.time.ms for due in self._scores(keys.EVENTS)):
            worker = world.random.choice(self._able)
            if not worker.doing("events"):
                worker.apply_events()
        if world.time.elapsed - self._swept_at >= self.plan.sweep * 1000:
            self._sweep()

    def _sweep(self) -> None:
        self._swept_at = self.world.time.elapsed
        sweepers = [worker for worker in self._able if not worker.doing("sweep")]
        if not sweepers:
            return
        self.world.random.choice(sweepers).sweep(locked=self.world.chance(0.7))
        if not self.world.quiet and self.world.chance(0.2):
            self.world.random.choice(sweepers).sweep(locked=False)

    def _wait(self) -> None:
        """Time passes until the next moment at which anything can happen."""
        world = self.world
        world.steps += 1
        now = world.time.elapsed
        moments = [task.wakes_at for task in world.tasks]
        moments += [w.process.frozen_until for w in (*self.workers, *self.webs)]
        moments += [due for worker in self.workers if (due := worker.renewal_due) is not None]
        moments += [event] if (event := world.next_event()) is not None else []
        due = [world.time.until(score) for score in self._due_in_redis()]
        if keys.QUEUED.encode() in self.server.data or any(moment <= now for moment in due):
            moments.append(self._swept_at + int(self.plan.sweep * 1000))
        later = [moment for moment in (*moments, *due) if moment > now]
        if later:
            world.time.elapsed = min(later) + world.random.choice((0, 0, 1, 50))
        world.happen()

    def _due_in_redis(self) -> Iterator[float]:
        for name in (*keys.WAITING_BY_PRIORITY, keys.LEASED, keys.EVENTS):
            yield from self._scores(name)

    def _scores(self, name: str) -> Iterator[float]:
        item = self.server.data.get(name.encode())
        if item is not None:
            yield from item.value._bylex.values()
