"""Webhooks as each provider's class reads them, and how they are sent."""

import asyncio
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from typing import ClassVar

import pytest

from config import Settings, simulated_signing_key, simulator_environment
from providers.base import Timeouts
from providers.registry import load
from providers.types import Bounce, EventType
from providers.webhooks import NotAuthentic, WebhookRequest
from simulator.journal import Record
from simulator.signing import Signer, SigningKeys
from simulator.switches import Provider
from simulator.telling import TELLINGS
from simulator.webhooks import Webhooks

KINDS = {"bounce": Bounce.HARD, "block": Bounce.BLOCK}
PUBLIC_URL = "https://mail.shop.example"
SETTINGS = Settings.from_env(
    {
        "REDIS_URL": "redis://127.0.0.1/0",
        "API_KEYS": "shop:0123456789abcdef",
        "SECRET_KEY": "s" * 32,
        "SIMULATOR": "on",
    }
)
ENVIRONMENT = simulator_environment(SETTINGS)
NOW = 1_795_461_034.0
BECOMES = {
    "ann": [EventType.DELIVERED],
    "bounce": [EventType.BOUNCED],
    "block": [EventType.BOUNCED],
    "complaint": [EventType.DELIVERED, EventType.COMPLAINED],
    "defer": [EventType.DEFERRED],
}


@pytest.fixture(scope="module")
def signer():
    signing_key = simulated_signing_key(SETTINGS)
    return Signer(SigningKeys.from_environment(ENVIRONMENT, signing_key, PUBLIC_URL))


@pytest.fixture
def reader(provider):
    reader = load(provider).configure(ENVIRONMENT, Timeouts())
    yield reader
    reader.close()


def record(provider, *people):
    emails = tuple(f"{person}@example.net" for person in people)
    return Record(
        number=7,
        accepted_at=NOW,
        provider=Provider(provider),
        message_id="m-1",
        sender="orders@shop.example",
        to=emails,
        recipients=emails,
        subject="Your order",
        tags=(),
        variables={"attempt_id": "at-1", "recipients": str(len(emails))},
    )


def told(provider, *people):
    return [event for _, event in TELLINGS[Provider(provider)].tell(record(provider, *people))]


def read(reader, signed, signer):
    return reader.read_webhook(
        WebhookRequest(
            url=f"{PUBLIC_URL}/webhooks/{reader.name}",
            headers={name.lower(): value for name, value in signed.headers},
            body=signed.body,
            received_at=datetime.fromtimestamp(NOW, UTC),
            fetch=lambda url: signer.certificate,
        )
    )


@pytest.mark.parametrize("person", BECOMES)
def test_what_becomes_of_a_mail_is_told_in_the_providers_words(signer, reader, provider, person):
    events = []
    for event in told(provider, person):
        content = read(reader, signer.signed(Provider(provider), [event], NOW), signer)
        assert content.ignored == ()
        events += content.events

    assert {event.attempt_id for event in events} == {"at-1"}
    assert {event.recipient for event in events} <= {f"{person}@example.net", ""}
    types = [kind for kind, _ in groupby(event.type for event in events)]
    accepted = [] if provider == "postmark" else [EventType.ACCEPTED]
    assert types == accepted + BECOMES[person]
    kinds = {event.bounce for event in events if event.bounce}
    assert kinds == {kind for name, kind in KINDS.items() if name == person}


def test_what_is_told_twice_has_the_same_id(signer, reader, provider):
    def ids():
        contents = [
            read(reader, signer.signed(Provider(provider), [event], NOW), signer)
            for event in told(provider, "ann", "bounce", "complaint")
        ]
        return [event.id for content in contents for event in content.events]

    # SNS numbers what it carries: what is told twice has two ids there.
    assert (ids() == ids()) is (provider != "ses")
    assert len(set(ids())) == len(ids())


def test_what_somebody_else_signed_is_not_believed(signer, reader, provider):
    for event in told(provider, "ann", "bounce"):
        forged = TELLINGS[Provider(provider)].forge(event)
        with pytest.raises(NotAuthentic):
            read(reader, signer.signed(Provider(provider), [forged], NOW, False), signer)
        # Well signed, it would be bad news.
        bad = read(reader, signer.signed(Provider(provider), [forged], NOW), signer).events
        assert {event.type for event in bad} == {EventType.COMPLAINED}


@pytest.mark.parametrize("provider", ["sendgrid", "mandrill"], indirect=True)
def test_a_batch_is_read_whole(signer, reader, provider):
    events = told(provider, "ann", "bounce", "defer")
    content = read(reader, signer.signed(Provider(provider), events, NOW), signer)

    assert len(content.events) == len(events)


def test_an_event_of_resend_does_not_say_whose_it_is():
    events = told("resend", "ann", "bounce")

    assert {tuple(event["data"]["to"]) for event in events} == {
        ("ann@example.net", "bounce@example.net")
    }
    assert [event["type"] for event in events] == [
        "email.sent",
        "email.delivered",
        "email.bounced",
    ]


class Receiver(BaseHTTPRequestHandler):
    """Answers with `statuses` in turn, the last one again and again; notes the paths of calls."""

    protocol_version = "HTTP/1.1"
    statuses: ClassVar[list[int]] = []
    paths: ClassVar[list[str]] = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path)
        self.send_response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    Receiver.paths.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def sent(receiver, signer):
    """Tells of one mail; what comes of it, counted."""

    def sent(provider, statuses, *people):
        Receiver.statuses[:] = statuses
        told = replace(record(provider, *people), accepted_at=time.time())
        return asyncio.run(tell(Webhooks(receiver, signer), told))

    return sent


async def tell(webhooks, told):
    # SNS has its answer, so that its question is not among the calls.
    webhooks.confirmed = True
    webhooks.open()
    webhooks.on_mail(told)
    async with asyncio.timeout(10):
        while webhooks.pending:  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0.01)
    webhooks.close()
    # The connections end in the next turns.
    await asyncio.sleep(0.05)
    return dict(webhooks.counts)


def test_webhooks_come_to_the_providers_own_address(sent, provider):
    counts = sent(provider, [200], "ann")

    assert set(Receiver.paths) == {f"/webhooks/{provider}"}
    assert counts == {"genuine_taken": len(told(provider, "ann"))}


@pytest.mark.parametrize("provider", ["sendgrid", "mandrill"], indirect=True)
def test_events_that_are_due_together_come_together(sent, provider):
    counts = sent(provider, [200], *(f"a{number}" for number in range(10)))

    assert counts == {"genuine_taken": 20}
    assert len(Receiver.paths) < 20


@pytest.mark.parametrize(
    ("provider", "status"),
    [("mailgun", 406), ("ses", 400), ("postmark", 403)],
    indirect=["provider"],
)
def test_some_answers_are_the_last_word(sent, provider, status):
    counts = sent(provider, [status], "bounce")

    assert counts == {"genuine_refused": len(told(provider, "bounce"))}
    assert len(Receiver.paths) == len(told(provider, "bounce"))


def test_what_is_not_taken_is_sent_again(sent, provider):
    counts = sent(provider, [503, 200], "bounce")

    assert counts["retried"] == 1
    assert counts["genuine_taken"] == len(told(provider, "bounce"))
