"""A simulator on free ports, in a thread of the test's process."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from providers.base import Provider as Sender
from providers.base import Timeouts
from providers.registry import load
from simulator.credentials import Credentials
from simulator.server import Simulator
from simulator.switches import Provider

CREDENTIALS = Credentials(
    mailgun_api_key="key-0123456789abcdef0123456789abcdef",
    mailgun_domain="mg.steadpost.example",
    sendgrid_api_key="SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    aws_access_key_id="AKIAABCDEFGHIJKLMNOP",
    aws_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    aws_region="eu-west-1",
    postmark_server_token="0d1c2b3a-1111-4222-8333-444455556666",
    resend_api_key="re_0123456789abcdef0123456789abcdef",
    mandrill_api_key="md-aaaaaaaaaaaaaaaaaaaaaa",
)


class Running:
    """A simulator that listens, and a client's view of it."""

    def __init__(self, simulator: Simulator, session: requests.Session) -> None:
        self.simulator = simulator
        self.session = session
        self.credentials = CREDENTIALS
        self.url = f"http://127.0.0.1:{simulator.port}"

    def own_url(self, provider: str) -> str:
        return self.simulator.base_url(Provider(provider))

    def set(self, provider: str, mode: str, **more: Any) -> None:
        answer = self.session.post(f"{self.url}/control/{provider}", json={"mode": mode, **more})
        assert answer.status_code == 200, answer.text

    def mails(self) -> list[dict[str, Any]]:
        mails: list[dict[str, Any]] = self.session.get(f"{self.url}/inbox.json").json()["mails"]
        return mails

    def mail(self) -> dict[str, Any]:
        (mail,) = self.mails()
        return mail


def configured(running: Running, provider: str, timeouts: Timeouts) -> Sender:
    """The provider's class, set up for the simulator."""
    values = {
        "MAILGUN_API_KEY": CREDENTIALS.mailgun_api_key,
        "MAILGUN_DOMAIN": CREDENTIALS.mailgun_domain,
        "SENDGRID_API_KEY": CREDENTIALS.sendgrid_api_key,
        "SENDGRID_ACTIVITY": "on",
        "AWS_ACCESS_KEY_ID": CREDENTIALS.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.aws_secret_access_key,
        "AWS_REGION": CREDENTIALS.aws_region,
        "POSTMARK_SERVER_TOKEN": CREDENTIALS.postmark_server_token,
        "RESEND_API_KEY": CREDENTIALS.resend_api_key,
        "MANDRILL_API_KEY": CREDENTIALS.mandrill_api_key,
        f"{provider.upper()}_BASE_URL": running.own_url(provider),
    }
    return load(provider).configure(values, timeouts)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def running(session: requests.Session) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    ports = {provider.value: 0 for provider in Provider}
    simulator = Simulator(CREDENTIALS, api_ports=ports)

    async def serve(stopped: asyncio.Event, opened: threading.Event) -> None:
        simulator.open()
        opened.set()
        await stopped.wait()
        simulator.close()
        # Connections that were dropped say so to their protocols in the next turn.
        await asyncio.sleep(0)

    stopped, opened = asyncio.Event(), threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(stopped, opened),))
    thread.start()
    assert opened.wait(5)
    yield Running(simulator, session)
    loop.call_soon_threadsafe(stopped.set)
    thread.join(5)
    loop.close()


@pytest.fixture(params=[provider.value for provider in Provider])
def provider(request: pytest.FixtureRequest) -> str:
    """Each of them in turn."""
    name: str = request.param
    return name
