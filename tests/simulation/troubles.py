"""What befalls processes, clocks and Redis: each kind by its own rate."""

from app.core import keys, queue
from tests.simulation.link import Line
from tests.simulation.plan import Plan
from tests.simulation.processes import Web, Worker
from tests.simulation.server import Server
from tests.simulation.world import World

_QUEUES = [keys.RQ_QUEUE + name for name in queue.QUEUES.values()]


class Troubles:
    """Strikes before each step of a storm."""

    def __init__(self, world: World, plan: Plan, server: Server, line: Line) -> None:
        self._world = world
        self._plan = plan
        self._server = server
        self._line = line

    def strike(self, workers: list[Worker], webs: list[Web]) -> None:
        """What goes wrong now, if anything."""
        world, plan = self._world, self._plan
        worker = world.random.choice(workers)
        if world.chance(plan.crash):
            self._kill(worker)
        elif world.chance(plan.freeze):
            lease = plan.delivery.lease.total_seconds()
            seconds = int(lease * world.random.choice((0.1, 0.5, 1.1, 1.1, 2.5)))
            self._note(f"{worker.process.name} stands still for {seconds} s", "freezes")
            worker.process.frozen_until = world.time.elapsed + seconds * 1000
        elif world.chance(plan.stop):
            self._note(f"{worker.process.name} is asked to stop", "stops")
            worker.stop()
        if webs and world.chance(plan.web_crash):
            self._kill(webs[0])
        if world.chance(plan.jump):
            seconds = world.random.choice((1, 20, 60, 400))
            self._note(f"the clock jumps by {seconds} s", "clock jumps")
            world.time.jump(seconds * 1000)
        if world.chance(plan.outage):
            self._away()
        if world.chance(plan.queue_loss):
            self._lose_queue()
        if world.chance(plan.extra_ring):
            self._ring()
        if world.chance(plan.script_loss):
            self._note("Redis forgets its scripts", "scripts lost")
            self._server.forget_scripts()

    def end(self, workers: list[Worker]) -> None:
        """Nothing goes wrong any more."""
        elapsed = self._world.time.elapsed
        for worker in workers:
            worker.process.frozen_until = min(worker.process.frozen_until, elapsed)
        self._line.calm()

    def _kill(self, member: Worker | Web) -> None:
        self._note(f"{member.process.name} dies", "crashes")
        self._world.kill(member.process)

    def _away(self) -> None:
        until = self._world.time.elapsed + self._world.random.choice((500, 5_000, 60_000))
        if self._world.chance(0.7):
            self._note("Redis goes away", "outages")
            self._line.cut_until = until
        else:
            self._note("Redis is full", "times full")
            self._line.full_until = until

    def _lose_queue(self) -> None:
        self._note("the queue is lost", "queues lost")
        for name in _QUEUES:
            self._server.data.pop(name.encode(), None)
        if self._world.chance(0.5):
            for name in [k for k in self._server.data if k.startswith(keys.RQ_JOB.encode())]:
                del self._server.data[name]

    def _ring(self) -> None:
        known = [
            key.decode().removeprefix(keys.MESSAGE)
            for key in self._server.data
            if key.startswith(keys.MESSAGE.encode())
        ]
        message_id = self._world.random.choice([*known, "msg_gone"])
        self._note(f"an extra ring for {message_id[-4:]}", "extra rings")
        self._server.run("RPUSH", self._world.random.choice(_QUEUES), message_id)

    def _note(self, text: str, name: str) -> None:
        self._world.counts[name] += 1
        self._world.say(f"!!! {text}")
