"""The process that renders templates: it takes requests one after another, within limits.

The limits are the system's, which nothing in a template can get around: a request that takes too
much ends the process. It has no environment, and can open no file and no connection.
"""

import codecs
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

import jinja2.debug  # noqa: F401 - imported by Jinja when an error comes, which is too late here
import orjson

from app.core import rendering
from app.core.rendering import Sources, TemplateFaults

SECONDS = 1.0
"""Of processor time, for one request."""
MEMORY = 512 << 20
"""Bytes of address space, for the process."""

_LENGTH = struct.Struct(">I")


def write_frame(channel: socket.socket, value: Any) -> None:
    content = orjson.dumps(value)
    channel.sendall(_LENGTH.pack(len(content)) + content)


def read_frame(channel: socket.socket) -> Any:
    """The next value; None at the end, which is also an end in its midst."""
    head = _read(channel, _LENGTH.size)
    content = None if head is None else _read(channel, *_LENGTH.unpack(head))
    return None if content is None else orjson.loads(content)


def _read(channel: socket.socket, length: int) -> bytes | None:
    content = bytearray()
    while len(content) < length:
        piece = channel.recv(min(length - len(content), 1 << 20))
        if not piece:
            return None
        content += piece
    return bytes(content)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What a request comes to: names of variables, content, or faults."""
    sources = Sources(**request["sources"])
    try:
        if request["variables"] is None:
            return {"names": rendering.check(sources)}
        return {"content": rendering.render(sources, request["variables"])}
    except TemplateFaults as faults:
        return {"faults": faults.errors}


def main() -> None:
    channel = socket.socket(fileno=sys.stdin.fileno())
    _set_limits()
    while (request := read_frame(channel)) is not None:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        found = answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_frame(channel, found)


def _set_limits() -> None:
    # Jinja reads texts in templates with it; it is a file of its own until it is asked for.
    codecs.lookup("unicode_escape")
    # Where a timer's signal is not handled, it ends the process, whatever that is doing.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 3,
        resource.RLIMIT_AS: MEMORY,
    }
    for kind, limit in limits.items():
        # macOS does not know all of them.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    main()
