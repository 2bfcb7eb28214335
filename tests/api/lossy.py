"""A proxy in front of the real server that can lose what goes through it."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from enum import Enum


class Loss(Enum):
    """What becomes of the next script: nothing, or its connection ends before or after its work."""

    NONE = 0
    REQUEST = 1
    ANSWER = 2


class LossyProxy:
    """Passes everything on to a unix socket. `loss` is for the next script that is called."""

    def __init__(self, target: str) -> None:
        self.loss = Loss.NONE
        self.lost = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        with client, server, contextlib.suppress(OSError):
            swallow = False
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(1 << 20)
                    if not data or (end is server and swallow):
                        return
                    if end is client and self.loss is not Loss.NONE and b"EVAL" in data:
                        swallow, loss, self.loss = True, self.loss, Loss.NONE
                        self.lost += 1
                        if loss is Loss.REQUEST:
                            return
                    (server if end is client else client).sendall(data)


@contextlib.contextmanager
def lossy(target: str) -> Iterator[LossyProxy]:
    proxy = LossyProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
