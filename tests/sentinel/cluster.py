"""Three servers and three Sentinels on loopback ports: one master, two replicas."""

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app import embedded_store, ports
from config import Settings
from tests.chaos.leash import Leash
from tests.waiting import until

MASTER = "mail"
_DOWN_AFTER_MS = 1000
_SERVERS = 3
_SECONDS_TO_START = 20.0
_SECONDS_TO_FAIL_OVER = 40.0


class ServerLeash(Leash):
    """A leash for servers as well."""

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """Starts a server, which says what it has to say in a log of its own."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._tell(f"+ {process.pid} {signal.SIGKILL.value}\n")
        return process


class Cluster:
    """`environment` leads a service to it. Servers are known by their ports."""

    def __init__(self, directory: Path, leash: ServerLeash, **options: str) -> None:
        found = ports.free_ports(2 * _SERVERS, "127.0.0.1")
        self.servers, self.sentinels = found[:_SERVERS], found[_SERVERS:]
        self.environment: Mapping[str, str] = {
            "REDIS_SENTINELS": ",".join(f"127.0.0.1:{port}" for port in self.sentinels),
            "REDIS_SENTINEL_MASTER": MASTER,
        }
        self._directory = directory
        self._leash = leash
        self._options = {"min-replicas-to-write": "1", "appendfsync": "always", **options}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: dict[int, Redis] = {}
        settings = Settings.from_env({"DATA_DIR": str(directory / "none")})
        self._binary = embedded_store.find_server(settings)

    def __enter__(self) -> Self:
        first = self.servers[0]
        for port in self.servers:
            self.start(port, replica_of=None if port == first else first)
        for port in self.sentinels:
            self._start_sentinel(port)
        until(lambda: all(map(self._is_complete, self.sentinels)), _SECONDS_TO_START, every=0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self._clients.values():
            client.close()
        for port in list(self._processes):
            self.resume(port)
            self.kill(port)

    def client(self, port: int) -> Redis:
        """A client of one server or Sentinel, whatever its role."""
        if port not in self._clients:
            self._clients[port] = Redis(
                port=port,
                decode_responses=True,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=1.0,
            )
        return self._clients[port]

    def start(self, port: int, replica_of: int | None = None) -> None:
        """Starts a server with what its directory holds."""
        directory = self._directory / str(port)
        directory.mkdir(exist_ok=True)
        options = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(directory),
            "logfile": str(directory / "log"),
            "appendonly": "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": "0",
            **self._options,
        }
        if replica_of is not None:
            options["replicaof"] = f"127.0.0.1 {replica_of}"
        file = directory / "server.conf"
        if not file.exists():
            # A file, so that a change of roles outlives a restart.
            lines = [f"{name} {value}\n" for name, value in options.items()]
            file.write_text("".join(lines))
        self._run(port, str(file))
        until(lambda: self._answers(port), _SECONDS_TO_START)

    def kill(self, port: int) -> None:
        """kill -9."""
        process = self._processes.pop(port)
        self._leash.end(process, signal.SIGKILL, seconds=10)

    def hang(self, port: int) -> None:
        """It takes connections, and never answers."""
        self._processes[port].send_signal(signal.SIGSTOP)

    def resume(self, port: int) -> None:
        self._processes[port].send_signal(signal.SIGCONT)

    def master(self) -> int:
        """The server that a majority of the Sentinels takes for the master; 0 if there is none."""
        said = [self._said_by(port) for port in self.sentinels]
        return next((port for port in self.servers if said.count(port) > len(said) / 2), 0)

    def wait_for_another(self, than: int) -> int:
        """Waits for the end of a failover; the port of the new master."""

        def another() -> int:
            port = self.master()
            return port if port not in (0, than) and self._is_master(port) else 0

        return until(another, _SECONDS_TO_FAIL_OVER, every=0.05)

    def wait_for_replicas(self, count: int) -> None:
        """Waits until the master has this many replicas that keep up with it."""

        def enough() -> bool:
            try:
                found = self.client(self.master()).info("replication")
            except (RedisError, KeyError):
                return False
            states = [found.get(f"slave{n}", {}).get("state") for n in range(_SERVERS)]
            return states.count("online") >= count

        until(enough, _SECONDS_TO_FAIL_OVER, every=0.05)

    def _start_sentinel(self, port: int) -> None:
        directory = self._directory / str(port)
        directory.mkdir()
        file = directory / "sentinel.conf"
        lines = (
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {directory}",
            f"logfile {directory / 'log'}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self.servers[0]} 2",
            f"sentinel down-after-milliseconds {MASTER} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {MASTER} 5000",
            f"sentinel parallel-syncs {MASTER} 2",
            "",
        )
        file.write_text("\n".join(lines))
        self._run(port, str(file), "--sentinel")
        until(lambda: self._answers(port), _SECONDS_TO_START)

    def _run(self, port: int, *arguments: str) -> None:
        self._processes[port] = self._leash.run(str(self._binary), *arguments)

    def _answers(self, port: int) -> bool:
        assert self._processes[port].poll() is None, (
            self._directory / str(port) / "log"
        ).read_text()
        try:
            return bool(self.client(port).ping())
        except RedisError:
            return False

    def _is_complete(self, sentinel: int) -> bool:
        """Whether a Sentinel knows the replicas and the other Sentinels."""
        state = self.client(sentinel).sentinel_master(MASTER)
        return state["num-slaves"] == 2 and state["num-other-sentinels"] == 2

    def _is_master(self, port: int) -> bool:
        try:
            return self.client(port).info("replication")["role"] == "master"
        except RedisError:
            return False

    def _said_by(self, sentinel: int) -> int:
        try:
            address = self.client(sentinel).sentinel_get_master_addr_by_name(MASTER)
        except RedisError:
            return 0
        return address[1] if address else 0
