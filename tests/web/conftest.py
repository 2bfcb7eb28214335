"""The pages over a fake Redis, and a visitor who sees them as a browser would."""

import re
from dataclasses import dataclass, replace
from html import unescape

import fakeredis
import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from app.api import context
from app.factory import create_app
from app.services import Services, build
from config import Settings
from tests.conftest import FakeClock

KEY = "shop-secret-0123456789"
OTHER_KEY = "blog-secret-0123456789"
ENVIRONMENT = {
    "REDIS_URL": "redis://127.0.0.1:1",
    "API_KEYS": f"shop:{KEY},blog:{OTHER_KEY}",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
MAIL = {
    "from": "Shop <orders@shop.example>",
    "to": "Ann <ann@example.net>",
    "subject": "Your order",
    "text": "It is on its way.",
}


@dataclass
class Visitor:
    """A browser without scripts: it keeps cookies and sends forms as they stand on their page."""

    client: Client

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers={**BROWSER, **headers})

    def post(self, path: str, fields: dict[str, str], **headers: str) -> TestResponse:
        sent = {"Sec-Fetch-Site": "same-origin", **BROWSER, **headers}
        return self.client.post(path, data=fields, headers=sent)

    def submit(self, page: str, action: str, fields: dict[str, str]) -> TestResponse:
        """Fills the form with this action on that page in, and sends it."""
        return self.post(action, {**hidden_fields(self.get(page).text, action), **fields})

    def log_in(self, key: str = KEY) -> TestResponse:
        return self.submit("/login", "/login", {"key": key})

    def send(self, **fields: str) -> TestResponse:
        return self.submit("/", "/", {**MAIL, **fields})


def hidden_fields(page: str, action: str) -> dict[str, str]:
    form = re.search(
        rf'<form method="post" action="{re.escape(action)}".*?</form>', page, re.DOTALL
    )
    assert form, f"no form for {action}"
    pairs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[0])
    return {name: unescape(value) for name, value in pairs}


@pytest.fixture
def redis_server() -> fakeredis.FakeServer:
    """The server behind the fake client; `connected = False` takes it away."""
    return fakeredis.FakeServer()


@pytest.fixture
def redis_client(redis_server: fakeredis.FakeServer) -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis(server=redis_server, decode_responses=True)


@pytest.fixture
def services(redis_client: fakeredis.FakeRedis, clock: FakeClock) -> Services:
    return build(Settings.from_env(ENVIRONMENT), redis_client, clock)


@pytest.fixture(scope="session")
def made() -> Flask:
    """An application, made once: to make the routes and their document takes long."""
    return create_app(build(Settings.from_env(ENVIRONMENT), fakeredis.FakeRedis()))


@pytest.fixture
def app(made: Flask, services: Services) -> Flask:
    """The application with services of this test's own: it keeps nothing else."""
    context.register(made, services)
    return made


@pytest.fixture
def stranger(app: Flask) -> Visitor:
    """Somebody who is not logged in."""
    return Visitor(app.test_client())


@pytest.fixture
def visitor(stranger: Visitor) -> Visitor:
    """Somebody who is logged in with the key `shop`."""
    assert stranger.log_in().status_code == 303
    return stranger


def with_settings(services: Services, **changes: str) -> Visitor:
    """A visitor of an application with other settings, over the same store."""
    settings = Settings.from_env({**ENVIRONMENT, **changes})
    return Visitor(create_app(replace(services, settings=settings)).test_client())
