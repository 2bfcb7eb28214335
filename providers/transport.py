"""One POST to a provider over `requests`: kept-alive connections, one deadline, no retries."""

import contextlib
import http.client
import ipaddress
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from requests import exceptions as outer
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3 import exceptions as inner
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.connection import create_connection

from providers.answers import Answer
from providers.deadline import Exchange, current_exchange, watchdog
from providers.errors import ProviderFailure, Unavailable, Unknown

#: An answer is a few hundred bytes; whatever is longer than this is not read to its end.
BODY_LIMIT = 1024 * 1024

#: Providers close connections that rest for a minute or so. A request that meets such a close
#: cannot know whether it was read, so a connection that rested this long is not used again.
IDLE_LIMIT = 20.0

#: What was raised, what caused it, whether the message may have been taken, and what to say.
#: The first row that fits counts. The shapes are those of requests 2.34 with urllib3 2.8:
#: ConnectTimeout is a ConnectionError too, so it stands first.
_SHAPES: tuple[tuple[type[Exception], type[Exception], type[ProviderFailure], str], ...] = (
    (outer.ConnectTimeout, Exception, Unavailable, "no connection in time"),
    (outer.ProxyError, Exception, Unavailable, "the proxy did not connect us"),
    (outer.SSLError, Exception, Unavailable, "TLS failed"),
    (outer.ConnectionError, inner.NameResolutionError, Unavailable, "its name does not resolve"),
    (outer.ConnectionError, inner.NewConnectionError, Unavailable, "could not connect"),
    (outer.ReadTimeout, Exception, Unknown, "no answer in time"),
    (outer.ConnectionError, inner.ProtocolError, Unknown, "the connection broke"),
    (outer.InvalidURL, Exception, Unavailable, "no valid way there"),
    (outer.RequestException, Exception, Unknown, "the exchange broke off"),
    # What requests did not make its own was raised before it had a connection.
    (Exception, Exception, Unavailable, "could not begin"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One POST as a provider composes it; `secrets` are the texts in it that nobody may see."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class Transport:
    """Sends requests to one provider, from any number of threads at once."""

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        deadline: float,
        connections: int = 100,
    ) -> None:
        self._timeout = (connect_timeout, read_timeout)
        self._deadline = deadline
        self._adapter = _Adapter(pool_connections=4, pool_maxsize=connections)
        # Proxies and certificate bundle as the environment has them, looked up once.
        found = requests.Session().merge_environment_settings(base_url, {}, True, None, None)
        proxies = {} if _is_loopback(base_url) else found["proxies"]
        self._route: dict[str, Any] = {
            "stream": True,
            "verify": found["verify"],
            "proxies": proxies,
        }

    def post(self, call: Call) -> Answer:
        """The answer as far as it came, its status at least; otherwise Unavailable or Unknown."""
        # Built by hand: preparing costs as much as the rest of a send on a warm connection.
        request = requests.PreparedRequest()
        request.method, request.url, request.body = "POST", call.url, call.body
        request.headers = CaseInsensitiveDict(
            {
                "Accept": "application/json",
                "User-Agent": "steadpost",
                "Content-Length": str(len(call.body)),
                **call.headers,
            }
        )
        with watchdog().exchange(self._deadline) as exchange:
            try:
                response = self._adapter.send(request, timeout=self._timeout, **self._route)
            except (OSError, inner.HTTPError) as fault:
                if exchange.status is not None:
                    return Answer(exchange.status, secrets=call.secrets)
                raise self._failure(fault, exchange) from fault
            with contextlib.closing(response):
                body = _read(response)
            return Answer(response.status_code, response.headers, body, call.secrets)

    def close(self) -> None:
        """Close the connections that rest; those in use end with their exchange."""
        self._adapter.close()

    def _failure(self, fault: Exception, exchange: Exchange) -> ProviderFailure:
        cause: object = fault.args[0] if fault.args else None
        if isinstance(cause, inner.MaxRetryError):
            cause = cause.reason
        failure, words = next(
            (failure, words)
            for raised, caused, failure, words in _SHAPES
            if isinstance(fault, raised) and (caused is Exception or isinstance(cause, caused))
        )
        if exchange.connecting:
            # No need to guess from the shape: a reset in the TLS handshake looks like one after the
            # body, and a TLS error in the answer like one in the handshake.
            failure = Unknown if exchange.began else Unavailable
        if exchange.passed:
            words = f"the deadline of {self._deadline:g} s passed"
        detail = _detail(cause)
        after = "after" if exchange.began or failure is Unknown else "before"
        return failure(f"{words}{detail}, {after} the message was sent")


def _detail(cause: object) -> str:
    """The system's own words for a connection that could not be made; they name no address."""
    if isinstance(cause, inner.NewConnectionError) and isinstance(cause.__cause__, OSError):
        return f" ({cause.__cause__.strerror})" if cause.__cause__.strerror else ""
    if isinstance(cause, inner.SSLError) and cause.args:
        words = getattr(cause.args[0], "verify_message", "") or getattr(cause.args[0], "reason", "")
        return f" ({words})" if words else ""
    return ""


def _read(response: requests.Response) -> bytes:
    """The body as far as it came: the status has decided already whether the message was taken."""
    body = bytearray()
    with contextlib.suppress(OSError, inner.HTTPError):
        for piece in response.iter_content(16 * 1024):
            body += piece
            if len(body) > BODY_LIMIT:
                break
    return bytes(body)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


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
        super().request(*args, **kwargs)

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


class _Adapter(HTTPAdapter):
    """requests' adapter, over connections that can be cut."""

    _pools: ClassVar = {"http": _Pool, "https": _SecurePool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager
