"""Processes as the system shows them: who begot whom, and who is still there."""

import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A live process; one that has ended and is only remembered by its parent is none."""

    id: int
    parent: int
    command: str

    @property
    def role(self) -> str:
        """What it is to the service, by its command line."""
        if "valkey-server" in self.command or "redis-server" in self.command:
            return "store"
        if "granian" in self.command:
            return "web"
        if "-m workers" in self.command:
            return "worker"
        if "guard.py" in self.command:
            return "guard"
        return "other"


def running() -> list[Process]:
    """All live processes."""
    return _from_proc() if (_PROC / "self/stat").exists() else _from_ps()


def below(ancestor: int) -> list[Process]:
    """The live descendants of a process."""
    family = {ancestor}
    found: list[Process] = []
    unplaced = running()
    while children := [p for p in unplaced if p.parent in family and p.id not in family]:
        found += children
        family.update(p.id for p in children)
    return found


def remaining(family: Iterable[Process], seconds: float) -> list[Process]:
    """Who of a family is still there after the time; returns at once when nobody is."""
    wanted = {(p.id, p.command) for p in family}
    deadline = time.monotonic() + seconds
    while left := [p for p in running() if (p.id, p.command) in wanted]:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.2)
    return left


def with_environment(entry: str) -> list[Process]:
    """The live processes that have the entry in their environment, where the system tells."""
    found = []
    for process in running():
        try:
            entries = (_PROC / str(process.id) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if entry.encode() in entries:
            found.append(process)
    return found


def _from_proc() -> list[Process]:
    found = []
    for directory in _PROC.glob("[0-9]*"):
        try:
            state, parent = (directory / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if state not in "ZX":
            found.append(Process(int(directory.name), int(parent), command))
    return found


def _from_ps() -> list[Process]:
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,command="],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    return [Process(int(r[0]), int(r[1]), r[3]) for r in rows if len(r) == 4 and r[2][0] != "Z"]
