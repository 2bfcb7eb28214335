"""How many bytes of attachments a process has in hand at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Freight:
    """Lets so many bytes in, and whatever is larger by itself. For any number of threads.

    Whoever sends them needs several times as much: as they are, encoded, and on their way.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Waits until there is room; where there is nothing to hold, not at all."""
        if not size:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + size <= self._most)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()
