"""A provider that says yes to everything and delivers nothing is noticed, on real processes."""

import pytest

from tests.live import Live, running
from tests.waiting import until

pytestmark = pytest.mark.e2e


def mailgun(live: Live) -> dict:
    return live.http.get(f"{live.url}/providers").json()["providers"][0]


def test_a_provider_that_drops_what_it_takes_is_asked_last_until_that_is_long_ago():
    with running(
        SIMULATOR_WEBHOOKS="auto",
        DELIVERY_EVIDENCE="demote",
        EVIDENCE_AFTER="3s",
        EVIDENCE_MINIMUM="5",
    ) as live:
        live.until_status(live.send(), "delivered")
        live.switch("mailgun", "accept-and-drop")
        lost = [live.send() for _ in range(6)]
        assert live.until_status(lost[-1], "sent")["provider"] == "mailgun"
        assert live.inbox(lost[-1]) == []
        found = until(lambda: mailgun(live) if mailgun(live)["moved_back"] else None, seconds=15)
        assert found["track_record"]["impression"] == "silent"
        assert found["track_record"]["taken"] >= 6
        assert found["fit"]

        def goes_to(provider: str) -> dict | None:
            status = live.until_status(live.send(), "sent", "delivered")
            return status if status["provider"] == provider else None

        status = until(lambda: goes_to("sendgrid"), seconds=5)
        assert "mailgun was moved back: no news of" in status["attempts"][0]["why"]
        metrics = live.http.get(f"{live.url}/metrics").text
        line = 'steadpost_provider_suspect{impression="silent",provider="mailgun"} 1.0'
        assert line in metrics
        live.switch("mailgun", "up")
        until(lambda: goes_to("mailgun"), seconds=30, every=0.5)
