"""The judge: the simulator in a process of its own, outside of the service and its supervisor.

It writes down the attempt's id of every mail that it takes before it answers, and outlives whatever
happens to the service.
"""

import secrets
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from app import ports
from config import Settings, simulator_environment
from tests.chaos.leash import Leash
from tests.chaos.ledger import Arrival
from tests.waiting import until

PROVIDERS = ("mailgun", "sendgrid", "ses")
MODES = (
    "refuse-connections",
    "http-500",
    "http-503",
    "rate-limit",
    "unauthorized",
    "unverified-sender",
    "slow",
    "timeout-before-accept",
    "timeout-after-accept",
    "reset-after-accept",
    "garbage-200",
)
_PAGE = 50_000


class Judge:
    """Three providers on real sockets; `environment` is what leads a service to them."""

    def __init__(self, directory: Path, leash: Leash) -> None:
        port, *api_ports = ports.free_ports(1 + len(PROVIDERS), "127.0.0.1")
        pairs = zip(PROVIDERS, api_ports, strict=True)
        self._own_environment = {
            "DATA_DIR": str(directory / "judge"),
            "SECRET_KEY": secrets.token_urlsafe(32),
            "SIMULATOR": "on",
            "SIMULATOR_WEBHOOKS": "off",
            "SIMULATOR_PORT": str(port),
            "SIMULATOR_API_PORTS": ",".join(f"{name}:{port}" for name, port in pairs),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "warning",
        }
        self.environment = simulator_environment(Settings.from_env(self._own_environment))
        self._url = f"http://127.0.0.1:{port}"
        self._log = directory / "judge.log"
        self._leash = leash
        self._http = requests.Session()
        self._http.trust_env = False

    def __enter__(self) -> Self:
        with self._log.open("ab") as output:
            self._process = self._leash.start(["simulator"], self._own_environment, output)
        until(self._answers, seconds=20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
        self._leash.end(self._process, signal.SIGTERM, seconds=5)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._http.get(f"{self._url}/control", timeout=5).ok
        except requests.ConnectionError:
            return False

    def switch(self, provider: str, mode: str, seconds: float = 1.0) -> None:
        """Sets one provider to a mode of the simulator."""
        self._post(provider, mode, seconds)

    def switch_all(self, mode: str, seconds: float = 1.0) -> None:
        for provider in PROVIDERS:
            self._post(provider, mode, seconds)

    def _post(self, provider: str, mode: str, seconds: float) -> None:
        answer = self._http.post(
            f"{self._url}/control/{provider}", json={"mode": mode, "seconds": seconds}, timeout=10
        )
        assert answer.status_code == 200, answer.text

    def arrivals(self) -> list[Arrival]:
        """Every mail that was taken, in order."""
        found: list[Arrival] = []
        since: int | None = 0
        while since is not None:
            page = self._http.get(
                f"{self._url}/attempts.json", params={"since": since, "limit": _PAGE}, timeout=30
            ).json()
            assert page["first"] == since, "the simulator has forgotten what it took"
            found += [(provider, attempt_id) for provider, attempt_id in page["attempts"]]
            since = page["next"]
        return found
