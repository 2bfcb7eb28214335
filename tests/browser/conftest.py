"""Everything as `make run` starts it, and a real browser in front of it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from app import ports
from tests.waiting import until

ROOT = Path(__file__).parents[2]
SECONDS_TO_START = 90.0
SECONDS_TO_STOP = 30.0
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}
KEY = "the-key-of-the-shop"
EMPTY_KEY = "a-key-that-sends-nothing"


@dataclass(frozen=True, slots=True)
class Steadpost:
    """A running service with its simulator."""

    url: str
    simulator_url: str
    login_link: str

    def switch(self, mode: str, *providers: str, seconds: float = 1.0) -> None:
        """Sets the switches of these providers, or of all."""
        for path in [f"/control/{name}" for name in providers] or ["/control"]:
            content = {"mode": mode, "seconds": seconds}
            requests.post(self.simulator_url + path, json=content, timeout=10).raise_for_status()

    def mails(self, subject: str) -> list[dict[str, Any]]:
        """What arrived in the simulator's inbox under this subject."""
        answer = requests.get(f"{self.simulator_url}/inbox.json", timeout=10).json()
        return [mail for mail in answer["mails"] if mail["subject"] == subject]

    def unsubscribe_path(self, subject: str) -> str:
        """Where the link leads by which the recipient of this mail unsubscribes."""
        (mail,) = until(lambda: self.mails(subject))
        headers = {header["name"].lower(): header["value"] for header in mail["headers"]}
        return str(headers["list-unsubscribe"]).strip("<>").removeprefix(self.url)

    def messages(self, subject: str) -> list[dict[str, Any]]:
        """What the service was given under this subject."""
        return [m for m in self.call("GET", "/messages")["messages"] if m["subject"] == subject]

    def send(self, subject: str, **fields: Any) -> str:
        """Sends a mail by the API; the path of its page."""
        mail = {
            "from": "Shop <orders@shop.example>",
            "to": ["Ann <ann@example.net>"],
            "subject": subject,
            "text": "It is on its way.",
            **fields,
        }
        return f"/outbox/{self.call('POST', '/messages', json=mail)['id']}"

    def call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = requests.request(method, self.url + path, headers=headers, timeout=10, **more)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steadpost]:
    directory = tmp_path_factory.mktemp("steadpost")
    web, simulator = ports.free_ports(2, "127.0.0.1")
    environment = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(directory / "data"),
        "API_KEYS": f"shop:{KEY},empty:{EMPTY_KEY}",
        "PORT": str(web),
        "SIMULATOR_PORT": str(simulator),
        "SIMULATOR_WEBHOOKS": "off",
        "CALLBACK_ALLOW_PRIVATE": "on",
        "PROVIDER_QUOTAS": "ses:1000/s+50000/day",
        "WEB_PROCESSES": "1",
        "WORKER_PROCESSES": "1",
        "CONNECT_TIMEOUT": "1s",
        "READ_TIMEOUT": "3s",
        "SEND_DEADLINE": "4s",
        "RETRY_SCHEDULE": "2s",
        "SWEEP_INTERVAL": "1s",
        "BREAKER_FAILURES": "1000",
        "BREAKER_COOLDOWN": "1s",
        "UNKNOWN_GRACE": "1s",
        "LOG_FORMAT": "logfmt",
    }
    log = directory / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "app.cli", "run"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:

        def link() -> re.Match[str] | None:
            assert process.poll() is None, log.read_text()
            return re.search(r"http\S+/login/\S+", log.read_text())

        yield Steadpost(
            url=f"http://127.0.0.1:{web}",
            simulator_url=f"http://127.0.0.1:{simulator}",
            login_link=until(link, SECONDS_TO_START)[0],
        )
    finally:
        process.terminate()
        process.wait(SECONDS_TO_STOP)


@pytest.fixture
def steadpost(running: Steadpost) -> Steadpost:
    """The service, with all providers up at first."""
    running.switch("up")
    return running


@dataclass
class Visit:
    """One person's browser. What it complains about fails the test, CSP violations included."""

    context: BrowserContext
    page: Page
    steadpost: Steadpost
    complaints: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)

    def watch(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def go(self, path: str) -> Page:
        self.page.goto(self.steadpost.url + path)
        return self.page

    def log_in(self, key: str = KEY) -> Page:
        self.go("/login")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(self.steadpost.url + "/")
        return self.page

    def expect(self, *complaints: str) -> None:
        """What the browser may complain about, such as a page that answers 422."""
        self.expected.update(complaints)

    def unexpected(self) -> list[str]:
        return [c for c in self.complaints if not any(text in c for text in self.expected)]


@pytest.fixture
def visit(
    request: pytest.FixtureRequest, steadpost: Steadpost, chromium: Browser
) -> Iterator[Visit]:
    """A fresh browser; parametrized indirectly by options of its context."""
    options = {"viewport": DESKTOP, **getattr(request, "param", {})}
    context = chromium.new_context(**options)
    context.set_default_timeout(15_000)
    visit = Visit(context, context.new_page(), steadpost)
    visit.watch()
    yield visit
    context.close()
    assert visit.unexpected() == []
