"""The supervisor: starts processes in order, restarts what dies, and ends all of them with itself.

Every process leads a session of its own, so that a Ctrl-C reaches the supervisor alone and what a
process has started can be ended with it. A guard ends them when the supervisor is killed; on Linux
the kernel does so too, for the processes that it started itself.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog

_GUARD = Path(__file__).with_name("guard.py")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
_RAN_WELL = 30.0
_TRIES_AT_START = 3
_PROBE_INTERVAL = 0.05
_NOTE_INTERVAL = 10.0
_SECONDS_TO_DIE = 2.0
_PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


class StartError(Exception):
    """A process did not come up; the text is one line that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A process to keep running.

    Stages are started in ascending order, each when the one before is `ready`, and stopped in
    descending order. A process that ignores SIGTERM for `grace` seconds is killed. `orphan_signal`
    is what it gets when the supervisor is gone. `on_failure` says what to do if it does not start.
    """

    name: str
    argv: Sequence[str]
    stage: int
    ready: Callable[[], bool] = lambda: True
    grace: float = 10.0
    orphan_signal: signal.Signals = signal.SIGKILL
    pass_fds: tuple[int, ...] = ()
    umask: int = -1
    on_failure: str = "what it printed says why"


class Supervisor:
    """Runs `specs` until SIGINT, SIGTERM or SIGHUP comes; a second signal ends them at once."""

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        environment: Mapping[str, str],
        on_ready: Callable[[], None],
    ) -> None:
        self._children = [_Child(spec, environment) for spec in specs]
        self._on_ready = on_ready
        self._stop_signals = 0
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._guard = _Guard()

    def run(self) -> None:
        """Start everything, call `on_ready`, and return when all of it has been stopped."""
        with self._signals():
            self._guard.begin()
            try:
                for stage in sorted({child.spec.stage for child in self._children}):
                    self._start(stage)
                if not self._stop_signals:
                    self._on_ready()
                while not self._stop_signals:
                    self._tick(_LONGEST_PAUSE)
            finally:
                self._stop()

    def _start(self, stage: int) -> None:
        waiting = self._of_stage(stage)
        for child in waiting:
            if not self._stop_signals:
                child.start(self._guard)
        note_at = time.monotonic() + _NOTE_INTERVAL
        while waiting and not self._stop_signals:
            self._tick(_PROBE_INTERVAL)
            for child in waiting:
                child.was_ready = child.runs and child.spec.ready()
            waiting = [child for child in waiting if not child.was_ready]
            for child in waiting:
                if child.failures >= _TRIES_AT_START:
                    spec = child.spec
                    raise StartError(
                        f"{spec.name} does not start ({child.ending}): {spec.on_failure}"
                    )
            if time.monotonic() >= note_at:
                log.info("still starting", processes=[child.spec.name for child in waiting])
                note_at += _NOTE_INTERVAL

    def _tick(self, timeout: float) -> None:
        """Wait for a signal, at most `timeout` seconds, and see to what has died."""
        now = time.monotonic()
        due = [child.restart_at - now for child in self._children if child.restart_at is not None]
        self._sleep(max(0.0, min([timeout, *due])))
        self._guard.keep(self._children)
        for child in self._children:
            child.look_after(self._guard)

    def _sleep(self, seconds: float) -> None:
        if select.select([self._wake_in], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_in, 4096)

    def _stop(self) -> None:
        for stage in sorted({child.spec.stage for child in self._children}, reverse=True):
            children = self._of_stage(stage)
            for child in children:
                child.terminate()
            # One that is not ready has nothing to finish, and may not yet listen to signals.
            now = time.monotonic()
            deadlines = {child: now + child.spec.grace for child in children if child.was_ready}
            while self._stop_signals < 2:
                now = time.monotonic()
                left = [end - now for child, end in deadlines.items() if child.runs and end > now]
                if not left:
                    break
                self._sleep(min(left))
            for child in children:
                child.kill(self._guard)
        self._guard.close()

    def _of_stage(self, stage: int) -> list["_Child"]:
        return [child for child in self._children if child.spec.stage == stage]

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def count(_number: int, _frame: FrameType | None) -> None:
            self._stop_signals += 1

        # A SIGHUP that is ignored was meant to be: nohup.
        stopping = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            stopping.append(signal.SIGHUP)
        before = {number: signal.signal(number, count) for number in stopping}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        wake_before = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wake_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wake_in)
            os.close(self._wake_out)


class _Child:
    """One process that is kept running, through all its lives."""

    def __init__(self, spec: ChildSpec, environment: Mapping[str, str]) -> None:
        self.spec = spec
        self.failures = 0
        self.ending = ""
        self.restart_at: float | None = None
        self.group: int | None = None
        self.was_ready = False
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, guard: "_Guard") -> None:
        self.restart_at = None
        self._started_at = time.monotonic()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the project's own processes
                self.spec.argv,
                stdin=subprocess.DEVNULL,
                env=dict(self._environment),
                start_new_session=True,
                pass_fds=self.spec.pass_fds,
                umask=self.spec.umask,
                preexec_fn=_bind_to_supervisor(self.spec.orphan_signal, guard.pipe),
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._plan_restart(str(error))
        else:
            self.group = self._process.pid

    def look_after(self, guard: "_Guard") -> None:
        """Plan a new life if this one is over, and begin it when its time has come."""
        if self._process is not None and not self.runs:
            status = self._process.returncode
            self.kill(guard)
            self._plan_restart(f"signal {-status}" if status < 0 else f"exit status {status}")
        if self.restart_at is not None and time.monotonic() >= self.restart_at:
            self.start(guard)

    def _plan_restart(self, ending: str) -> None:
        now = time.monotonic()
        self.ending = ending
        self.failures = 1 if now - self._started_at >= _RAN_WELL else self.failures + 1
        pause = min(_FIRST_PAUSE * 2 ** min(self.failures - 1, 16), _LONGEST_PAUSE)
        self.restart_at = now + pause
        log.warning("process ended", process=self.spec.name, ending=ending, restart_in=pause)

    def terminate(self) -> None:
        self.restart_at = None
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self, guard: "_Guard") -> None:
        """End the process and whatever it has started and left."""
        if self._process is None or self.group is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_DIE)
        guard.forget(self.group)
        self._process = None
        self.group = None


class _Guard:
    """The process that ends the others when this one is gone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, children: Sequence[_Child] = ()) -> None:
        """Start it, with what already runs in its arguments: it never lives without knowing."""
        known = [
            f"{child.group}:{child.spec.orphan_signal.value}"
            for child in children
            if child.group is not None
        ]
        self._process = subprocess.Popen(  # noqa: S603 - a script of our own
            [sys.executable, "-I", "-S", str(_GUARD), *known],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )

    @property
    def pipe(self) -> int:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the guard has not begun")
        return self._process.stdin.fileno()

    def keep(self, children: Sequence[_Child]) -> None:
        """Begin again if it was killed."""
        if self._process is None or self._process.poll() is None:
            return
        self._process.communicate()
        self.begin(children)

    def forget(self, group: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self.pipe, f"- {group}\n".encode())

    def close(self) -> None:
        """Let it go: nothing is left for it to do."""
        if self._process is not None:
            self._process.communicate()


def _bind_to_supervisor(orphan_signal: signal.Signals, guard: int) -> Callable[[], None]:
    """What a child does before it becomes its program.

    It makes itself known to the guard, so that there is no moment at which it would be left behind.
    The kernel's word is given to the thread that forks: the main one, which lives as long as we do.
    """
    supervisor = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def bind() -> None:
        os.write(guard, f"+ {os.getpid()} {orphan_signal.value}\n".encode())
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(orphan_signal))
            if os.getppid() != supervisor:
                os._exit(1)

    return bind
