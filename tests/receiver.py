"""An application that callbacks go to, over real HTTP: it notes what it is told."""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Told:
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)


class Receiver:
    """Listens on a port of its own; `answer` says what it answers, and may take its time."""

    def __init__(
        self,
        answer: Callable[[Told], Answer] = lambda told: (204, {}, b""),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.told: list[Told] = []
        self.answer = answer
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                told = Told(self.path, dict(self.headers), self.rfile.read(length))
                receiver.told.append(told)
                status, headers, body = receiver.answer(told)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                # Who asked may not have waited for it.
                with contextlib.suppress(OSError):
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
