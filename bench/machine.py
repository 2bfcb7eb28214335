"""Processes of a run: a store, a provider and whoever works, with what they cost in CPU."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from redis import Redis

from app import embedded_store
from app.ports import free_ports
from app.services import connect
from config import Settings

ROOT = Path(__file__).parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A process with its children, in a group of its own."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], output: Path) -> None:
        self._output = output
        with output.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603  (our own command lines)
                argv, cwd=ROOT, env=env, stdout=file, stderr=file, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises where it has ended by itself."""
        if self._process.poll() is not None:
            raise RuntimeError(f"{self._process.args} ended:\n{self._output.read_text()[-3000:]}")

    def cpu(self) -> float:
        """Seconds of CPU that it and its children have used, those that have ended included."""
        return sum(_cpu(pid) for pid in _group(self.pid))

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def _group(leader: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == leader:
                    yield int(entry.name)


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / _TICKS


class Provider:
    """The counting provider, at a port of its own."""

    def __init__(self, machine: "Machine", seconds: float) -> None:
        (self.port,) = free_ports(1, "127.0.0.1")
        self.seconds = seconds
        self._http = requests.Session()
        self._http.trust_env = False
        self.process = machine.start("bench.provider", str(self.port), str(seconds))
        wait_until(self._answers)

    def ask(self, what: str) -> Any:
        return self._http.get(f"http://127.0.0.1:{self.port}/{what}", timeout=30).json()

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return bool(self.ask("count"))
        return False


class Machine:
    """What a run needs, in a directory that is gone afterwards."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = Settings.from_env({"DATA_DIR": str(directory)})
        self.processes: list[Process] = []
        server = embedded_store.find_server(self.settings)
        self.store = self.run(embedded_store.command(server, self.settings), {})
        self.socket = self.settings.redis_url.removeprefix("unix://")
        wait_until(lambda: embedded_store.answers(Path(self.socket)))
        self.redis: Redis = connect(self.settings.redis_url)

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> Process:
        given = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        process = Process(argv, {**given, **env}, self.directory / "output")
        self.processes.append(process)
        return process

    def start(self, module: str, *arguments: str, **env: str) -> Process:
        """Starts a module of Python."""
        return self.run([sys.executable, "-m", module, *arguments], env)

    def service(self, **more: str) -> dict[str, str]:
        """The settings of our own processes, which share the store of this run."""
        return {
            "DATA_DIR": str(self.directory),
            "PROVIDERS": "sendgrid",
            "SENDGRID_API_KEY": "SG.secret",
            "LOG_FORMAT": "json",
            **more,
        }

    def empty(self, fsync: str = "always") -> None:
        """Forgets everything that is stored; `fsync` is what the next one gets."""
        self.redis.flushall()
        self.redis.config_set("appendfsync", fsync)

    def stop(self, *processes: Process) -> None:
        for process in processes:
            process.kill()
            self.processes.remove(process)


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """A store of this run's own, and an end to all that it has started."""
    with tempfile.TemporaryDirectory(prefix="sp-bench-") as directory:
        found = Machine(Path(directory))
        try:
            yield found
        finally:
            found.stop(*found.processes)


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the benchmark waits for does not happen")
        time.sleep(0.02)
