"""A provider that only counts: it takes every mail at once, or after a while.

    python -m bench.provider PORT [SECONDS]

`POST /down/…` is answered with 503, every other POST as SendGrid does, but none before `GET /go`:
until then everybody waits, so that what is measured begins with all workers at work. `GET /close`
closes that gate again and forgets what came. `GET /count` tells how many wait, how many were taken
since, when the gate was opened and when the last one came; `GET /arrivals` when each came, by the
id in its `custom_args`. Times are those of the monotonic clock, which the processes of one machine
share.
"""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import cast

import orjson
import uvloop

_ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"
    b"X-Message-Id: 0123456789abcdef0123\r\n\r\n"
)
_DOWN = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb'"attempt_id":"([^"]+)"')


class Counter:
    """The mails that came, and the gate that they wait at."""

    def __init__(self) -> None:
        self.open = True
        self.waiting: list[Callable[[], None]] = []
        self.forget()

    def forget(self) -> None:
        self.count = 0
        self.began = self.last = time.monotonic()
        self.arrivals: list[tuple[bytes, float]] = []

    def take(self, body: bytes) -> None:
        self.count += 1
        self.last = time.monotonic()
        self.arrivals.append((body, self.last))

    def tell(self, path: bytes) -> object:
        if path == b"/close":
            self.open = False
            self.forget()
        elif path == b"/go":
            self.open = True
            self.forget()
            waiting, self.waiting = self.waiting, []
            for answer in waiting:
                answer()
        elif path == b"/arrivals":
            found = ((_ID.search(body), at) for body, at in self.arrivals)
            return {match[1].decode(): at for match, at in found if match}
        return {
            "waiting": len(self.waiting),
            "count": self.count,
            "began": self.began,
            "last": self.last,
            "now": time.monotonic(),
        }


class Connection(asyncio.Protocol):
    """One kept-alive connection; its requests come one after the other."""

    def __init__(self, counter: Counter, seconds: float) -> None:
        self._counter = counter
        self._seconds = seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own are no subclass.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            body, self._received = self._received[end + 4 : whole], self._received[whole:]
            method, path, _ = head.split(b" ", 2)
            if method == b"GET":
                self._tell(path)
            elif self._counter.open:
                self._answer(path, body)
            else:
                self._counter.waiting.append(partial(self._answer, path, body))

    def _tell(self, path: bytes) -> None:
        body = orjson.dumps(self._counter.tell(path))
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        self._write(head.encode() + b"%d\r\n\r\n" % len(body) + body)

    def _answer(self, path: bytes, body: bytes) -> None:
        answer = _DOWN
        if not path.startswith(b"/down/"):
            self._counter.take(body)
            answer = _ACCEPTED
        if self._seconds:
            asyncio.get_running_loop().call_later(self._seconds, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(port: int, seconds: float) -> None:
    counter = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(counter, seconds), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else 0.0))
