"""The leash: what a run has started ends with it, even if the run itself is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).parent.parent.parent
_GUARD = ROOT / "app" / "guard.py"


class Leash:
    """Starts processes of the project, and ends those that still run when it is let go."""

    def __enter__(self) -> Self:
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._guard.communicate(timeout=30)

    def start(
        self, module: Sequence[str], environment: Mapping[str, str], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Starts `python -m …` with nothing but this environment, in a session of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env={**{n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ}, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self._tell(f"+ {process.pid} {signal.SIGKILL.value}\n")
        return process

    def end(self, process: subprocess.Popen[bytes], number: signal.Signals, seconds: float) -> None:
        """Sends a signal and waits for the end of the process, which is forced after the time."""
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._tell(f"- {process.pid}\n")

    def _tell(self, line: str) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.write(line.encode())
        self._guard.stdin.flush()
