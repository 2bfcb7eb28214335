"""The leases that this process holds, as far as it can tell by its own clock."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.models import Clock, Message
from app.core.store import MessageStore


@dataclass(slots=True)
class _Held:
    fence: int
    until: float


class LeaseKeeper:
    """Renews the leases of messages that are being worked on; safe to use from several threads.

    A lease is counted by the monotonic clock from before it was asked for, so that a process that
    was stopped for longer than its lease finds out by itself, without asking Redis. There are no
    locks, so that one who renews from a thread of its own waits for nobody: each step is atomic.
    The `store` is used by `renew` alone.
    """

    def __init__(
        self,
        store: MessageStore,
        owner: str,
        lease: timedelta,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner = owner
        self._store = store
        self._lease = lease
        self._clock = clock
        self._monotonic = monotonic
        self._held: dict[str, _Held] = {}

    def __len__(self) -> int:
        """How many messages are being worked on."""
        return len(self._held)

    @contextmanager
    def holding(self, message: Message) -> Iterator[None]:
        """Keeps the lease of a claimed message renewed for as long as the block runs."""
        if message.lease is not None:
            until = self._remaining(message.lease.until)
            self._held[message.id] = _Held(message.lease.fence, until)
        try:
            yield
        finally:
            self._held.pop(message.id, None)

    def held(self, message: Message) -> bool:
        """Whether the message may still be worked on."""
        held = self._held.get(message.id)
        return held is not None and self._monotonic() < held.until

    def extend(self, message: Message, until: datetime) -> None:
        """Notes that the lease was extended together with another write."""
        held = self._held.get(message.id)
        if held is not None:
            held.until = max(held.until, self._remaining(until))

    def renew(self) -> None:
        """Renews every lease that is held; to be called several times within a lease's length.

        Raises StoreUnavailable; the leases then run on towards their ends.
        """
        leases = [(message_id, held.fence) for message_id, held in list(self._held.items())]
        started = self._monotonic()
        lost = self._store.renew(leases, self.owner, self._clock() + self._lease)
        for message_id, fence in leases:
            held = self._held.get(message_id)
            if held is None or held.fence != fence:
                continue
            held.until = 0.0 if message_id in lost else started + self._lease.total_seconds()

    def _remaining(self, until: datetime) -> float:
        return self._monotonic() + (until - self._clock()).total_seconds()
