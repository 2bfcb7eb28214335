"""A thread of the operating system's own, beside the greenlets that other threads are here."""

from collections.abc import Callable

from gevent.monkey import get_original


class OwnThread:
    """Does something every so many seconds, however busy the process is otherwise.

    What it uses has to be its own: connections and locks of greenlets belong to their thread.
    """

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._action = action
        self._over = get_original("_thread", "allocate_lock")()
        self._over.acquire()

    def start(self) -> None:
        """Starts it; the process does not wait for it when it ends."""
        get_original("_thread", "start_new_thread")(self._run, ())

    def stop(self) -> None:
        """Lets it end, after the action that is under way."""
        self._over.release()

    def _run(self) -> None:
        while not self._over.acquire(timeout=self._seconds):
            self._action()
