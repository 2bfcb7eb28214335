"""Failing over after the fact, on real processes: a signed webhook tells of the block."""

import hashlib
import hmac
import json
import time

import pytest

from config import Settings, simulator_environment
from tests.live import Live, running
from tests.waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def live():
    with running(FAILOVER_ON_BLOCK="on") as live:
        yield live


def tell(live: Live, status: dict, event: str, **more) -> None:
    """A webhook of Mailgun about the first attempt, which it took."""
    settings = Settings.from_env({"DATA_DIR": str(live.data_dir)})
    key = simulator_environment(settings)["MAILGUN_WEBHOOK_SIGNING_KEY"]
    now = time.time()
    attempt, email = status["attempts"][0]["id"], status["recipients"][0]["email"]
    token = hashlib.sha256(f"{event}{attempt}{now}".encode()).hexdigest()[:50]
    signature = hmac.digest(key.encode(), f"{now:.0f}{token}".encode(), "sha256").hex()
    told = {
        "event": event,
        "id": hashlib.sha256(f"{event}{attempt}".encode()).hexdigest()[:22],
        "timestamp": now,
        "recipient": email,
        "user-variables": {"attempt_id": attempt},
        "message": {"headers": {"message-id": "x@example.net"}},
        **more,
    }
    signed = {"timestamp": f"{now:.0f}", "token": token, "signature": signature}
    answer = live.http.post(
        f"{live.url}/webhooks/mailgun",
        data=json.dumps({"signature": signed, "event-data": told}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text


BLOCK = {
    "severity": "permanent",
    "reason": "espblock",
    "delivery-status": {"code": 550, "message": "5.7.1 listed at bl.example"},
}


def test_who_was_blocked_gets_it_from_the_next_provider_once(live):
    message_id = live.send(attachments=[{"filename": "a.txt", "content": "aGk="}])
    sent = live.until_status(message_id, "sent")
    for _ in range(2):
        tell(live, sent, "failed", **BLOCK)

    until(lambda: len(live.status(message_id)["attempts"]) == 2)
    after = live.until_status(message_id, "sent")
    assert [a["provider"] for a in after["attempts"]] == ["mailgun", "sendgrid"]
    assert "after a block by mailgun: 5.7.1 listed at bl.example" in after["attempts"][1]["why"]
    assert live.inbox(message_id) == ["mailgun", "sendgrid"]
    assert not after["possible_duplicate"]
    counts = live.http.get(f"{live.url}/stats").json()["total"]["counts"]
    assert counts["failed_over_after_block"] >= 1
    tell(live, sent, "delivered")
    until(lambda: live.status(message_id)["possible_duplicate"])


def test_a_message_can_say_that_it_does_not_want_that(live):
    message_id = live.send(failover_on_block=False)
    tell(live, live.until_status(message_id, "sent"), "failed", **BLOCK)
    after = live.until_status(message_id, "bounced")
    assert after["recipients"][0]["bounce"] == "block"
    assert live.inbox(message_id) == ["mailgun"]
