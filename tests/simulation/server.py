"""fakeredis without its wire: commands in, answers out, at the simulation's own time.

The commands and the scripts run as they are. What is left out costs time and decides nothing here:
the protocol, watches and notifications, and for every script its compilation, a search for globals
and a garbage collection.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fakeredis import FakeServer
from fakeredis._commands import Key, Signature
from fakeredis._core import CommandItem
from fakeredis._helpers import SimpleError, SimpleString
from fakeredis._msgs import FLAG_DO_NOT_CREATE, FLAG_LEAVE_EMPTY_VAL
from fakeredis._socket import FakeSocket
from fakeredis._socket._resp import convert_to_resp2
from redis import Redis
from redis.exceptions import NoScriptError, ResponseError

_PLAIN = frozenset({bytes, int, type(None), SimpleString})


class Server:
    """One Redis, for one schedule after the other."""

    def __init__(self, socket: type[FakeSocket] | None = None) -> None:
        self._socket = (socket or QuickSocket)(FakeServer(version=(7, 2)), 0, client_class=Redis)
        self._time: Callable[[], float] = lambda: 0.0
        self.data: dict[bytes, Any] = self._socket._db._dict
        """Everything that is kept: by key, an item with a `value` and an `expireat` (seconds)."""

    def reset(self, time: Callable[[], float]) -> None:
        """Begins anew, with nothing in it; `time` says the time in seconds."""
        self._time = time
        self._socket._db._expiry_heap.clear()
        self.data.clear()
        self.forget_scripts()

    def forget_scripts(self) -> None:
        """As a restart does."""
        self._socket._server.script_cache.clear()

    def run(self, *command: Any) -> Any:
        """What Redis answers, with texts decoded. Raises what redis-py raises for its errors."""
        name, *fields = [p if type(p) is bytes else str(p).encode() for p in command]
        socket = self._socket
        socket._db.time = self._time()
        socket._db._remove_expired()
        try:
            function, signature = socket._name_to_func(name.decode().lower())
            with socket._server.lock:
                answer = socket._run_command(function, signature, fields, False)
        except SimpleError as error:
            answer = error
        return _decoded(answer)


class _Shape(NamedTuple):
    """How a command's arguments are read: by their places, the texts, and the keys."""

    signature: Signature
    texts: list[tuple[int, Callable[[bytes], Any]]]
    keys: list[tuple[int, Key]]
    create: bool
    keep_empty: bool


class QuickSocket(FakeSocket):
    """What runs the commands. A test holds it to doing what fakeredis's own does."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._shapes: dict[tuple[str, int], _Shape] = {}
        self._compiled: dict[bytes, Any] = {}
        self._functions_by_name: dict[bytes, tuple[Any, Signature]] = {}
        self._db.notify_watch = lambda key: None  # type: ignore[method-assign]

    def eval(self, script: bytes, count: int, *arguments: bytes) -> Any:
        digest = hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
        self._server.script_cache[digest] = script
        return self.evalsha(digest, count, *arguments)

    def evalsha(self, digest: bytes, count: int, *arguments: bytes) -> Any:
        script = self._server.script_cache.get(digest)
        if script is None:
            raise SimpleError("NOSCRIPT No matching script. Please use EVAL.")
        server: Any = self._server
        runtime = self._get_server_runtime(server)
        function = self._compiled.get(digest)
        if function is None:
            function = self._compiled[digest] = runtime.compile(script)
        server._lua_current_socket[0] = self
        self._script_resp = 2
        server._lua_set_keys_argv(
            runtime.table_from(arguments[:count]), runtime.table_from(arguments[count:])
        )
        try:
            return self._convert_lua_result(function(), nested=False)
        finally:
            self._script_resp = None

    def _lua_redis_call(self, runtime: Any, expected: Any, name: bytes, *arguments: Any) -> Any:
        known = self._functions_by_name.get(name)
        if known is None:
            known = self._name_to_func(name.decode().lower())
            self._functions_by_name[name] = known
        fields = [a if type(a) is bytes else b"%.17g" % a for a in arguments]
        answer = self._run_command(*known, fields, True)
        if type(answer) in (bytes, int):
            return answer
        return self._convert_redis_result(runtime, answer)

    def _run_command(
        self, function: Any, signature: Signature, fields: Sequence[bytes], from_script: bool
    ) -> Any:
        shape = self._shapes.get((signature.name, len(fields)))
        if shape is None:
            shape = self._shape(signature, fields)
        data, database = self.data, self._db
        arguments: list[Any] = list(fields)
        for place, key in shape.keys:
            if key.missing_return is not Key.UNSPECIFIED and fields[place] not in data:
                return key.missing_return
        items = []
        try:
            for place, decode in shape.texts:
                arguments[place] = decode(fields[place])
            for place, key in shape.keys:
                item = data.get(fields[place])
                kind, default = key.type_, None
                if kind is not None and item is not None and type(item.value) is not kind:
                    raise SimpleError("WRONGTYPE Operation against a key of another type")
                if item is None and kind is not None and kind is not bytes and shape.create:
                    default = kind()
                arguments[place] = CommandItem(fields[place], database, item, default=default)
                items.append(arguments[place])
            answer = function(*arguments)
        except SimpleError as error:
            answer = error
        for item in items:
            if item.is_modified:
                item.writeback(remove_empty_val=not shape.keep_empty)
        return answer if type(answer) in _PLAIN else convert_to_resp2(answer)

    @property
    def data(self) -> dict[bytes, Any]:
        return self._db._dict

    def _shape(self, signature: Signature, fields: Sequence[bytes]) -> _Shape:
        signature.check_arity(fields, self.version)
        kinds = list(signature.fixed)
        more = len(fields) - len(kinds)
        kinds += [signature.repeat[n % len(signature.repeat)] for n in range(more)]
        shape = _Shape(
            signature,
            [
                (place, kind.decode)
                for place, kind in enumerate(kinds)
                if not isinstance(kind, Key) and kind is not bytes
            ],
            [(place, kind) for place, kind in enumerate(kinds) if isinstance(kind, Key)],
            FLAG_DO_NOT_CREATE not in signature.flags,
            FLAG_LEAVE_EMPTY_VAL in signature.flags,
        )
        self._shapes[signature.name, len(fields)] = shape
        return shape


def _decoded(answer: Any) -> Any:
    if isinstance(answer, bytes):
        return answer.decode()
    if isinstance(answer, list):
        return [_decoded(part) for part in answer]
    if isinstance(answer, SimpleString):
        return answer.value.decode()
    if isinstance(answer, SimpleError):
        code, _, text = answer.value.partition(" ")
        raise NoScriptError(text) if code == "NOSCRIPT" else ResponseError(answer.value)
    return answer
