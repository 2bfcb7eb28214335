"""The whole service as real processes, as `make run` starts it, for tests that want it whole."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.waiting import until

ROOT = Path(__file__).parent.parent


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Live:
    """A running service with its simulator; `settings` go into its environment."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.port, self.simulator_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.simulator = f"http://127.0.0.1:{self.simulator_port}"
        self.output = data_dir.with_suffix(".log")
        self.http = requests.Session()
        self.http.trust_env = False
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "SIMULATOR_PORT": str(self.simulator_port),
            "SIMULATOR": "on",
            # A mail that was sent stays so, unless a test is about what comes after.
            "SIMULATOR_WEBHOOKS": "off",
            "WEB_PROCESSES": "1",
            "WORKER_PROCESSES": "1",
            "LOG_FORMAT": "json",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it greets."""
        with self.output.open("ab") as output:
            before = output.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "run"],
                cwd=ROOT,
                env=self._environment,
                stdout=output,
                stderr=output,
            )

        def greets() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.said()
            return b"Steadpost runs" in self.output.read_bytes()[before:]

        until(greets, seconds=30)
        key = (self.data_dir / "api-key").read_text().strip()
        self.http.headers["Authorization"] = f"Bearer {key}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)

    def said(self) -> str:
        return self.output.read_text()

    def send(self, to: str = "ann@example.net", **fields: Any) -> str:
        """Hands a mail over; returns its id."""
        answer = self.http.post(
            f"{self.url}/messages",
            json={
                "from": "Shop <orders@shop.example>",
                "to": to,
                "subject": "Your order",
                "text": "It is on its way.",
                **fields,
            },
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def status(self, message_id: str) -> dict[str, Any]:
        answer = self.http.get(f"{self.url}/status/{message_id}")
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status

    def until_status(self, message_id: str, *states: str, seconds: float = 20.0) -> dict[str, Any]:
        """The status as soon as it is one of these."""

        def reached() -> dict[str, Any] | None:
            status = self.status(message_id)
            return status if status["status"] in states else None

        return until(reached, seconds, every=0.02)

    def switch(self, provider: str, mode: str, **more: Any) -> None:
        """Sets a provider of the simulator to a mode."""
        answer = self.http.post(f"{self.simulator}/control/{provider}", json={"mode": mode, **more})
        assert answer.status_code == 200, answer.text

    def inbox(self, message_id: str) -> list[str]:
        """The providers that took the message, once for each time, in order."""
        mails = self.http.get(f"{self.simulator}/inbox.json", params={"limit": 1000}).json()
        taken = [m for m in mails["mails"] if m["attempt_id"].startswith(f"{message_id}-")]
        return [mail["provider"] for mail in reversed(taken)]


@contextmanager
def running(**settings: str) -> Iterator[Live]:
    """A service of its own, stopped and removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="sp-"))
    live = Live(directory / "data", **settings)
    try:
        live.start()
        yield live
    finally:
        live.stop()
        shutil.rmtree(directory)
