"""The application under test, over the fake server and over the real one."""

from collections.abc import Callable, Iterator

import fakeredis
import pytest
import structlog
from flask import Flask
from redis import Redis

from app.api import context
from app.factory import create_app
from app.services import Services, build
from config import Settings
from tests.api.caller import KEYS, Caller
from tests.conftest import FakeClock

MakeApp = Callable[..., Flask]


def services_over(redis: Redis, clock: FakeClock, **environment: str) -> Services:
    environment = {
        "REDIS_URL": "redis://not.asked.example",
        "API_KEYS": ",".join(f"{name}:{secret}" for name, secret in KEYS.items()),
        "SECRET_KEY": "0123456789" * 4,
        "SIMULATOR": "on",
        "PUBLIC_URL": "https://mail.example.com",
        **environment,
    }
    return build(Settings.from_env(environment), redis, clock)


def make(redis: Redis, clock: FakeClock, **environment: str) -> Flask:
    return create_app(services_over(redis, clock, **environment))


@pytest.fixture(scope="session")
def fake() -> tuple[Flask, Redis, FakeClock]:
    """An app over the fake server, made once: what tests leave behind is removed before each."""
    redis, clock = fakeredis.FakeRedis(decode_responses=True), FakeClock()
    return make(redis, clock), redis, clock


@pytest.fixture
def app(fake: tuple[Flask, Redis, FakeClock]) -> Flask:
    app, redis, clock = fake
    redis.flushall()
    clock.now = FakeClock().now
    return app


@pytest.fixture
def clock(fake: tuple[Flask, Redis, FakeClock]) -> FakeClock:
    """The clock of `app` and of what `make_app` makes."""
    return fake[2]


@pytest.fixture
def shop(app: Flask) -> Caller:
    return Caller(app, "shop")


@pytest.fixture
def office(app: Flask) -> Caller:
    return Caller(app, "office")


@pytest.fixture
def nobody(app: Flask) -> Caller:
    """A caller without a key."""
    return Caller(app, None)


@pytest.fixture
def make_app(clock: FakeClock) -> MakeApp:
    """Makes an app of its own, with settings of its own."""
    return lambda redis, **environment: make(redis, clock, **environment)


@pytest.fixture(scope="session")
def made() -> Flask:
    """An application, made once: to make the routes and their document takes long."""
    return make(fakeredis.FakeRedis(), FakeClock())


@pytest.fixture
def app_over_redis(made: Flask, redis: Redis, clock: FakeClock) -> Flask:
    """An application over the fake server and then over the real one.

    Its services are of this test's own; the application keeps nothing else.
    """
    context.register(made, services_over(redis, clock))
    return made


@pytest.fixture(autouse=True)
def log() -> Iterator[list[structlog.typing.EventDict]]:
    """What was logged, line by line."""
    with structlog.testing.capture_logs() as lines:
        yield lines
