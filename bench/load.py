"""Asks the same question over and over, on connections that are kept alive.

    python -m bench.load PORT PATH CONNECTIONS SECONDS RATE < body

`RATE` is how many questions a second all connections ask together; 0 means as many as they can.
Writes a JSON object: how many `answers` came in how many `seconds`, their `statuses`, the `times`
that each took (ms), what it `cost` here in CPU (ms an answer), and `asked`: for each id that was
told, when it was asked for (monotonic).
"""

import asyncio
import contextlib
import re
import sys
import time
from collections import Counter
from typing import Any, cast

import orjson
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb'"id": *"([^"]+)"')
_LONGEST = 30.0


class Asking(asyncio.Protocol):
    """One connection: a question, its answer, the next question."""

    def __init__(self, question: bytes, pause: float, told: "Told") -> None:
        self._question = question
        self._pause = pause
        self._told = told
        self._received = b""
        self._due = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        if self._told.asks():
            self._asked = time.monotonic()
            self._transport.write(self._question)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        length = _LENGTH.search(self._received, 0, end) if end >= 0 else None
        if length is None or len(self._received) < end + 4 + int(length[1]):
            return
        self._told.take(self._received, self._asked)
        self._received = b""
        self._due += self._pause
        wait = self._due - time.monotonic()
        if self._pause and wait > 0:
            asyncio.get_running_loop().call_later(wait, self._ask)
        else:
            self._ask()


class Told:
    """What the answers were. Whatever was asked before the end is answered after it, and counts."""

    def __init__(self) -> None:
        self.over = False
        self.all_answered = asyncio.Event()
        self.last = 0.0
        self._open = 0
        self.times: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.asked: dict[str, float] = {}

    def asks(self) -> bool:
        """Whether one more question may be asked; it is then open."""
        self._open += not self.over
        return not self.over

    def end(self) -> None:
        self.over = True
        if not self._open:
            self.all_answered.set()

    def take(self, answer: bytes, asked: float) -> None:
        self.last = time.monotonic()
        self.times.append(1000 * (self.last - asked))
        self.statuses[answer[9:12].decode()] += 1
        self._open -= 1
        if self.over and not self._open:
            self.all_answered.set()
        found = _ID.search(answer)
        if found:
            self.asked[found[1].decode()] = asked


async def ask(
    port: int, path: str, connections: int, seconds: float, rate: float, body: bytes
) -> dict[str, Any]:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    told = Told()
    pause = connections / rate if rate else 0.0
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    for _ in range(connections):
        await loop.create_connection(
            lambda: Asking(head.encode() + body, pause, told), "127.0.0.1", port
        )
        await asyncio.sleep(pause / connections)
    await asyncio.sleep(seconds - (time.monotonic() - began))
    told.end()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(told.all_answered.wait(), _LONGEST)
    count = len(told.times)
    return {
        "answers": count,
        "seconds": told.last - began,
        "statuses": told.statuses,
        "times": told.times,
        "cost": 1000 * time.process_time() / max(count, 1),
        "asked": told.asked,
    }


KEY = "a-key-for-the-benchmark"

if __name__ == "__main__":
    port, path, connections, seconds, rate = sys.argv[1:]
    answers = uvloop.run(
        ask(int(port), path, int(connections), float(seconds), float(rate), sys.stdin.buffer.read())
    )
    sys.stdout.buffer.write(orjson.dumps(answers))
