"""The sweeper: rings again for whatever is unfinished and has nobody working on it.

Every worker runs it; a short lock lets one at a time do so. A pass does a bounded amount of work,
and next to none where there is nothing to do: every list is read from its due end.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace

from app.core import lifecycle
from app.core.models import Clock, Message, MessageState
from app.core.scripting import StoreUnavailable
from app.core.store import Change, MessageStore

log = structlog.get_logger(__name__)

_BATCH = 500
_STEP = 100
"""What is put into the queues in one step keeps the store from others for a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a pass has done, in messages."""

    due: int = 0
    abandoned: int = 0
    rung_again: int = 0
    purged: int = 0

    @property
    def busy(self) -> bool:
        """Whether there may be more to do at once."""
        return max(self.abandoned, self.rung_again, self.purged) >= _BATCH


class Sweeper:
    """One worker's sweeper; `owner` is the worker's name.

    When Redis was away it has patience for some time before it takes a lease for run out: the
    workers that live have to renew theirs and to write what they have kept.
    """

    def __init__(
        self,
        store: MessageStore,
        owner: str,
        interval: float,
        retention: timedelta,
        clock: Clock,
        patience: timedelta = timedelta(0),
    ) -> None:
        self._store = store
        self._owner = owner
        self._interval = interval
        self._retention = retention
        self._clock = clock
        self._patience = patience
        self._patient_until = clock()

    def sweep(self) -> Swept | None:
        """One pass; None if another worker is the one who sweeps now. Raises StoreUnavailable."""
        # A little less than the interval, so that the lock is free when the next pass is due.
        try:
            if not self._store.lock_sweeping(self._owner, 0.9 * self._interval):
                return None
            return self.run()
        except StoreUnavailable:
            self._patient_until = self._clock() + self._patience
            raise

    def ring_due(self) -> int:
        """Puts messages whose time has come into their queues; how many. Raises StoreUnavailable.

        Where nothing is due it is one look at the end of each list, however long that is.
        """
        due = 0
        while True:
            # What becomes due meanwhile takes its turn by its priority, too.
            now = self._clock()
            rung, others = self._store.ring_due(now, _STEP)
            found = rung + self._requeue(others, now)
            due += found
            if not found or rung + len(others) < _STEP:
                return due

    def run(self) -> Swept:
        """One pass without the lock: what it does is right however many do it at once."""
        now = self._clock()
        swept = Swept(
            due=self.ring_due(),
            abandoned=self._requeue(self._abandoned(now), now),
            rung_again=len(self._store.ring_again(now, _BATCH)),
            purged=self._store.purge(now, _BATCH),
        )
        self._store.forget_refused_senders(now)
        if swept != Swept():
            log.info(
                "swept",
                due=swept.due,
                abandoned=swept.abandoned,
                rung_again=swept.rung_again,
                purged=swept.purged,
            )
        return swept

    def _abandoned(self, now: datetime) -> list[str]:
        return [] if now < self._patient_until else self._store.abandoned(now, _BATCH)

    def _requeue(self, message_ids: list[str], now: datetime) -> int:
        steps = range(0, len(message_ids), _STEP)
        return sum(self._requeue_step(message_ids[at : at + _STEP], now) for at in steps)

    def _requeue_step(self, message_ids: list[str], now: datetime) -> int:
        found = self._store.get_many(message_ids)
        changes = [self._change(m, now) for m in found if m is not None and _has_nobody(m, now)]
        moved = 0
        for change, answer in zip(changes, self._store.move_many(changes), strict=True):
            if isinstance(answer, Exception):
                log.error("message not swept", message=change.after.id, error=str(answer))
            else:
                moved += answer is not None
        return moved

    def _change(self, message: Message, now: datetime) -> Change:
        if message.state is MessageState.UNKNOWN:
            # It was held for an answer, and its time is over: it stays unknown.
            ended = replace(message, next_attempt_at=None, updated_at=now)
            return Change(message, ended, lease_over=True, keep=self._retention)
        return Change(message, lifecycle.queued(message, now), lease_over=True, ring=True)


def _has_nobody(message: Message, now: datetime) -> bool:
    """Whether the message still is as its list said: others may have moved it since."""
    due = message.next_attempt_at if message.lease is None else message.lease.until
    return due is not None and due <= now
