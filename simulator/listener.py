"""A listening socket that can really refuse connections and come back on the same port."""

import asyncio
import contextlib
import socket

from simulator.http import Application, Connection


class Listener:
    """Serves an application on one address; port 0 takes a free one at the first `open`."""

    def __init__(self, application: Application, host: str, port: int) -> None:
        self._application = application
        self._host = host
        self.port = port
        self._socket: socket.socket | None = None
        self._opening: asyncio.Task[asyncio.Server] | None = None
        self._placeholder: socket.socket | None = None
        self._connections: set[Connection] = set()

    def open(self) -> None:
        """Listen, if we do not. Raises OSError where the port is taken."""
        if self._socket:
            return
        if self._placeholder:
            self._placeholder.close()
            self._placeholder = None
        self._socket = self._bound()
        self._socket.listen(1024)
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(
            loop.create_server(
                lambda: Connection(self._application, self._connections), sock=self._socket
            )
        )

    def refuse(self) -> None:
        """Let no one connect, cut who is connected, and keep the port from other programs."""
        if self._socket:
            self.close()
            self._placeholder = self._bound()

    def close(self) -> None:
        if self._opening and self._opening.done():
            self._opening.result().close()
        elif self._opening:
            self._opening.cancel()
        if self._socket:
            # Closing it twice does no harm; the server may not have come to own it yet.
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None
        if self._placeholder:
            self._placeholder.close()
            self._placeholder = None
        for connection in tuple(self._connections):
            connection.abort()

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Connections of the last one that listened here may still be fading.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((self._host, self.port))
        except OSError:
            sock.close()
            raise
        return sock
