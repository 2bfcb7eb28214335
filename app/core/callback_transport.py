"""One request to an application: only to an address that was checked, and with one deadline.

Each request looks its host's name up itself, checks every address that comes, and connects to one
of just these; the certificate must be the name's. So nothing can change between the check and the
connection, whatever a name leads to a moment later. No redirects, no proxies, no connection is used
twice.
"""

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from app.core.callback_targets import Target, is_public
from providers.deadline import current_exchange, watchdog

CONNECT_SECONDS = 5.0
DEADLINE_SECONDS = 15.0
LONGEST_ANSWER = 1024
"""Bytes of an answer that are read; its status is all that matters."""

_LOOK_UPS = 4
_FAULTS = (OSError, HTTPError, http.client.HTTPException, ValueError)


SocketAddress = tuple[int, tuple[Any, ...]]


class NotDelivered(Exception):
    """No answer came; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an application answered; `retry_after` is in seconds, where it said."""

    status: int
    text: str = ""
    retry_after: float | None = None


class LookUps(Protocol):
    """Looks names up."""

    def addresses(self, host: str, port: int, seconds: float) -> Sequence[SocketAddress]:
        """Families and socket addresses of a host. Raises OSError."""
        ...


class FewLookUps:
    """Looks names up by the system, few at a time: nothing ends one, and mail wants some, too."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(_LOOK_UPS)

    def addresses(self, host: str, port: int, seconds: float) -> Sequence[SocketAddress]:
        """Families and socket addresses of a host. Raises OSError."""
        if not self._room.acquire(timeout=seconds):
            raise TimeoutError
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        finally:
            self._room.release()
        return [(family, address) for family, _, _, _, address in found]


class CallbackTransport:
    """Posts to applications, from any number of threads at once.

    Their certificates are those that the system and certifi trust, or those of a file.
    """

    def __init__(
        self,
        allow_private: bool,
        deadline: float = DEADLINE_SECONDS,
        look_ups: LookUps | None = None,
        connect: float = CONNECT_SECONDS,
        trusted: Path | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._deadline = deadline
        self._connect = connect
        # Where a lane fails, its look-ups may hang, too: those of the others do not wait for them.
        self._look_ups = look_ups or FewLookUps()
        self._look_ups_of_failing = look_ups or FewLookUps()
        self._tls = create_urllib3_context()
        if trusted is None:
            self._tls.load_default_certs()
        self._tls.load_verify_locations(trusted or certifi.where())

    def post(
        self, target: Target, headers: Mapping[str, str], body: bytes, failing: bool = False
    ) -> Answered:
        """What the application answers. Raises NotDelivered."""
        look_ups = self._look_ups_of_failing if failing else self._look_ups
        way = _Way(self._allow_private, look_ups, self._connect)
        connection: _Plain = (
            _Secure(target.host, target.port, ssl_context=self._tls)
            if target.secure
            else _Plain(target.host, target.port)
        )
        connection.way = way
        with watchdog().exchange(self._deadline) as exchange:
            try:
                with contextlib.closing(connection):
                    connection.request(
                        "POST",
                        target.path,
                        body,
                        headers,
                        preload_content=False,
                        decode_content=False,
                    )
                    return _answered(connection)
            except _FAULTS as fault:
                if exchange.passed or not exchange.remaining():
                    text = f"no answer within {self._deadline:.3g} s"
                    raise NotDelivered(text) from fault
                raise NotDelivered(_in_words(fault, way)) from fault


@dataclass(slots=True)
class _Way:
    """How a connection finds its way, and how far it came."""

    allow_private: bool
    look_ups: LookUps
    connect: float
    connected: bool = False


class _Plain(HTTPConnection):
    """A connection to one of the addresses that were checked."""

    way: _Way

    def _new_conn(self) -> socket.socket:
        exchange, way = current_exchange(), self.way
        if exchange is None:
            raise RuntimeError("outside of an exchange")
        found = way.look_ups.addresses(self.host, self.port or 0, exchange.remaining())
        if not way.allow_private:
            for _, address in found:
                if not is_public(ipaddress.ip_address(address[0])):
                    raise NotDelivered("its name leads to an address that is not public")
        fault: OSError = OSError("no address")
        ends_at = time.monotonic() + min(way.connect, exchange.remaining())
        for family, address in found:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                if not exchange.watch(sock):
                    raise TimeoutError
                sock.settimeout(max(ends_at - time.monotonic(), 0.001))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.connect(address)
            except OSError as error:
                sock.close()
                fault = error
            else:
                way.connected = True
                sock.settimeout(exchange.remaining() + 1)
                return sock
        raise fault


class _Secure(_Plain, HTTPSConnection):
    pass


def _answered(connection: HTTPConnection) -> Answered:
    response = connection.getresponse()
    text = b""
    with contextlib.suppress(*_FAULTS):
        text = response.read(LONGEST_ANSWER)
    return Answered(
        response.status,
        _printable(text.decode("utf-8", "replace")),
        _seconds(response.headers.get("Retry-After", "")),
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()


def _seconds(text: str) -> float | None:
    text = text.strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(moment.timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _in_words(fault: Exception, way: _Way) -> str:
    match fault:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not valid: {fault.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {fault.reason or 'for no reason that is known'}"
        case socket.gaierror():
            return "its name does not resolve"
        case TimeoutError() if not way.connected:
            return f"no connection within {way.connect:.3g} s"
        case OSError() if not way.connected:
            return f"could not connect: {fault.strerror or fault}"
    return "the connection broke before an answer came"
