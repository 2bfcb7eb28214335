"""The line between a process and Redis: where messages are lost, and where others may go on.

It stands where redis-py has its connections, so that everything above it is production code: the
commands of redis-py, the store, and its way with errors.
"""

from functools import cache
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError, OutOfMemoryError

from tests.simulation.judge import Judge
from tests.simulation.plan import Plan
from tests.simulation.server import Server
from tests.simulation.world import Process, World

_READS = frozenset(
    {
        *("EXISTS", "GET", "HGET", "HGETALL", "HLEN", "HMGET", "PING"),
        *("ZCARD", "ZRANGEBYSCORE", "ZREVRANGEBYLEX", "ZSCORE"),
    }
)


class Line:
    """What all processes share of the way to Redis: its state, and who looks on."""

    def __init__(self, world: World, plan: Plan, server: Server, judge: Judge) -> None:
        self.world = world
        self.plan = plan
        self.server = server
        self.judge = judge
        self.cut_until = 0
        self.full_until = 0
        self._again = False

    def calm(self) -> None:
        """Redis is there again, with room."""
        self.cut_until = self.full_until = 0

    def fault(self) -> str | None:
        """What goes wrong with this exchange, if anything: each fault may bring another one."""
        world = self.world
        if world.time.elapsed < self.cut_until:
            return "cut"
        if world.quiet:
            return None
        rate = self.plan.burst if self._again else self.plan.lost
        self._again = world.chance(rate)
        if not self._again:
            return None
        return "sent in vain" if world.chance(0.4) else "reply lost"


class Link:
    """One process's connections: a pool and a connection in one, as far as the store uses them."""

    def __init__(self, line: Line, process: Process) -> None:
        self._line = line
        self._process = process

    def get_connection(self) -> "_Connection":
        line = self._line
        if line.world.time.elapsed < line.cut_until:
            line.world.counts["connections refused"] += 1
            line.world.say("finds Redis away")
            self._note_blindness()
            raise ConnectionError("refused")
        return _Connection(self)

    def release(self, connection: "_Connection") -> None:
        pass

    def exchange(self, *commands: tuple[Any, ...]) -> list[Any]:
        """One round trip. Raises ConnectionError, also where the commands have been done."""
        line, world = self._line, self._line.world
        world.give_way()
        fault = line.fault()
        if fault in ("cut", "sent in vain"):
            world.counts["writes lost" if _writes(commands) else "reads lost"] += 1
            world.say(f"{_words(commands)}: never arrives")
            self._note_blindness()
            raise ConnectionError("reset")
        answers = []
        for command in commands:
            if answers and world.chance(line.plan.split):
                world.give_way()
            answers.append(self._run(command))
        world.give_way()
        if fault == "reply lost":
            world.counts["replies lost" if _writes(commands) else "reads lost"] += 1
            world.say(f"{_words(commands)}: the reply is lost")
            self._note_blindness()
            raise ConnectionError("reset")
        return answers

    def _run(self, command: tuple[Any, ...]) -> Any:
        line = self._line
        writes = command[0] not in _READS
        if (
            writes
            and line.world.time.elapsed < line.full_until
            and command[0] != "ZREMRANGEBYSCORE"
        ):
            line.world.counts["writes refused"] += 1
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        try:
            answer = line.server.run(*command)
        finally:
            if writes:
                line.judge.after_write(line.world.current, command)
        line.judge.after(line.world.current, command, answer)
        return answer

    def _note_blindness(self) -> None:
        if self._line.world.current is not None:
            self._line.world.current.blind = True


class _Connection:
    __slots__ = ("_answer", "_link")

    def __init__(self, link: Link) -> None:
        self._link = link

    def send_command(self, *command: Any) -> None:
        self._answer = self._link.exchange(command)[0]

    def read_response(self) -> Any:
        return self._answer

    def disconnect(self) -> None:
        pass


@cache
def _callbacks() -> dict[str, Any]:
    return dict(Redis(protocol=2, decode_responses=True).response_callbacks)


class Client(Redis):
    """redis-py with its commands, over a link."""

    def __init__(self, link: Link) -> None:
        # Not Redis's own: it takes longer than a schedule's other beginnings together.
        self.connection_pool = link
        self.connection = None
        self._callbacks = _callbacks()

    def execute_command(self, *command: Any, **options: Any) -> Any:
        return self._answer(command, options, self.connection_pool.exchange(command)[0])

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_Pipeline":
        assert not transaction
        return _Pipeline(self.connection_pool)

    def close(self) -> None:
        pass

    def _answer(self, command: tuple[Any, ...], options: dict[str, Any], answer: Any) -> Any:
        options.pop("keys", None)
        callback = self._callbacks.get(command[0])
        return answer if callback is None else callback(answer, **options)


class _Pipeline(Client):
    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._waiting: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *command: Any, **options: Any) -> Any:
        self._waiting.append((command, options))
        return self

    def execute(self) -> list[Any]:
        answers = self.connection_pool.exchange(*(command for command, _ in self._waiting))
        return [self._answer(c, o, a) for (c, o), a in zip(self._waiting, answers, strict=True)]


def _writes(commands: tuple[tuple[Any, ...], ...]) -> bool:
    return any(command[0] not in _READS for command in commands)


def _words(commands: tuple[tuple[Any, ...], ...]) -> str:
    return ", ".join(str(command[0]) for command in commands)
