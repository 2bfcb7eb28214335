"""What tests share: a Redis, the real server and the fake one, a clock, and a browser."""

import gc
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fakeredis
import pytest
from playwright.sync_api import Browser, sync_playwright
from redis import Redis
from redis.exceptions import ConnectionError

from app import embedded_store
from app.services import connect
from config import Settings


def pytest_xdist_auto_num_workers() -> int:
    """More processes than cores: many tests wait for a deadline or for a process of their own."""
    return max(3, (os.cpu_count() or 1) * 3 // 2)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: no garbage is looked for in it."""
    gc.freeze()


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The address of a real server of this test run's own."""
    with tempfile.TemporaryDirectory(prefix="sp-") as directory:
        settings = Settings.from_env({"DATA_DIR": directory})
        server = embedded_store.find_server(settings)
        command = embedded_store.command(server, settings)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            client = connect(settings.redis_url)
            deadline = time.monotonic() + 10
            while True:
                try:
                    client.ping()
                    break
                except ConnectionError:
                    assert process.poll() is None, Path(directory, "valkey.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            client.close()
            yield settings.redis_url
            process.terminate()


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[Redis]:
    """A client of the real server, empty at first."""
    client = connect(valkey_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(params=["fake", "real"])
def redis(request: pytest.FixtureRequest) -> Redis:
    """A client of the fake server and then of the real one: the same holds over both."""
    if request.param == "fake":
        return fakeredis.FakeRedis(decode_responses=True)
    return request.getfixturevalue("valkey")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One real browser for all suites: Playwright does not start twice in a process."""
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    path = next((path for path in found if path), None)
    # The sandbox does not work for root, as which a container often runs.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
