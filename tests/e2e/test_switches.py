"""Every switch of the simulator, on real processes: what arrives, and what the status tells."""

import time
from collections.abc import Iterator

import pytest

from tests.live import Live, running
from tests.waiting import until

PROVIDERS = ("mailgun", "sendgrid", "ses")


@pytest.fixture(scope="module")
def service() -> Iterator[Live]:
    with running(
        CONNECT_TIMEOUT="1s",
        READ_TIMEOUT="1s",
        SEND_DEADLINE="3s",
        LEASE_SECONDS="6s",
        SWEEP_INTERVAL="0.5s",
        RETRY_SCHEDULE="0.5s,1s",
        BREAKER_COOLDOWN="0.2s",
        UNKNOWN_GRACE="0.4s",
    ) as live:
        yield live


@pytest.fixture
def live(service: Live) -> Iterator[Live]:
    yield service
    for provider in reversed(PROVIDERS):
        service.switch(provider, "up")
        # What a provider refused, and how long it wanted to rest, is remembered.
        answer = service.http.post(f"{service.url}/providers/{provider}/resume")
        assert answer.status_code == 200, answer.text

    def mailgun_is_asked() -> bool:
        return bool(service.until_status(service.send(), "sent")["provider"] == "mailgun")

    # The worker believes for a moment what it read last.
    until(mailgun_is_asked)


FAILS_OVER = {
    "refuse-connections": ("unavailable", None),
    "http-503": ("unavailable", None),
    "rate-limit": ("unavailable", None),
    "unauthorized": ("refused", "account"),
    "unverified-sender": ("refused", "sender"),
    "http-500": ("unknown", None),
    "timeout-before-accept": ("unknown", None),
    "garbage-200": ("unknown", None),
}
TAKEN_WITHOUT_A_WORD = ("timeout-after-accept", "reset-after-accept")


@pytest.mark.parametrize("mode", FAILS_OVER)
def test_a_mail_arrives_at_the_next_provider(live, mode):
    live.switch("mailgun", mode)
    # A domain of its own: that a sender was refused is remembered for a while.
    message_id = live.send(**{"from": f"orders@{mode}.example"})
    status = live.until_status(message_id, "sent")
    outcome, scope = FAILS_OVER[mode]
    first, second = status["attempts"]
    assert (first["provider"], first["outcome"], first["scope"]) == ("mailgun", outcome, scope)
    assert first["reason"]
    assert (second["provider"], second["outcome"]) == ("sendgrid", "accepted")
    assert status["provider"] == "sendgrid"
    assert status["possible_duplicate"] is (outcome == "unknown")
    assert live.inbox(message_id) == ["sendgrid"]


@pytest.mark.parametrize("on_unknown", ["failover", "hold"])
@pytest.mark.parametrize("mode", TAKEN_WITHOUT_A_WORD)
def test_what_mailgun_took_without_a_word_is_found_in_its_events(live, mode, on_unknown):
    live.switch("mailgun", mode)
    message_id = live.send(on_unknown=on_unknown)
    status = live.until_status(message_id, "sent")
    (attempt,) = status["attempts"]
    assert (attempt["provider"], attempt["outcome"]) == ("mailgun", "unknown")
    assert attempt["evidence"]["source"] == "events"
    assert attempt["evidence"]["finding"] == "accepted"
    assert status["provider"] == "mailgun"
    assert not status["possible_duplicate"]
    assert live.inbox(message_id) == ["mailgun"]


@pytest.mark.parametrize("mode", TAKEN_WITHOUT_A_WORD)
def test_a_second_copy_where_nobody_can_be_asked_is_flagged(live, mode):
    live.switch("ses", mode)
    message_id = live.send(providers=["ses", "sendgrid"])
    status = live.until_status(message_id, "sent")
    assert [(a["provider"], a["outcome"], a["evidence"]) for a in status["attempts"]] == [
        ("ses", "unknown", None),
        ("sendgrid", "accepted", None),
    ]
    assert status["provider"] == "sendgrid"
    assert status["possible_duplicate"]
    assert live.inbox(message_id) == ["ses", "sendgrid"]


