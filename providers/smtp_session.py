"""Connections to an SMTP server: made, cut at a deadline, and kept between messages."""

import contextlib
import os
import smtplib
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from providers.deadline import Exchange

#: Servers close connections that rest, most of them after a minute or more.
IDLE_LIMIT = 30.0
#: So many bytes are written in one go: each has the read timeout to get away.
_PIECE = 256 * 1024


class Tls(StrEnum):
    """How a connection is encrypted."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a server and in; timeouts in seconds."""

    host: str
    port: int
    tls: Tls
    context: ssl.SSLContext | None
    username: str
    password: str = field(repr=False)
    connect_timeout: float
    read_timeout: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server says to one command; a code of -1 is none that SMTP has."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300


class Session(smtplib.SMTP):
    """A connection over which one message after the other is handed over.

    What breaks off raises an OSError, of which smtplib's exceptions are a kind.
    """

    def __init__(self, route: Route, exchange: Exchange) -> None:
        self._route = route
        self._exchange = exchange
        self._pid = os.getpid()
        self._rested_at = 0.0
        self._over = False
        super().__init__(route.host, route.port, "", route.connect_timeout)
        self.local_hostname = _own_name(self.sock)

    @property
    def is_usable(self) -> bool:
        """Whether another message may go over it, as far as that is known without asking."""
        return self.sock is not None and not self._over and self._pid == os.getpid()

    @property
    def rested_for(self) -> float:
        """Seconds since it was last used."""
        return time.monotonic() - self._rested_at

    def rest(self) -> None:
        self._rested_at = time.monotonic()

    def is_there(self, exchange: Exchange) -> bool:
        """Whether the server is still there after a rest, and ready for another message."""
        if self.sock is None or not exchange.watch(self.sock):
            return False
        # A server that gave us up says 421 instead, or nothing.
        with contextlib.suppress(OSError):
            return self.command("RSET").positive and self.is_usable
        return False

    def command(self, line: str) -> Reply:
        self.putcmd(line)
        return self.reply()

    def write(self, content: bytes) -> None:
        for start in range(0, len(content), _PIECE):
            self.send(content[start : start + _PIECE])

    def reply(self) -> Reply:
        code, text = self.getreply()
        return Reply(code, text.decode("utf-8", "replace"))

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        # 421 is a farewell; after what is no reply, nobody knows which one comes next.
        self._over = self._over or code in (421, -1)
        return code, text

    def leave(self) -> None:
        """Close it, with a word to the server if it is ours: a fork shares it with its parent."""
        if self.is_usable:
            with contextlib.suppress(OSError):
                self.putcmd("QUIT")
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """smtplib's, but the tries of all addresses together end with the exchange."""
        fault = OSError("it has no address")
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            limit = min(timeout, self._exchange.remaining())
            if not limit:
                self._exchange.passed = True
                raise TimeoutError
            try:
                sock = socket.create_connection((str(address[0]), port), limit)
            except OSError as error:
                fault = error
            else:
                return self._watched(sock)
        raise fault

    def _watched(self, sock: socket.socket) -> socket.socket:
        route = self._route
        try:
            sock.settimeout(route.read_timeout)
            # The dot that ends a message would wait for the answer to what stands before it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._exchange.watch(sock):
                raise TimeoutError
            if route.tls is Tls.IMPLICIT and route.context is not None:
                return route.context.wrap_socket(sock, server_hostname=route.host)
        except OSError:
            sock.close()
            raise
        return sock


def opened(route: Route, exchange: Exchange) -> Session:
    """A new connection, encrypted and logged in as the route wants it. Raises OSError."""
    session = Session(route, exchange)
    try:
        session.ehlo_or_helo_if_needed()
        if route.tls is Tls.STARTTLS:
            session.starttls(context=route.context)
            session.ehlo_or_helo_if_needed()
        if route.username:
            session.login(route.username, route.password)
    except OSError:
        session.close()
        raise
    return session


class Pool:
    """Connections that rest; the one that was used last is used first.

    It has no lock, which a fork could inherit in the wrong state: a deque's own steps are enough.
    """

    def __init__(self) -> None:
        self._resting: deque[Session] = deque()

    def take(self) -> Session | None:
        """A connection that may still be of use."""
        with contextlib.suppress(IndexError):
            while True:
                session = self._resting.pop()
                if session.is_usable and session.rested_for < IDLE_LIMIT:
                    return session
                session.leave()
        return None

    def put(self, session: Session) -> None:
        """Keep a connection, and close those that nobody has needed for long."""
        session.rest()
        self._resting.append(session)
        with contextlib.suppress(IndexError):
            while self._resting[0].rested_for >= IDLE_LIMIT:
                self._resting.popleft().leave()

    def close(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._resting.pop().leave()


def _own_name(sock: socket.socket | None) -> str:
    """The name to greet a server with; where the machine has no full one, its address."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    if sock is None:
        return "localhost"
    address = str(sock.getsockname()[0])
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
