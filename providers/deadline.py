"""The end of a whole exchange: one thread cuts the connections of those that outlive it.

A read timeout only bounds the silence between two bytes, so a provider that drips one byte a second
would hold its caller for ever. Here every exchange has a moment at which its socket is shut down,
whatever its thread is waiting for: a TLS handshake, the answer's headers or its body.

A name look-up cannot be interrupted. A deadline that passes meanwhile is noticed right after it,
and nothing is sent any more.
"""

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Iterator


class Exchange:
    """One request and its answer: how far it came, and when it ends.

    `connecting` is set once a connection of ours takes part; from then on `began` says for certain
    whether a byte of the request may have left. `status` is that of the answer, once its first line
    came. `passed` is set when the deadline struck.
    """

    __slots__ = ("_fd", "_lock", "began", "connecting", "ends_at", "passed", "status")

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.connecting = False
        self.began = False
        self.passed = False
        self.status: int | None = None
        self._fd: int | None = None
        self._lock = threading.Lock()

    def remaining(self) -> float:
        """Seconds until the end, never negative."""
        return max(0.0, self.ends_at - time.monotonic())

    def watch(self, sock: socket.socket) -> bool:
        """From here on the deadline shuts `sock` down; False if it has passed already.

        A duplicate of the descriptor is kept: the socket object changes hands when TLS wraps it,
        and a descriptor that is ours cannot be closed and reused by somebody else in between.
        """
        with self._lock:
            self._close()
            if self.passed or not self.remaining():
                self.passed = True
                return False
            self._fd = os.dup(sock.fileno())
            return True

    def begin(self, sock: socket.socket) -> bool:
        """The request is about to be written to `sock`; False if the deadline forbids it."""
        self.connecting = True
        if not self.watch(sock):
            return False
        self.began = True
        return True

    def let_go(self) -> None:
        """The connection is no longer ours to shut down: it may serve another exchange by now."""
        with self._lock:
            self._close()

    def cut(self) -> None:
        """Shut the connection down, which wakes the thread that waits on it."""
        with self._lock:
            self.passed = True
            if self._fd is None:
                return
            # The peer may have been quicker.
            with socket.socket(fileno=self._fd) as sock, contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            self._fd = None

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Watchdog:
    """Cuts every exchange at its end, from one thread, which starts with the first of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: set[Exchange] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def exchange(self, seconds: float) -> Iterator[Exchange]:
        """An exchange that is cut after `seconds`, and is the calling thread's until it leaves."""
        exchange = Exchange(time.monotonic() + seconds)
        with self._changed:
            self._open.add(exchange)
            if self._thread is None:
                self._thread = self._started()
            elif exchange.ends_at < self._wakes_at:
                self._changed.notify()
        _current.exchange = exchange
        try:
            yield exchange
        finally:
            _current.exchange = None
            with self._changed:
                self._open.discard(exchange)
            exchange.let_go()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="provider-deadlines", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                late = [exchange for exchange in self._open if exchange.ends_at <= now]
                self._open.difference_update(late)
                if not late:
                    self._wakes_at = min((e.ends_at for e in self._open), default=math.inf)
                    self._changed.wait(min(self._wakes_at - now, threading.TIMEOUT_MAX))
            for exchange in late:
                exchange.cut()


_current = threading.local()
_watchdogs: dict[int, Watchdog] = {}


def watchdog() -> Watchdog:
    """The watchdog of this process: a fork inherits neither the thread nor a usable lock."""
    pid = os.getpid()
    return _watchdogs.get(pid) or _watchdogs.setdefault(pid, Watchdog())


def current_exchange() -> Exchange | None:
    """The exchange that the calling thread is in."""
    exchange: Exchange | None = getattr(_current, "exchange", None)
    return exchange
