"""The backlog limit: mail is refused before the server's memory runs out."""

import threading
import time
from collections.abc import Callable

import structlog

from app.core.store import MessageStore

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0


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
        self._short = False

    def room(self) -> int:
        """How many unfinished messages there may be now: none while memory is short.

        Raises StoreUnavailable.
        """
        due = self._most_bytes != 0 and self._monotonic() >= self._look_at
        if due and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        return 0 if self._short else self._most

    def _look(self) -> None:
        memory = self._store.memory()
        self._look_at = self._monotonic() + _LOOK_SECONDS
        if memory is None:
            return
        most = memory.limit // 2 if self._most_bytes is None else self._most_bytes
        short = 0 < most < memory.used
        if short != self._short:
            log.warning("memory", short=short, used=memory.used, most=most)
        self._short = short
