"""A server on a real socket that answers as a test wants it, or does not."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Request:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """An answer; `content_type` None leaves the header out."""

    status: int
    body: bytes = b""
    content_type: str | None = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, length: int | None = None) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Whatever"]
        if self.content_type is not None:
            lines.append(f"Content-Type: {self.content_type}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body) if length is None else length}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def __bytes__(self) -> bytes:
        return self.head() + self.body


class Line:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self._sock = sock
        self._over = over

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def drip(self, data: bytes) -> None:
        """One byte every 20 ms, until the data ends, the other side is gone or the test over."""
        for byte in data:
            if self._over.wait(0.02):
                return
            self._sock.sendall(bytes([byte]))

    def hang(self) -> None:
        """Nothing until the other side is gone or the test over."""
        self._sock.recv(1)

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


#: What is done with a request; it closes the line or leaves it open for the next one.
Behaviour = Callable[[Line, Request], None]


def answering(reply: Reply) -> Behaviour:
    return lambda line, request: line.send(bytes(reply))


class Server:
    """Listens on a free port of 127.0.0.1; `behaviour` may be changed at any time."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.requests: list[Request] = []
        self.connections = 0
        self._tls = tls
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lines: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._start(self._accept)

    def close(self) -> None:
        self._over.set()
        # Closing alone does not wake the threads that wait.
        for sock in (self._listener, *self._lines):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._lines.append(sock)
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        # The other side may go away at any moment.
        with contextlib.suppress(OSError), sock:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._lines.append(sock)
            with sock:
                line = Line(sock, self._over)
                while (request := self._request(sock)) is not None:
                    self.requests.append(request)
                    self.behaviour(line, request)

    @staticmethod
    def _request(sock: socket.socket) -> Request | None:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            if not (piece := sock.recv(65536)):
                return None
            data += piece
        request, length = _parsed(bytes(data))
        body = bytearray(request.body)
        while len(body) < length:
            if not (piece := sock.recv(65536)):
                return None
            body += piece
        return replace(request, body=bytes(body))


def _parsed(data: bytes) -> tuple[Request, int]:
    """A request as far as it came, and how long its body is to be."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Request(method, path, headers, body), int(headers.get("content-length", "0"))


@contextlib.contextmanager
def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(behaviour, tls)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def refusing_url() -> Iterator[str]:
    """A URL whose port is taken, so that nobody else gets it, and refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@contextlib.contextmanager
def resetting_port() -> Iterator[int]:
    """A port that resets a connection at its first byte."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset() -> None:
            sock, _ = listener.accept()
            sock.recv(1)
            Line(sock, threading.Event()).reset()

        thread = threading.Thread(target=reset)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)
