"""The slots of a worker, and how many of them each priority may fill.

Slow bulk sends never fill them all: some are kept for everything else, and a few for high alone.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from app.core.models import Priority


@dataclass(frozen=True, slots=True)
class Room:
    """Free slots; how many of them less than high priority may take, and how many bulk may."""

    free: int
    lower: int
    bulk: int


class Slots:
    """Counts who is in. Its caller sees to it that one thread does so at a time."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._most_lower = count - count // 16
        self._most_bulk = count - count // 4
        self._busy: Counter[Priority] = Counter()

    @property
    def busy(self) -> int:
        return self._busy.total()

    def fill(self, priorities: Iterable[Priority]) -> None:
        self._busy.update(priorities)

    def leave(self, priority: Priority) -> None:
        self._busy[priority] -= 1

    def room(self) -> Room:
        free = self._count - self.busy
        bulk = self._busy[Priority.BULK]
        lower = min(free, self._most_lower - bulk - self._busy[Priority.NORMAL])
        return Room(free, max(lower, 0), max(min(lower, self._most_bulk - bulk), 0))
