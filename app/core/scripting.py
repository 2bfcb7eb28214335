"""Running our scripts in Redis: each is one atomic step, sent once and never again by itself.

The client that is handed in does not retry; a write whose answer was lost raises `WriteInDoubt`.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from app.core import keys, queue

_SCRIPTS = Path(__file__).parent / "scripts"
_LONG = 1_000_000
"""Bytes of attachments; for so many, an answer is waited for a second longer."""
PURGE_SLACK_MS = 3_600_000
_AWAY = (ConnectionError, TimeoutError, OutOfMemoryError, ReadOnlyError, MasterDownError)
_NOT_NOW = re.compile(
    r"(MISCONF|NOREPLICAS|BUSY|UNKILLABLE|UNBLOCKED) "
    # So does Redis 6.2 say what a script ran into.
    r"|Error running script .* -(OOM|READONLY|MISCONF|NOREPLICAS) "
)
"""Further answers of a Redis that cannot do it now, and has not."""


class StoreUnavailable(Exception):
    """Redis does not answer, or cannot write now. Nothing has been written."""


class WriteInDoubt(StoreUnavailable):
    """The connection was lost after a write was sent: it may have been done or not."""


class Scripts:
    """Our scripts, and plain commands, over one client. Safe to use from several threads at once.

    Given `replica_within`, what is run to be confirmed waits this long for a replica to have it.
    """

    def __init__(self, redis: Redis, replica_within: timedelta | None = None) -> None:
        self._redis = redis
        self._replica_within = replica_within

    def read(self, command: Callable[[Redis], Any]) -> Any:
        """What a plain command answers. Raises StoreUnavailable, or the error that it is."""
        try:
            return command(self._redis)
        except RedisError as error:
            raise self._translated(error) from error

    def replicated(self) -> bool:
        """Whether a replica keeps up with the server, where one has to."""
        if self._replica_within is None:
            return True
        milliseconds = self._replica_within // timedelta(milliseconds=1)
        return bool(self.read(lambda r: r.wait(1, milliseconds)))

    def _translated(self, error: RedisError) -> Exception:
        if isinstance(error, ReadOnlyError) or " -READONLY " in str(error):
            # It was the master once: new connections lead to whoever is it now.
            self._redis.connection_pool.disconnect(inuse_connections=False)
        return translated(error)

    def run(
        self, name: str, script_keys: Sequence[str], arguments: Sequence[str | int | bytes]
    ) -> Any:
        """What a script answers. Raises WriteInDoubt and StoreUnavailable."""
        return self.exchange(name, script_keys, arguments)[0]

    def exchange(
        self,
        name: str,
        script_keys: Sequence[str],
        arguments: Sequence[str | int | bytes],
        confirm: bool = False,
    ) -> tuple[Any, bool]:
        """What a script answers, and whether a replica has confirmed it, where one is to."""
        source, digest = script(name)
        call = [len(script_keys), *script_keys, *arguments]
        wait = []
        if confirm and self._replica_within is not None:
            wait.append(("WAIT", 1, self._replica_within // timedelta(milliseconds=1)))
        try:
            try:
                answer, *replicas = self._send_once(("EVALSHA", digest, *call), *wait)
            except NoScriptError:
                # The server does not know the script yet, and so has not run it.
                answer, *replicas = self._send_once(("EVAL", source, *call), *wait)
        except RedisError as error:
            raise self._translated(error) from error
        return answer, all(isinstance(count, int) and count > 0 for count in replicas)

    def _send_once(self, *commands: Sequence[str | int | bytes]) -> list[Any]:
        """Sends commands over a connection that is known to be open, and never again.

        Raises the first one's error, if it has one; those of the others are answers.
        """
        pool = self._redis.connection_pool
        connection = pool.get_connection()
        try:
            for command in commands:
                _send(connection, command)
            first, *others = [_answer(connection) for _ in commands]
            if isinstance(first, ResponseError):
                raise first
            return [first, *others]
        except BusyLoadingError:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        except (ConnectionError, TimeoutError, OSError) as error:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise WriteInDoubt("the connection to Redis was lost during a write") from error
        finally:
            pool.release(connection)


def _send(connection: Any, command: Sequence[str | int | bytes]) -> None:
    size = sum(len(part) for part in command if isinstance(part, bytes))
    if size < _LONG:
        connection.send_command(*command)
        return
    # The timeout is for each piece, and then for the server: it has all of it to write, and what
    # others have sent.
    packed = [memoryview(part) for part in connection.pack_command(*command)]
    pieces = [part[at : at + _LONG] for part in packed for at in range(0, len(part), _LONG)]
    connection.send_packed_command(pieces)
    connection.can_read(size / _LONG)


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


@cache
def script(name: str) -> tuple[str, str]:
    """The text of a script, with the names that it uses, and its SHA-1."""
    key_names = {
        name.lower(): value
        for name, value in vars(keys).items()
        if name.isupper() and isinstance(value, str)
    }
    settings = {
        **{priority.value: name for priority, name in queue.QUEUES.items()},
        "job": queue.DELIVER_JOB,
        "timeout": queue.JOB_TIMEOUT,
        "failure_ttl": queue.FAILURE_TTL,
        "purge_slack": PURGE_SLACK_MS,
    }
    source = "\n".join(
        [
            f"local K = {_lua_table(key_names)}",
            f"local Q = {_lua_table(settings)}",
            (_SCRIPTS / "common.lua").read_text(),
            (_SCRIPTS / f"{name}.lua").read_text(),
        ]
    )
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def _lua_table(values: dict[str, Any]) -> str:
    return (
        "{" + ", ".join(f"{name} = {orjson.dumps(v).decode()}" for name, v in values.items()) + "}"
    )


def translated(error: RedisError) -> Exception:
    """What an error of the Redis client means to us: StoreUnavailable, or the error itself."""
    if not isinstance(error, _AWAY) and not _NOT_NOW.match(str(error)):
        return error
    return StoreUnavailable(f"Redis does not answer: {type(error).__name__}")