@pytest.mark.parametrize("mode", ["up", "slow"])
def test_a_provider_that_is_up_takes_it_alone(live, mode):
    live.switch("mailgun", mode, **({"seconds": 0.5} if mode == "slow" else {}))
    message_id = live.send()
    status = live.until_status(message_id, "sent")
    assert [a["outcome"] for a in status["attempts"]] == ["accepted"]
    assert live.inbox(message_id) == ["mailgun"]
    assert not status["possible_duplicate"]


@pytest.mark.parametrize(
    ("first", "mode"),
    [("mailgun", "http-500"), *(("ses", mode) for mode in TAKEN_WITHOUT_A_WORD)],
)
def test_on_hold_no_second_copy_is_sent(live, first, mode):
    live.switch(first, mode)
    message_id = live.send(on_unknown="hold", providers=[first, "sendgrid"])
    status = live.until_status(message_id, "unknown")
    assert [a["outcome"] for a in status["attempts"]] == ["unknown"]
    assert len(live.inbox(message_id)) <= 1
    assert not status["possible_duplicate"]


def test_a_rejected_recipient_fails_and_nobody_else_is_asked(live):
    message_id = live.send(to="reject@example.net")
    status = live.until_status(message_id, "failed")
    assert [(a["provider"], a["outcome"]) for a in status["attempts"]] == [("mailgun", "rejected")]
    assert status["recipients"][0]["status"] == "failed"
    assert live.inbox(message_id) == []


def test_with_all_three_down_it_waits_and_arrives_when_one_is_back(live):
    for provider in PROVIDERS:
        live.switch(provider, "refuse-connections")
    message_id = live.send()
    waiting = live.until_status(message_id, "retrying")
    assert waiting["next_attempt_at"] is not None
    assert [a["outcome"] for a in waiting["attempts"][:3]] == ["unavailable"] * 3
    live.switch("ses", "up")
    status = live.until_status(message_id, "sent")
    assert status["provider"] == "ses"
    assert live.inbox(message_id) == ["ses"]
    assert not status["possible_duplicate"]


def test_a_single_mail_into_an_idle_service_goes_out_at_once(live):
    live.until_status(live.send(), "sent")
    began = time.monotonic()
    message_id = live.send()
    until(lambda: live.inbox(message_id), seconds=5)
    assert live.inbox(message_id) == ["mailgun"]
    assert time.monotonic() - began < 5


def test_every_field_arrives_as_it_was_given(live):
    message_id = live.send(
        **{"from": '"Bücher, Groß & Klein" <laden@bücher.example>'},
        to=['"Smith, Ann" <ann@example.net>', "bob@example.net"],
        cc="Jürgen <jürgen.x@example.net>".replace("jürgen.x", "juergen"),
        reply_to="help@shop.example",
        subject="Grüße 🎉",
        text="Hallo Ann",
        html="<p>Hallo <b>Ann</b></p>",
        headers={"X-Order": "17"},
    )
    status = live.until_status(message_id, "sent")
    assert status["provider"] in PROVIDERS
    mails = live.http.get(f"{live.simulator}/inbox.json").json()["mails"]
    mail = next(m for m in mails if m["attempt_id"].startswith(message_id))
    assert mail["from"]["name"] == "Bücher, Groß & Klein"
    assert [(a["name"], a["email"]) for a in mail["to"]] == [
        ("Smith, Ann", "ann@example.net"),
        ("", "bob@example.net"),
    ]
    assert [(a["name"], a["email"]) for a in mail["cc"]] == [("Jürgen", "juergen@example.net")]
    assert mail["subject"] == "Grüße 🎉"
    assert mail["text"].strip() == "Hallo Ann"
    assert mail["html"].strip() == "<p>Hallo <b>Ann</b></p>"
    assert [a["email"] for a in mail["reply_to"]] == ["help@shop.example"]
