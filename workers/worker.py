"""The worker: takes rings from RQ's queue and delivers many messages at once in threads.

In `python -m workers` these threads are greenlets: many hundreds cost little.

It is a worker to RQ (`rq info` lists it, with what it executes), but takes and claims in one step,
so that no job is ever in neither place, and leaves the retrying to the messages' own records.
"""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import structlog
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer
from rq.suspension import is_suspended
from rq.worker import BaseWorker, WorkerStatus
from rq.worker_registration import clean_worker_registry

from app.core.queue import QUEUES
from app.core.scripting import StoreUnavailable
from app.core.store import Claim
from app.services import WorkerServices
from workers.callbacks import CallbackLoop
from workers.own_thread import OwnThread
from workers.slots import Slots

log = structlog.get_logger(__name__)

_WAIT_SECONDS = 0.5
_LISTEN_SECONDS = 0.02
_DUE_SECONDS = 0.5
_HEARTBEAT_SECONDS = 30.0
_SUSPENSION_SECONDS = 2.0
_EVENTS_SECONDS = 0.25
_CALLBACKS_SECONDS = 0.25
_POLL_SECONDS = 60.0


class Stop:
    """The wish to stop: work under way is finished, and results are written for a bounded time."""

    def __init__(self, grace: float) -> None:
        self._asked = threading.Event()
        self._grace = grace
        self._deadline = float("inf")

    def ask(self) -> None:
        if not self._asked.is_set():
            self._deadline = time.monotonic() + self._grace
            self._asked.set()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits, at most until a stop is asked for; whether one is."""
        return self._asked.wait(seconds)

    def pause(self, seconds: float) -> bool:
        """Waits, and says whether to go on: with attempts (0 seconds), or to try a write again."""
        if seconds == 0:
            return not self.asked
        time.sleep(seconds)
        return time.monotonic() < self._deadline


class MailWorker(BaseWorker):
    """One worker process; `concurrency` is how many messages it works on at once."""

    def __init__(self, services: WorkerServices, concurrency: int, stop: Stop) -> None:
        super().__init__(
            list(QUEUES.values()),
            name=services.leases.owner,
            connection=services.redis,
            serializer=JSONSerializer,
        )
        self._services = services
        self._concurrency = concurrency
        self._stop = stop
        self._slots = Slots(concurrency)
        self._freed = False
        self._suspended = False
        self._registered = False
        self._changed = threading.Condition()
        self._claims: SimpleQueue[Claim | None] = SimpleQueue()

    def run(self) -> None:
        """Works until a stop is asked for. Waits for Redis where it is away."""
        log.info("worker started", worker=self.name, concurrency=self._concurrency)
        try:
            self._register()
        except RedisError as error:
            log.warning("worker not known to RQ yet", error=str(error))
        renewal = OwnThread(self._services.lease.total_seconds() / 3, self._renew)
        renewal.start()
        interval = self._services.settings.sweep_interval
        loops = [
            threading.Thread(target=self._every, args=(seconds, action), name=name)
            for name, seconds, action in (
                ("due", min(_DUE_SECONDS, interval), self._services.sweeper.ring_due),
                ("sweeper", interval, self._sweep),
                ("events", _EVENTS_SECONDS, self._apply_events),
                ("callbacks", _CALLBACKS_SECONDS, self._tell_applications),
                ("poll", _POLL_SECONDS, self._services.event_poll.work),
                ("rq", _HEARTBEAT_SECONDS, self._tell_rq),
                ("suspension", _SUSPENSION_SECONDS, self._look_for_suspension),
            )
        ]
        callbacks = CallbackLoop(self._services.callbacks, self._stop)
        loops.append(threading.Thread(target=callbacks.run, name="callback-lanes"))
        slots = [
            threading.Thread(target=self._deliver_all, name=f"deliver-{number}")
            for number in range(self._concurrency)
        ]
        for thread in (*loops, *slots):
            thread.start()
        while not self._stop.asked:
            self._take()
        log.info("worker stopping", worker=self.name, under_way=self._slots.busy)
        for _ in slots:
            self._claims.put(None)
        for thread in (*slots, *loops):
            thread.join()
        renewal.stop()
        try:
            self.register_death()  # type: ignore[no-untyped-call]
        except RedisError as error:
            log.warning("worker could not say that it stops", error=str(error))

    def _register(self) -> None:
        # It is this one alone that has its name, even if an answer was lost.
        self.connection.delete(self.key)
        self.register_birth()  # type: ignore[no-untyped-call]
        self.set_state(WorkerStatus.IDLE)
        self._registered = True

    def _take(self) -> None:
        """Takes what there is and what there is room for, or waits for either."""
        if self._suspended:
            self._stop.wait(_WAIT_SECONDS)
            return
        with self._changed:
            room = self._slots.room()
            if not room.bulk:
                # Where bulk has all that it may have, the bell would ring for it all the time.
                seconds = _LISTEN_SECONDS if room.free else _WAIT_SECONDS
                self._changed.wait_for(lambda: self._freed, seconds)
                room = self._slots.room()
            self._freed = False
            if not room.free or self._stop.asked:
                return
        store, now, lease = self._services.store, self._services.clock(), self._services.lease
        try:
            rings, claims = store.take(
                room.free, self.name, now, lease, lower=room.lower, bulk=room.bulk
            )
            with self._changed:
                self._slots.fill(claim.message.priority for claim in claims)
            for claim in self._services.delivery.looked_up(claims):
                self._claims.put(claim)
            if not rings and room.bulk:
                store.wait_for_ring(_WAIT_SECONDS)
        except StoreUnavailable as error:
            log.warning("worker waits for Redis", error=str(error))
            self._stop.wait(_WAIT_SECONDS)

    def _deliver_all(self) -> None:
        while (claim := self._claims.get()) is not None:
            self._deliver(claim)

    def _deliver(self, claim: Claim) -> None:
        try:
            self._services.delivery.deliver(claim)
        except StoreUnavailable as error:
            # Its lease runs out; whoever sweeps then finds it, with its attempt if one is open.
            log.error("message left behind", message=claim.message.id, error=str(error))
        except Exception:
            # A defect of ours: this message waits for its lease to end, the others go on.
            log.exception("delivery failed", message=claim.message.id)
        finally:
            with self._changed:
                self._slots.leave(claim.message.priority)
                self._freed = True
                self._changed.notify()

    def _renew(self) -> None:
        try:
            self._services.leases.renew()
        except (StoreUnavailable, RedisError) as error:
            log.warning("waits for Redis", loop="leases", error=str(error))

    def _every(self, seconds: float, action: Callable[[], object]) -> None:
        while not self._stop.wait(seconds):
            try:
                action()
            except (StoreUnavailable, RedisError) as error:
                log.warning(
                    "waits for Redis", loop=threading.current_thread().name, error=str(error)
                )

    def _sweep(self) -> None:
        swept = self._services.sweeper.sweep()
        while swept is not None and swept.busy and not self._stop.asked:
            swept = self._services.sweeper.run()

    def _apply_events(self) -> None:
        while self._services.events.work() and not self._stop.asked:
            pass

    def _tell_applications(self) -> None:
        while self._services.callback_feed.work() and not self._stop.asked:
            pass

    def _look_for_suspension(self) -> None:
        """`rq suspend` keeps this worker, as any other, from taking more."""
        self._suspended = bool(is_suspended(self.connection))

    def _tell_rq(self) -> None:
        """Keeps RQ's picture of this worker, and of those that are gone, true."""
        if not self._registered:
            self._register()
        self.set_state(WorkerStatus.BUSY if self._slots.busy else WorkerStatus.IDLE)
        self.heartbeat()
        for name in QUEUES.values():
            clean_worker_registry(Queue(name, connection=self.connection))
