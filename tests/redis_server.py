"""A server of a test's own, with the options that it wants, which can be killed and hung."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import ConnectionError

from app import embedded_store
from app.ports import free_ports
from config import Settings
from tests.waiting import until


class Server:
    """On a loopback port. `option_name="value"` stands for `option-name value`."""

    def __init__(self, **options: str) -> None:
        (self.port,) = free_ports(1, "127.0.0.1")
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = {name.replace("_", "-"): value for name, value in options.items()}

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="sp-")
        settings = Settings.from_env({"DATA_DIR": self._directory.name})
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": self._directory.name,
            "logfile": str(Path(self._directory.name, "log")),
            "save": "",
            "repl-diskless-sync-delay": "0",
            **self._options,
        }
        self._process = subprocess.Popen(
            [
                str(embedded_store.find_server(settings)),
                *(
                    word
                    for name, value in options.items()
                    for word in (f"--{name}", *value.split(" "))
                ),
            ],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.admin = Redis(port=self.port, decode_responses=True)
        until(self._answers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.admin.close()
        # With a child that may be rewriting the AOF.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._directory.cleanup()

    def hang(self) -> None:
        """It takes connections, and never answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def replicate(self, other: "Server") -> None:
        """Becomes a replica of the other one."""
        self.admin.replicaof("127.0.0.1", other.port)
        until(lambda: other.admin.info("replication").get("slave0", {}).get("state") == "online")

    def is_followed(self) -> bool:
        """Whether a replica confirms writes at once; a new one takes its time for the first."""

        def confirmed() -> bool:
            self.admin.set("latest", "write")
            return self.admin.wait(1, 50) == 1

        return all(confirmed() for _ in range(3))

    def _answers(self) -> bool:
        assert self._process.poll() is None, Path(self._directory.name, "log").read_text()
        try:
            return bool(self.admin.ping())
        except ConnectionError:
            return False
