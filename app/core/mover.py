"""Writing the moves of many deliveries together: one round trip and one write to disk for all.

Whoever comes while nobody writes does so for everybody who has come by then; the others wait, and
the first of those who came meanwhile is the next to write. So a batch is as large as the server is
slow, and a message that is alone waits for nobody.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.core.models import Message
from app.core.scripting import StoreUnavailable, WriteInDoubt
from app.core.store import Change, Moved

_LINGER_SECONDS = 0.001
_MOST_AT_ONCE = 64
"""No batch keeps the server from others for longer than a few milliseconds."""


class _Store(Protocol):
    def move(self, change: Change) -> Message | None: ...
    def move_many(self, changes: list[Change]) -> list[Moved]: ...


@dataclass(eq=False, slots=True)
class _Waiting:
    """A change that is to be written; `turn` is released when it has been, or is to write."""

    change: Change
    turn: threading.Lock
    answered: bool = False
    answer: Message | Exception | None = None


class Mover:
    """Moves messages for many threads at once, as the store does for one.

    `under_way` says how many there may be that have something to move. While some of them have not
    come, the one that writes lingers for a moment.
    """

    def __init__(
        self,
        store: _Store,
        under_way: Callable[[], int],
        sleep: Callable[[float], None] = time.sleep,
        make_lock: Callable[[], threading.Lock] = threading.Lock,
    ) -> None:
        self._store = store
        self._under_way = under_way
        self._sleep = sleep
        self._make_lock = make_lock
        self._lock = make_lock()
        self._waiting: deque[_Waiting] = deque()
        self._writing = False

    def move(self, change: Change) -> Message | None:
        """What the store's own `move` returns and raises."""
        mine = _Waiting(change, self._make_lock())
        mine.turn.acquire()
        with self._lock:
            self._waiting.append(mine)
            writes = not self._writing
            self._writing = True
        if not writes:
            mine.turn.acquire()
        if not mine.answered:
            self._write()
        if isinstance(mine.answer, Exception):
            raise mine.answer
        return mine.answer

    def _write(self) -> None:
        """Writes for all who wait, the caller among them, and hands on to the next."""
        if len(self._waiting) < min(self._under_way(), _MOST_AT_ONCE):
            self._sleep(_LINGER_SECONDS)
        with self._lock:
            count = min(len(self._waiting), _MOST_AT_ONCE)
            batch = [self._waiting.popleft() for _ in range(count)]
        try:
            for waiting, answer in zip(batch, self._written(batch), strict=True):
                waiting.answer, waiting.answered = answer, True
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._writing = following is not None
            if following is not None:
                following.turn.release()
            for waiting in batch:
                if not waiting.answered:
                    waiting.answer = WriteInDoubt("the writing was broken off")
                    waiting.answered = True
                waiting.turn.release()

    def _written(self, batch: list[_Waiting]) -> list[Message | Exception | None]:
        changes = [waiting.change for waiting in batch]
        try:
            return list(self._store.move_many(changes))
        except StoreUnavailable as error:
            # Each raises one of its own: a traceback belongs to one thread.
            return [type(error)(str(error)) for _ in batch]
        except Exception:  # noqa: BLE001  (it is raised again where it belongs)
            # What is wrong with one of them is no concern of the others.
            return [self._alone(change) for change in changes]

    def _alone(self, change: Change) -> Message | Exception | None:
        try:
            return self._store.move(change)
        except Exception as error:  # noqa: BLE001  (its own thread raises it)
            return error
