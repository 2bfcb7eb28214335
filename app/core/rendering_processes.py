"""Rendering within limits: in processes of its own, killed when a template is too much."""

import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any

from app.core.rendering import Content, Sources, TemplateFaults
from app.core.rendering_child import MEMORY, SECONDS, read_frame, write_frame

_ROOT = Path(__file__).parents[2]
_NO_ENVIRONMENT: dict[str, str] = {}
_MOST_PROCESSES = 4
_SECONDS_TO_WAIT = 5.0
_SECONDS_TO_ANSWER = 10.0
"""By the clock on the wall: a busy machine gives little processor time."""
_SECONDS_TO_END = 1.0
_TOO_LONG = f"Rendering it takes more than {SECONDS:.0f} s."
_TOO_MUCH = f"Rendering it takes more than {MEMORY >> 20} MiB of memory, or nests too deeply."


class RenderingBusy(Exception):
    """All processes are busy with other templates, or there can be none."""


class RenderingProcesses:
    """Checks and renders templates. The processes are started when they are first needed."""

    def __init__(self) -> None:
        self._idle: LifoQueue[_Process | None] = LifoQueue()
        for _ in range(_MOST_PROCESSES):
            self._idle.put(None)

    def check(self, sources: Sources) -> tuple[str, ...]:
        """The variables that a template asks for. Raises TemplateFaults and RenderingBusy."""
        return tuple(self._ask(sources, None)["names"])

    def render(self, sources: Sources, variables: Mapping[str, Any]) -> Content:
        """The content. Raises TemplateFaults and RenderingBusy."""
        return Content(**self._ask(sources, variables)["content"])

    def _ask(self, sources: Sources, variables: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            process = self._idle.get(timeout=_SECONDS_TO_WAIT)
        except Empty as error:
            raise RenderingBusy from error
        try:
            if process is None or not process.lives():
                process = _Process()
            answer: dict[str, Any] | None = process.ask(
                {"sources": asdict(sources), "variables": variables}
            )
            if answer is None:
                fault, process = process.end(), None
                raise TemplateFaults({"template": [fault]})
        finally:
            self._idle.put(process)
        if "faults" in answer:
            raise TemplateFaults(answer["faults"])
        return answer


class _Process:
    """One process and the channel to it. It ends with the object, and when ours does."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(_SECONDS_TO_ANSWER)
        command = [sys.executable, "-m", "app.core.rendering_child"]
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own words
                    command,
                    cwd=_ROOT,
                    env=_NO_ENVIRONMENT,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # Ctrl-C is for those who know what to do about it.
                    start_new_session=True,
                )
        except OSError as error:
            self._channel.close()
            raise RenderingBusy from error
        self._end = weakref.finalize(self, _end, self._process, self._channel)

    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Any) -> Any:
        """The answer; None where the process ended over it, or takes too long."""
        try:
            write_frame(self._channel, request)
            return read_frame(self._channel)
        except OSError:
            return None

    def end(self) -> str:
        """Ends it; what it says of the template that its end has come."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        self._end()
        by_the_clock = self._process.returncode in (-signal.SIGPROF, -signal.SIGKILL)
        return _TOO_LONG if by_the_clock else _TOO_MUCH


def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    channel.close()
    process.kill()
    process.wait()
