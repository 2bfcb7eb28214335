"""The backlog limit: mail is refused before the server's memory runs out."""

import threading
import time
from collections.abc import Callable

import structlog

from app.core.models import Priority
from app.core.store import MessageStore

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0
_BULK_SHARE = 0.9
"""Bulk mail leaves a tenth to the others: it never keeps a password reset out."""


class Backlog:
    """How much unfinished mail there may be. Safe to use from several threads at once.

    `most` is in messages. `most_bytes` is in bytes of memory that the server uses, for whatever;
    None stands for half of what it may use, 0 for no limit. The memory is looked at once a second
    at most, and by one thread while the others go by what it was.
    """

    def __init__(
        self,
        store: MessageStore,
        most: int,
        most_bytes: int | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._most = most
        self._most_bytes = most_bytes
        self._monotonic = monotonic
        self._looking = threading.Lock()
        self._look_at = float("-inf")
        self._fill = 0.0

    def room(self, *priorities: Priority) -> int:
        """How many unfinished messages there may be with these: none while memory is short.

        Scheduled messages count: they need their place like any other. Raises StoreUnavailable.
        """
        due = self._most_bytes != 0 and self._monotonic() >= self._look_at
        if due and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        share = _BULK_SHARE if Priority.BULK in priorities else 1.0
        return 0 if self._fill > share else int(self._most * share)

    def _look(self) -> None:
        memory = self._store.memory()
        self._look_at = self._monotonic() + _LOOK_SECONDS
        if memory is None:
            return
        most = memory.limit // 2 if self._most_bytes is None else self._most_bytes
        fill = memory.used / most if most else 0.0
        if (fill > 1) != (self._fill > 1):
            log.warning("memory", short=fill > 1, used=memory.used, most=most)
        self._fill = fill
