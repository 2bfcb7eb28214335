"""HTTP/1.1 on asyncio, where an answer may also be silence or a reset."""

import asyncio
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol, cast

import httptools

# The largest request that any of the providers takes is SES's 40 MB message, in base64 and in JSON.
MAX_BODY_BYTES = 64 * 1024 * 1024

_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Call:
    """One request; `path` is as sent (percent-encoded), names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, held back for `delay` seconds."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0


class Fault(Enum):
    """What a client gets in place of an answer."""

    SILENCE = auto()
    RESET = auto()


Reply = Answer | Fault


class Application(Protocol):
    """What a listener serves."""

    def resets(self, path: str) -> bool:
        """Whether to reset the connection as soon as the path is known."""

    def reply(self, call: Call) -> Reply:
        """What to do about a whole request; never waits."""


def reset(transport: asyncio.Transport) -> None:
    """Close at once with RST, whatever is unsent or unread."""
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


@dataclass(slots=True)
class _Incoming:
    """A request of which parts may still be on their way."""

    url: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body: list[bytes] = field(default_factory=list)
    size: int = 0


class Connection(asyncio.Protocol):
    """One client's connection; calls are answered in their order, one after the other."""

    def __init__(self, application: Application, open_connections: set["Connection"]) -> None:
        self._application = application
        self._open_connections = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = _Incoming()
        self._calls: deque[tuple[Call, bool]] = deque()
        self._waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: int | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_connections.discard(self)
        if self._timer:
            self._timer.cancel()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._refusal or self._transport.is_closing():
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refusal = self._refusal or 400
        self._answer_calls()
        if self._refusal and not self._waiting and not self._transport.is_closing():
            self._write(Answer(self._refusal), "GET", keep_alive=False)

    def _answer_calls(self) -> None:
        while self._calls and not self._waiting and not self._transport.is_closing():
            call, keep_alive = self._calls.popleft()
            reply = self._application.reply(call)
            if reply is Fault.RESET:
                reset(self._transport)
            elif reply is Fault.SILENCE:
                self._waiting = True
            elif isinstance(reply, Answer) and reply.delay:
                self._waiting = True
                self._timer = asyncio.get_running_loop().call_later(
                    reply.delay, self._write_late, reply, call.method, keep_alive
                )
            elif isinstance(reply, Answer):
                self._write(reply, call.method, keep_alive)

    def _write_late(self, answer: Answer, method: str, keep_alive: bool) -> None:
        self._waiting = False
        self._write(answer, method, keep_alive)
        self._answer_calls()

    def _write(self, answer: Answer, method: str, keep_alive: bool) -> None:
        head = [
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}",
            f"Date: {_http_date(int(time.time()))}",
            f"Content-Length: {len(answer.body)}",
        ]
        if answer.content_type and answer.body:
            head.append(f"Content-Type: {answer.content_type}")
        head += [f"{name}: {value}" for name, value in answer.headers]
        if not keep_alive:
            head.append("Connection: close")
        body = b"" if method == "HEAD" else answer.body
        self._transport.write("\r\n".join([*head, "\r\n"]).encode("latin-1") + body)
        if not keep_alive:
            self._transport.close()

    # What follows is called by the parser, from within feed_data.

    def on_url(self, url: bytes) -> None:
        self._incoming.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._incoming.headers
        key, text = _lower(name), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text

    def on_headers_complete(self) -> None:
        path = self._incoming.url.partition(b"?")[0].decode("latin-1")
        headers = self._incoming.headers
        if self._application.resets(path):
            reset(self._transport)
        elif int(headers.get("content-length", 0)) > MAX_BODY_BYTES:
            self._refusal = 413
        elif "100-continue" in headers.get("expect", "").lower():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._incoming.size += len(body)
        if self._incoming.size > MAX_BODY_BYTES:
            self._refusal = 413
            self._incoming.body.clear()
        else:
            self._incoming.body.append(body)

    def on_message_complete(self) -> None:
        incoming, self._incoming = self._incoming, _Incoming()
        path, _, query = incoming.url.decode("latin-1").partition("?")
        call = Call(
            method=self._parser.get_method().decode("ascii"),
            path=path,
            query=query,
            headers=incoming.headers,
            body=b"".join(incoming.body),
        )
        if not self._refusal:
            self._calls.append((call, self._parser.should_keep_alive()))


@lru_cache(maxsize=256)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


@lru_cache(maxsize=1)
def _http_date(now: int) -> str:
    return formatdate(now, usegmt=True)
