"""Callbacks in a worker process: in threads of their own, so that no mail waits for an application.

Half of them are never given to lanes that fail: these wait for each other and for nobody else.
"""

import threading
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from app.core.callback_queue import Taken
from app.core.callbacks import Callbacks
from app.core.scripting import StoreUnavailable

log = structlog.get_logger(__name__)

AT_ONCE = 64

_WAIT_SECONDS = 0.25
_AWAY_SECONDS = 1.0


class _Stop(Protocol):
    @property
    def asked(self) -> bool: ...
    def wait(self, seconds: float) -> bool: ...


class CallbackLoop:
    """Takes callbacks that are due and has each delivered, until a stop is asked for."""

    def __init__(self, callbacks: Callbacks, stop: _Stop, at_once: int = AT_ONCE) -> None:
        self._callbacks = callbacks
        self._stop = stop
        self._at_once = at_once
        self._busy = 0
        self._busy_failing = 0
        self._changed = threading.Condition()

    def run(self) -> None:
        """Works until a stop is asked for, and returns when what was begun then is done."""
        while not self._stop.asked:
            try:
                taken = self._take()
            except (StoreUnavailable, RedisError) as error:
                log.warning("waits for Redis", loop="callbacks", error=str(error))
                self._stop.wait(_AWAY_SECONDS)
                continue
            for one in taken:
                name = f"callback-{one.delivery.id}"
                threading.Thread(target=self._deliver, args=(one,), name=name).start()
            with self._changed:
                if not taken or self._busy >= self._at_once:
                    self._changed.wait(_WAIT_SECONDS)
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def _take(self) -> list[Taken]:
        with self._changed:
            room = self._at_once - self._busy
            room_for_failing = self._at_once // 2 - self._busy_failing
        if room <= 0:
            return []
        taken = self._callbacks.take(room, max(room_for_failing, 0))
        with self._changed:
            self._busy += len(taken)
            self._busy_failing += sum(one.failing for one in taken)
        return taken

    def _deliver(self, taken: Taken) -> None:
        try:
            self._callbacks.deliver(taken)
        except StoreUnavailable as error:
            # Its lease runs out, and it is tried again.
            log.warning("callback left behind", delivery=taken.delivery.id, error=str(error))
        except Exception:
            # A defect of ours: this one waits for its lease to end, the others go on.
            log.exception("callback failed", delivery=taken.delivery.id)
        finally:
            with self._changed:
                self._busy -= 1
                self._busy_failing -= taken.failing
                self._changed.notify()
