"""Quotas and routes on real processes: who gets the mail, how fast, and what the status tells."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.live import Live, running
from tests.waiting import until

pytestmark = pytest.mark.e2e

A_SECOND = 20


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    quotas = f"mailgun:{A_SECOND}/s,ses:{A_SECOND}/s"
    with running(PROVIDER_QUOTAS=quotas, WORKER_PROCESSES="2", SWEEP_INTERVAL="0.5s") as service:
        yield service


def send(live: Live, count: int, seconds: float, **fields) -> list[dict]:
    """The statuses of so many mails, all sent at once."""
    sent = [live.send(**fields) for _ in range(count)]
    return [live.until_status(message_id, "sent", seconds=seconds) for message_id in sent]


def most_in_a_second(live: Live, provider: str) -> int:
    """The most mails that the provider took within a second, as it says itself.

    A little less than a second: on their way to it, mails do not keep their distance to the hair.
    """
    mails = live.http.get(f"{live.simulator}/inbox.json", params={"limit": 1000}).json()["mails"]
    times = [
        datetime.fromisoformat(mail["received_at"]).timestamp()
        for mail in mails
        if mail["provider"] == provider
    ]
    return max(sum(begin <= at < begin + 0.9 for at in times) for begin in times)


def test_what_is_beyond_a_quota_goes_to_the_next_without_a_single_refusal(live):
    statuses = send(live, 120, seconds=20)
    took = [status["provider"] for status in statuses]
    assert set(took) == {"mailgun", "sendgrid"}
    assert [[a["outcome"] for a in s["attempts"]] for s in statuses] == [["accepted"]] * 120
    assert most_in_a_second(live, "mailgun") <= A_SECOND
    whys = {status["attempts"][0]["why"] for status in statuses if status["provider"] != "mailgun"}
    assert whys == {"next in the order; mailgun has been given its 20 messages a second"}


def test_where_nobody_else_is_asked_mail_waits_for_its_place(live):
    statuses = send(live, 60, seconds=30, providers=["ses"])
    assert [[a["outcome"] for a in s["attempts"]] for s in statuses] == [["accepted"]] * 60
    assert {a["round"] for status in statuses for a in status["attempts"]} == {1}
    assert most_in_a_second(live, "ses") <= A_SECOND


def test_workers_go_by_new_routes_within_a_second(live):
    route = {"name": "news", "tags": ["news"], "providers": ["sendgrid"]}
    answer = live.http.put(f"{live.url}/routes", json={"routes": [route]})
    assert answer.status_code == 200, answer.text

    def routed() -> bool:
        (status,) = send(live, 1, seconds=10, tags=["news"])
        return status["attempts"][0]["why"] == "first in the route 'news'"

    until(routed, seconds=5)
