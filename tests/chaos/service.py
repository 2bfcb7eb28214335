"""The service under test: a supervisor and all that it runs, started again when it is killed."""

import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from app import ports
from tests.chaos.leash import Leash
from tests.chaos.processes import Process, below, remaining, with_environment
from tests.waiting import until

LEASE_SECONDS = 4.0
_SECONDS_TO_START = 60.0
_SECONDS_TO_STOP = 30.0
_SECONDS_TO_BE_GONE = 10.0
_SETTINGS = {
    "SIMULATOR": "off",
    "WEB_PROCESSES": "2",
    "WORKER_PROCESSES": "3",
    "WORKER_CONCURRENCY": "16",
    "CONNECT_TIMEOUT": "1s",
    "READ_TIMEOUT": "1s",
    "SEND_DEADLINE": "2s",
    "LEASE_SECONDS": f"{LEASE_SECONDS}s",
    "SWEEP_INTERVAL": "0.5s",
    "RETRY_SCHEDULE": "0.3s,0.6s,1s",
    "BREAKER_COOLDOWN": "1s",
    "UNKNOWN_GRACE": "1s",
    "LOG_FORMAT": "json",
}


class Service:
    """One DATA_DIR and one port for all its lives; `faults` say what was wrong with their ends."""

    def __init__(self, directory: Path, leash: Leash, providers: Mapping[str, str]) -> None:
        (port,) = ports.free_ports(1, "127.0.0.1")
        self.url = f"http://127.0.0.1:{port}"
        self.key = secrets.token_urlsafe(24)
        self.log = directory / "service.log"
        self.faults: list[str] = []
        self._http = requests.Session()
        self._http.trust_env = False
        self._over = False
        self._watches: list[threading.Thread] = []
        self._leash = leash
        self._data_dir = f"DATA_DIR={directory / 'data'}"
        self._environment = {
            **_SETTINGS,
            **providers,
            "DATA_DIR": str(directory / "data"),
            "PORT": str(port),
            "API_KEYS": f"chaos:{self.key}",
            "SECRET_KEY": secrets.token_urlsafe(32),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and waits until it greets."""
        with self.log.open("ab") as output:
            before = output.tell()
            self._supervisor = self._leash.start(["app.cli", "run"], self._environment, output)
        until(lambda: self._greets(before), _SECONDS_TO_START)

    def _greets(self, before: int) -> bool:
        said = self.log.read_bytes()[before:]
        assert self._supervisor.poll() is None, f"it does not start: {_last_line(said)}"
        return b"Steadpost runs" in said

    def processes(self) -> dict[str, list[Process]]:
        """Its live processes by their roles; a web worker is a child of the web process."""
        supervisor = self._supervisor.pid
        found: dict[str, list[Process]] = {"supervisor": [Process(supervisor, os.getpid(), "")]}
        for process in below(supervisor):
            role = process.role
            if role == "web" and process.parent != supervisor:
                role = "web worker"
            found.setdefault(role, []).append(process)
        return found

    def is_ready(self) -> bool:
        """Whether it takes mail now."""
        try:
            return self._http.get(f"{self.url}/readyz", timeout=1).ok
        except requests.RequestException:
            return False

    def kill(self) -> threading.Thread:
        """Kills the supervisor alone; the thread ends when all is gone that it had running."""
        self._expect_alive()
        # Stopped first, so that it begins nothing between the look and the kill.
        self._supervisor.send_signal(signal.SIGSTOP)
        family = below(self._supervisor.pid)
        self._leash.end(self._supervisor, signal.SIGKILL, seconds=10)
        watch = threading.Thread(target=self._expect_gone, args=(family,))
        watch.start()
        self._watches.append(watch)
        return watch

    def restart(self) -> None:
        """Ends it in order and starts it again."""
        self._expect_alive()
        self._end_in_order()
        self.start()

    def _end_in_order(self) -> None:
        family = below(self._supervisor.pid)
        self._leash.end(self._supervisor, signal.SIGTERM, _SECONDS_TO_STOP)
        if self._supervisor.returncode != 0:
            self.faults.append(f"the supervisor ended with {self._supervisor.returncode}")
        self._expect_gone(family)

    def _expect_alive(self) -> None:
        if self._supervisor.poll() is not None:
            self.faults.append(f"the supervisor ended by itself: {self._supervisor.returncode}")

    def _expect_gone(self, family: Sequence[Process]) -> None:
        self._end(remaining(family, _SECONDS_TO_BE_GONE), "left running after its supervisor")

    def stop(self) -> None:
        """Ends it in order, once and for all, and notes what did not go as it should."""
        if self._over:
            return
        self._over = True
        self._http.close()
        for watch in self._watches:
            watch.join()
        self._expect_alive()
        self._end_in_order()
        self._end(with_environment(self._data_dir), "left running")

    def _end(self, processes: Sequence[Process], fault: str) -> None:
        for process in processes:
            self.faults.append(f"{fault}: {process}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.id, signal.SIGKILL)


def _last_line(said: bytes) -> str:
    return said.decode(errors="replace").rstrip().rpartition("\n")[2]
