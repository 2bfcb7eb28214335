"""The processes of the service, put together of production's parts as its composition root does."""

from collections.abc import Callable

from app.core.block_failover import BlockFailover
from app.core.dead_letters import DeadLetters
from app.core.delivery import Delivery
from app.core.event_inbox import EventInbox
from app.core.events import MailEvents
from app.core.evidence import EvidenceBook
from app.core.fitness import Breakers
from app.core.leases import LeaseKeeper
from app.core.models import Evidence, Message
from app.core.mover import Mover
from app.core.scripting import Scripts, StoreUnavailable
from app.core.store import Claim, MessageStore
from app.core.submit import Submitter
from app.core.sweeper import Sweeper
from app.core.waiting import WaitingMail
from tests.simulation.ledger import Ledger
from tests.simulation.link import Client, Line, Link
from tests.simulation.plan import RETENTION, Plan
from tests.simulation.provider import SimulatedProvider
from tests.simulation.world import Lock, Process, Task, World

_GRACE_TO_STOP = 20.0


class Book(EvidenceBook):
    """The evidence book, which says while it is open whose writes are its own."""

    world: World
    ledger: Ledger

    def add(self, message_id: str, *evidence: Evidence) -> Message | None:
        task = self.world.current
        assert task is not None
        task.in_evidence = True
        self.world.counts["evidence"] += len(evidence)
        finished = False
        try:
            message = super().add(message_id, *evidence)
            finished = True
            return message
        finally:
            if not finished:
                self.ledger.interrupted.add(message_id)
            task.in_evidence = False


class _Member:
    """What every process of the service has."""

    def __init__(self, name: str, world: World, plan: Plan, line: Line) -> None:
        self.process = Process(name)
        self.world = world
        self.plan = plan
        client = Client(Link(line, self.process))
        self.store = MessageStore(client)
        self.inbox = EventInbox(Scripts(client))
        self.breakers = Breakers(
            self.store, plan.breaker, world.time, plan.freshness, world.time.monotonic
        )
        self.book = Book(self.store, RETENTION, world.time)
        self.book.world, self.book.ledger = world, line.judge.ledger

    @property
    def able(self) -> bool:
        return self.process.alive and self.process.frozen_until <= self.world.time.elapsed

    def doing(self, role: str) -> list[Task]:
        return [task for task in self.process.tasks if task.role == role]


class Worker(_Member):
    """A worker process: takes, delivers, renews its leases and sweeps."""

    def __init__(
        self,
        name: str,
        world: World,
        plan: Plan,
        line: Line,
        providers: dict[str, SimulatedProvider],
    ) -> None:
        super().__init__(name, world, plan, line)
        policy, time = plan.delivery, world.time
        self.leases = LeaseKeeper(self.store, name, policy.lease, time, time.monotonic)
        self.delivery = Delivery(
            self.store,
            providers,
            plan.providers,
            policy,
            self.leases,
            self.breakers,
            self.book,
            time,
            world.random.random,
            self._pause,
            Mover(self.store, self.leases.__len__, world.sleep, lambda: Lock(world)).move
            if plan.batched
            else None,
        )
        self.sweeper = Sweeper(self.store, name, plan.sweep, RETENTION, time)
        self.events = MailEvents(
            self.inbox,
            self.store,
            self.book,
            RETENTION,
            time,
            block_failover=BlockFailover(self.store, plan.providers, plan.expiry),
        )
        self._renewed_at = 0
        self._stops_by = float("inf")

    def stop(self) -> None:
        """As SIGTERM: what is under way is finished."""
        self.process.stopping = True
        self._stops_by = self.world.time.monotonic() + _GRACE_TO_STOP

    @property
    def has_room(self) -> bool:
        free = self.plan.room - len(self.doing("deliver"))
        return free > 0 and not self.process.stopping and not self.doing("take")

    @property
    def renewal_due(self) -> int | None:
        """When the leases are to be renewed next, where any is held."""
        if not self.doing("deliver") or self.doing("renew"):
            return None
        third = int(self.plan.delivery.lease.total_seconds() * 1000 / 3)
        return self._renewed_at + third

    def take(self) -> None:
        self.world.start(self.process, "take", self._take)

    def renew(self) -> None:
        self._renewed_at = self.world.time.elapsed
        self.world.start(self.process, "renew", self._renew)

    def sweep(self, locked: bool) -> None:
        action = self.sweeper.sweep if locked else self.sweeper.run
        self.world.start(self.process, "sweep", _unless_away, self.world, action)

    def apply_events(self) -> None:
        self.world.start(self.process, "events", _unless_away, self.world, self.events.work)

    def _take(self) -> None:
        room = self.plan.room - len(self.doing("deliver"))
        try:
            _, claims = self.store.take(
                room, self.process.name, self.world.time(), self.plan.delivery.lease
            )
        except StoreUnavailable:
            self.world.counts["takes in doubt"] += 1
            return
        for claim in claims:
            self._renewed_at = self.world.time.elapsed
            lease = claim.message.lease
            assert lease is not None
            task = self.world.start(self.process, "deliver", self._deliver, claim)
            task.claim = (claim.message.id, lease.fence)
            self.process.claims.add(task.claim)

    def _deliver(self, claim: Claim) -> None:
        try:
            if self.delivery.deliver(claim) is None:
                self.world.counts["messages lost to others"] += 1
        except StoreUnavailable:
            self.world.counts["messages left behind"] += 1

    def _renew(self) -> None:
        _unless_away(self.world, self.leases.renew)

    def _pause(self, seconds: float) -> bool:
        if seconds == 0:
            return not self.process.stopping
        self.world.sleep(seconds)
        return self.world.time.monotonic() < self._stops_by


class Web(_Member):
    """A web process: takes submissions, operators' words and news from providers."""

    def __init__(self, name: str, world: World, plan: Plan, line: Line) -> None:
        super().__init__(name, world, plan, line)
        self.submitter = Submitter(self.store, "failover", plan.expiry, world.time)
        self.dead_letters = DeadLetters(self.store, self.book, plan.expiry, RETENTION, world.time)
        self.waiting = WaitingMail(self.store, plan.expiry, RETENTION, world.time)


def _unless_away(world: World, action: Callable[[], object]) -> None:
    try:
        action()
    except StoreUnavailable:
        world.counts["rounds given up"] += 1
