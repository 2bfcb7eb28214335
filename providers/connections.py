"""urllib3's connections, made so that a deadline can cut them and none rests for too long."""

import http.client
import os
import socket
import time
from typing import Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3 import exceptions as inner
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.connection import create_connection

from providers.deadline import Exchange, current_exchange

#: Providers close connections that rest for a minute or so. A request that meets such a close
#: cannot know whether it was read, so a connection that rested this long is not used again.
IDLE_LIMIT = 20.0

#: How much of a long message is sent at once. A thread waits for its turn after each piece.
_PIECE = 256 * 1024


class _Answer(http.client.HTTPResponse):
    """Notes the status before the headers are read: it counts even if they never end."""

    def begin(self) -> None:
        try:
            super().begin()
        finally:
            exchange = current_exchange()
            if exchange is not None and isinstance(self.status, int):
                exchange.status = self.status


class _Connection(HTTPConnection):
    """A connection that the deadline of the current exchange can cut."""

    response_class = _Answer
    _used_at = 0.0
    _pid = 0
    _gathered: bytearray | None = None

    @property
    def is_connected(self) -> bool:
        # A forked process must leave alone what its parent may still be talking over.
        rested = time.monotonic() - self._used_at
        return rested < IDLE_LIMIT and self._pid == os.getpid() and super().is_connected

    def _new_conn(self) -> socket.socket:
        """urllib3's, but the tries of all addresses together end with the exchange."""
        exchange = current_exchange()
        if exchange is None:
            return super()._new_conn()
        exchange.connecting = True
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as fault:
            raise inner.NameResolutionError(self.host, self, fault) from fault
        failure: inner.HTTPError = inner.NewConnectionError(self, "no address")
        for *_, address in found:
            limit = min(self.timeout or exchange.remaining(), exchange.remaining())
            if not limit:
                exchange.passed = True
                raise inner.ConnectTimeoutError(self, "deadline")
            try:
                sock = create_connection(
                    (str(address[0]), self.port), limit, self.source_address, self.socket_options
                )
            except TimeoutError as fault:
                failure = inner.ConnectTimeoutError(self, "timed out")
                failure.__cause__ = fault
            except OSError as fault:
                failure = inner.NewConnectionError(self, "failed")
                failure.__cause__ = fault
            else:
                sock.settimeout(self.timeout)
                self._pid = os.getpid()
                return self._watched(sock, exchange)
        raise failure

    def _watched(self, sock: socket.socket, exchange: Exchange) -> socket.socket:
        try:
            if exchange.watch(sock):
                return sock
        except OSError:
            sock.close()
            raise
        sock.close()
        raise inner.ConnectTimeoutError(self, "deadline")

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = current_exchange()
        if exchange is not None and not exchange.begin(self.sock):
            raise inner.ConnectTimeoutError(self, "deadline")
        # The headers and a short body leave in one piece, which wakes the other side once.
        self._gathered = bytearray()
        try:
            super().request(*args, **kwargs)
            self._send_gathered()
        finally:
            self._gathered = None

    def send(self, data: Any) -> None:
        gathered = self._gathered
        if gathered is None:
            super().send(data)
        elif isinstance(data, bytes) and len(gathered) + len(data) <= _PIECE:
            gathered += data
        else:
            self._send_gathered()
            super().send(data)

    def _send_gathered(self) -> None:
        gathered, self._gathered = self._gathered, None
        if gathered:
            super().send(gathered)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self._used_at = time.monotonic()
        return response


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

    def _put_conn(self, conn: Any) -> None:
        exchange = current_exchange()
        if exchange is not None:
            exchange.let_go()
        super()._put_conn(conn)


class _SecurePool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class CuttableAdapter(HTTPAdapter):
    """requests' adapter, over connections that can be cut."""

    _pools: ClassVar = {"http": _Pool, "https": _SecurePool}
    _known: dict[str, Any]

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, blocksize=_PIECE, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

        self._known = {}

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool for a request: one for each origin, as all else is the same for all requests."""
        parts = request.url.split("/", 3)
        origin = "/".join(parts[:3])
        pool = self._known.get(origin)
        if pool is None:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._known[origin] = pool
        return pool

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, blocksize=_PIECE, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager
