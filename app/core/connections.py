"""Connections to Redis: a command goes out once, and a server that hangs is noticed in seconds."""

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface, ConnectionPool, SSLConnection, parse_url
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.utils import SENTINEL

_SENTINEL_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_LONGEST_REST = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a connection, and for an answer."""

    connect: float
    answer: float


class WaryPool(ConnectionPool):
    """Connections to a server that may stop answering.

    While the last command to end has ended without an answer, one caller at a time finds out
    whether that is still so, and the others are turned away at once: they would only wait in line.
    When it took long to find out, there is a rest before it is tried again.
    """

    def reset(self) -> None:
        self._in_doubt = False
        self._trial = threading.Lock()
        self._tried: ConnectionInterface | None = None
        self._began = self._rest_until = 0.0
        super().reset()

    def get_connection(
        self, command_name: str | None = None, *command_keys: Any, **options: Any
    ) -> Any:
        trial = self._in_doubt
        if trial:
            if time.monotonic() < self._rest_until or not self._trial.acquire(blocking=False):
                raise ConnectionError("Redis did not answer a moment ago")
            self._began = time.monotonic()
        try:
            connection = super().get_connection()
        except BaseException:
            if trial:
                self._end_trial()
            raise
        if trial:
            self._tried = connection
        return connection

    def release(self, connection: Any) -> None:
        self._in_doubt = not connection.is_connected
        if connection is self._tried:
            self._tried = None
            self._end_trial()
        super().release(connection)

    def _end_trial(self) -> None:
        now = time.monotonic()
        if self._in_doubt:
            self._rest_until = now + min(now - self._began, _LONGEST_REST)
        self._trial.release()


class MasterPool(WaryPool, SentinelConnectionPool):
    """Connections to the master that Sentinel names, and to no other that was it before."""

    def reset(self) -> None:
        self._looking = threading.Lock()
        self._look_at = 0.0
        super().reset()

    def get_connection(
        self, command_name: str | None = None, *command_keys: Any, **options: Any
    ) -> Any:
        if time.monotonic() >= self._look_at and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        return super().get_connection()

    def _look(self) -> None:
        """Asks whether the master is another one by now: idle connections are closed then.

        A master that hung and comes back takes writes for seconds before Sentinel demotes it.
        """
        started = time.monotonic()
        # Where nobody knows, the connections that there are may well be good.
        with contextlib.suppress(ConnectionError, TimeoutError):
            self.get_master_address()  # type: ignore[no-untyped-call]
        now = time.monotonic()
        self._look_at = now + max(_LOOK_SECONDS, 10 * (now - started))


class _Sentinels(Sentinel):
    """Sentinels that may be asked from several threads: the client sorts them while it asks."""

    def __init__(self, clients: Sequence[Redis]) -> None:
        super().__init__(())  # type: ignore[no-untyped-call]
        self.sentinels = list(clients)
        self._asking = threading.Lock()

    def discover_master(self, service_name: str) -> Any:
        with self._asking:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]


class _MasterConnection(SentinelManagedConnection):
    def read_response(
        self,
        disable_decoding: bool = False,
        *,
        timeout: Any = SENTINEL,
        disconnect_on_error: bool | None = True,
        push_request: bool | None = False,
    ) -> Any:
        # Not Sentinel's own: it keeps a connection whose answer may still come, and makes a lost
        # connection out of READONLY, which says for certain that nothing was written.
        return super(SentinelManagedConnection, self).read_response(
            disable_decoding,
            timeout=timeout,
            disconnect_on_error=disconnect_on_error,
            push_request=push_request,
        )


class _MasterConnectionOverTls(_MasterConnection, SSLConnection):
    pass


def client(url: str, patience: Patience, decode: bool = True) -> Redis:
    """A client of the server at a URL, which never repeats a command."""
    pool = WaryPool.from_url(url, decode_responses=decode, **_manners(patience))
    return Redis.from_pool(pool)


def master_client(
    sentinels: Sequence[str],
    master: str,
    url: str,
    patience: Patience,
    decode: bool = True,
) -> Redis:
    """A client of whatever server is the master, which never repeats a command.

    `sentinels` are URLs. Of the server's own URL count its user, password, database and options;
    `rediss:` means TLS to the Sentinels as well.
    """
    options = _parsed(url or "redis://")
    tls = options.pop("connection_class", None) is SSLConnection
    for name in ("host", "port"):
        options.pop(name, None)
    tls_options = {name: value for name, value in options.items() if name.startswith("ssl_")}
    short = _manners(Patience(_SENTINEL_SECONDS, _SENTINEL_SECONDS))
    clients = [Redis(**_parsed(one), ssl=tls, **tls_options, **short) for one in sentinels]
    pool = MasterPool(  # type: ignore[no-untyped-call]
        master,
        _Sentinels(clients),
        connection_class=_MasterConnectionOverTls if tls else _MasterConnection,
        decode_responses=decode,
        **_manners(patience),
        **options,
    )
    return Redis.from_pool(pool)


def _parsed(url: str) -> dict[str, Any]:
    return cast("dict[str, Any]", parse_url(url))  # type: ignore[no-untyped-call]


def unknown_master(redis: Redis) -> str | None:
    """Why Sentinel will never name a master to such a client; None if it may yet."""
    pool = redis.connection_pool
    if not isinstance(pool, MasterPool):
        return None
    known: set[str] = set()
    for sentinel in pool.sentinel_manager.sentinels:
        with contextlib.suppress(RedisError):
            known.update(sentinel.sentinel_masters())
    if not known or pool.service_name in known:
        return None
    return f"Sentinel knows no master {pool.service_name}, but {', '.join(sorted(known))}"


def _manners(patience: Patience) -> dict[str, Any]:
    return {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": patience.connect,
        "socket_timeout": patience.answer,
    }
