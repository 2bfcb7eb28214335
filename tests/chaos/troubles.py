"""The troubles: what kills, stops and misleads the service while mail flows.

Each runs in a thread of its own until `enough` is set, with a random of its own, and writes down
what it did.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from random import Random

from tests.chaos.judge import MODES, PROVIDERS, Judge
from tests.chaos.ledger import Blow
from tests.chaos.processes import Process
from tests.chaos.service import Service

_ALL_AT_ONCE = 0.2
_START_AT_ONCE = 0.5
_WHEN_READY = 0.5
_UP = 0.3


class Killer:
    """kill -9 of a process in one of the `roles`, at times of all in it, every 0.3 to 2 seconds."""

    def __init__(self, service: Service, roles: Sequence[str]) -> None:
        self._service = service
        self._roles = roles

    def run(self, enough: threading.Event, random: Random, blows: list[Blow]) -> None:
        while not enough.wait(random.uniform(0.3, 2.0)):
            if random.random() < _WHEN_READY:
                self._wait_until_ready(enough)
            role = random.choice(self._roles)
            if role == "supervisor":
                blows.append(Blow("supervisor", time.time()))
                self._replace_supervisor(random)
                continue
            found = self._service.processes().get(role, [])
            if found and random.random() >= _ALL_AT_ONCE:
                found = [random.choice(found)]
            killed = [process for process in found if _sent(process, signal.SIGKILL)]
            blows += [Blow(role, time.time()) for _ in killed]

    def _wait_until_ready(self, enough: threading.Event) -> None:
        """Lets mail flow: what is killed while it starts has none under way."""
        while not self._service.is_ready() and not enough.wait(0.1):
            pass

    def _replace_supervisor(self, random: Random) -> None:
        gone = self._service.kill()
        if random.random() >= _START_AT_ONCE:
            gone.join()
        self._service.start()


class Restarter:
    """An orderly end, by SIGTERM, of a worker or of all, every 0.3 to 2 seconds."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def run(self, enough: threading.Event, random: Random, blows: list[Blow]) -> None:
        while not enough.wait(random.uniform(0.3, 2.0)):
            if random.random() < _ALL_AT_ONCE:
                blows.append(Blow("restart", time.time()))
                self._service.restart()
                continue
            found = self._service.processes().get("worker", [])
            if found and _sent(random.choice(found), signal.SIGTERM):
                blows.append(Blow("worker ended", time.time()))


class Stopper:
    """SIGSTOP of a process in the role for `shortest` to `longest` seconds, then SIGCONT."""

    def __init__(self, service: Service, role: str, shortest: float, longest: float) -> None:
        self._service = service
        self._role = role
        self._shortest = shortest
        self._longest = longest

    def run(self, enough: threading.Event, random: Random, blows: list[Blow]) -> None:
        while not enough.wait(random.uniform(0.3, 2.0)):
            found = self._service.processes().get(self._role, [])
            process = random.choice(found) if found else None
            if process is not None and _sent(process, signal.SIGSTOP):
                blows.append(Blow(f"{self._role} stopped", time.time()))
                try:
                    # To its end, even if that comes late: a short one proves nothing.
                    time.sleep(random.uniform(self._shortest, self._longest))
                finally:
                    _sent(process, signal.SIGCONT)


class Misleader:
    """Every second another fault for each provider.

    One of them never refuses a sender: that is remembered for longer than a run lasts, and a
    message that all have refused would wait for as long.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def run(self, enough: threading.Event, random: Random, blows: list[Blow]) -> None:
        trusting = random.choice(PROVIDERS)
        while True:
            for provider in PROVIDERS:
                mode = "up" if random.random() < _UP else random.choice(MODES)
                if provider == trusting and mode == "unverified-sender":
                    mode = "unauthorized"
                self._judge.switch(provider, mode, random.uniform(0.3, 1.5))
            if enough.wait(1.0):
                return


Trouble = Killer | Restarter | Stopper | Misleader


def _sent(process: Process, number: signal.Signals) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.id, number)
        return True
    return False
