"""What Mailgun's events and SendGrid's messages tell of the mails that were taken, and when."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
import requests

from providers.base import Timeouts
from providers.errors import Unknown
from providers.types import Accepted, Address, Email
from simulator import journal as journal_module
from simulator.journal import Journal
from simulator.mail import Mail, Mailbox
from simulator.switches import Provider
from tests.simulator.conftest import configured
from tests.simulator.sending import MAILGUN, SENDGRID, send
from tests.waiting import until

EMAIL = Email(
    attempt_id="at-1",
    sender=Address("orders@shop.example"),
    to=(Address("ann@example.net"),),
    cc=(),
    bcc=(),
    reply_to=(),
    subject="Your order",
    text="It is on its way.",
    html=None,
)
LAST = {"email": "last@example.net"}
ANN = ("ann@example.net",)
PERIOD = 'last_event_time BETWEEN TIMESTAMP "{}" AND TIMESTAMP "{}"'
LONG = PERIOD.format("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z")


def events(running, path="", *, key=None, domain=None, **query):
    credentials = running.credentials
    return running.session.get(
        f"{running.url}/mailgun/v3/{domain or credentials.mailgun_domain}/events{path}",
        params=query,
        auth=("api", key or credentials.mailgun_api_key),
    )


def messages(running, query=None, *, path="", key=None, **more):
    params = more if query is None else {"query": query, **more}
    headers = {"Authorization": f"Bearer {key or running.credentials.sendgrid_api_key}"}
    url = f"{running.url}/sendgrid/v3/messages{path}"
    return running.session.get(url, params=params, headers=headers)


@pytest.fixture
def prompt(running):
    """A simulator that can be asked at once about what has happened."""
    for provider in ("mailgun", "sendgrid", "postmark", "mandrill"):
        running.set(provider, "up", lag=0)
    return running


def settled(running):
    """Waits until it is known what became of the mails."""
    undecided = 'status="processed" AND to_email="last@example.net"'
    send(running, "sendgrid", SENDGRID | {"personalizations": [{"to": [LAST]}]})
    until(lambda: not messages(running, undecided).json()["messages"])


def names(answer):
    assert answer.status_code == 200, answer.text
    return [(item["event"], item["recipient"]) for item in answer.json()["items"]]


def test_mailgun_tells_what_became_of_a_mail_with_each_recipient(prompt):
    to = ["ann@example.net", "bounce@example.net", "defer@example.net", "complaint@example.net"]
    message_id = send(prompt, "mailgun", MAILGUN | {"to": to, "o:tag": "a"}).json()["id"]
    settled(prompt)

    found = events(prompt, ascending="yes")
    assert names(found)[:4] == [("accepted", one) for one in to]
    assert names(found)[4:] == [
        ("delivered", to[0]),
        ("failed", to[1]),
        ("failed", to[2]),
        ("delivered", to[3]),
        ("complained", to[3]),
    ]
    item = found.json()["items"][0]
    assert item["user-variables"] == {"attempt_id": "at-1"}
    assert item["message"]["headers"]["message-id"] == message_id.strip("<>")
    assert item["tags"] == ["a"]
    assert time.time() - 5 < item["timestamp"] < time.time()


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"recipient": "ANN@example.net"}, 2),
        ({"recipient": "bob@example.net OR ann@example.net"}, 4),
        ({"recipient": "eve@example.net"}, 0),
        ({"event": "accepted"}, 2),
        ({"event": "accepted OR delivered"}, 4),
        ({"subject": '"Your order"'}, 4),
        ({"tags": "none"}, 0),
        ({"begin": "0", "end": "1"}, 0),
        ({"begin": "0", "ascending": "yes"}, 4),
        ({"begin": "0", "ascending": "no"}, 0),
        ({"begin": formatdate(0), "end": formatdate(9e9)}, 4),
    ],
    ids=str,
)
def test_events_are_filtered(prompt, query, count):
    send(prompt, "mailgun")
    send(prompt, "mailgun", MAILGUN | {"to": "bob@example.net"})
    send(prompt, "ses")
    settled(prompt)

    assert len(names(events(prompt, **query))) == count


@pytest.mark.parametrize(
    "query",
    [
        {"begin": "0"},
        {"begin": "yesterday", "ascending": "yes"},
        {"limit": "301"},
        {"limit": "0"},
        {"ascending": "up"},
        {"attempt_id": "at-1"},
        {"recipient": "NOT ann@example.net"},
    ],
    ids=str,
)
def test_a_bad_query_for_events_is_refused(prompt, query):
    answer = events(prompt, **query)
    assert answer.status_code == 400
    assert answer.json()["message"]


@pytest.mark.parametrize("ascending", ["yes", "no"])
def test_pages_of_events_end_with_an_empty_one(prompt, ascending):
    for number in range(5):
        send(prompt, "mailgun", MAILGUN | {"v:attempt_id": f"at-{number}"})
    auth = ("api", prompt.credentials.mailgun_api_key)
    query = {"ascending": ascending, "limit": 2, "event": "accepted"}
    page = events(prompt, **query).json()
    found = []
    while page["items"]:
        found.append([item["user-variables"]["attempt_id"] for item in page["items"]])
        page = prompt.session.get(page["paging"]["next"], auth=auth).json()

    expected = [["at-0", "at-1"], ["at-2", "at-3"], ["at-4"]]
    if ascending == "no":
        expected = [["at-4", "at-3"], ["at-2", "at-1"], ["at-0"]]
    assert found == expected


@pytest.mark.parametrize("page", ["x", "YT0x", "c3RhcnQ9LTE", "%FF"])
def test_a_page_of_nobodys_is_refused(prompt, page):
    assert events(prompt, f"/{page}").status_code == 400


def test_events_are_for_the_account_alone(prompt):
    refused = events(prompt, key="wrong")
    assert (refused.status_code, refused.text) == (401, "Forbidden")
    assert events(prompt, domain="other.example").status_code == 404
    assert messages(prompt, LONG, key="wrong").status_code == 401


def test_sendgrid_tells_what_became_of_a_mail_with_each_recipient(prompt):
    to = [{"email": "ann@example.net"}, {"email": "bounce@example.net"}]
    envelope = {"to": to, "custom_args": {"attempt_id": "at-1"}}
    send(prompt, "sendgrid", SENDGRID | {"personalizations": [envelope]})
    settled(prompt)

    (found,) = messages(prompt, f'to_email="ann@example.net" AND {LONG}').json()["messages"]
    assert found["msg_id"].startswith(prompt.mails()[-1]["provider_message_id"] + ".")
    assert (found["to_email"], found["status"]) == ("ann@example.net", "delivered")
    whole = messages(prompt, path=f"/{found['msg_id']}").json()
    assert whole["unique_args"] == {"attempt_id": "at-1"}
    (bounced,) = messages(prompt, 'status="not_delivered"').json()["messages"]
    assert bounced["to_email"] == "bounce@example.net"
    assert messages(prompt, path="/nobody").status_code == 404


def test_messages_come_newest_first_within_a_time_and_a_limit(prompt):
    for number in range(3):
        send(prompt, "sendgrid", SENDGRID | {"subject": f"Mail {number}"})
    found = messages(prompt, f'to_email="ann@example.net" AND {LONG}', limit=2).json()["messages"]
    assert [message["subject"] for message in found] == ["Mail 2", "Mail 1"]
    past = PERIOD.format("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")
    assert messages(prompt, f'to_email="ann@example.net" AND {past}').json() == {"messages": []}


@pytest.mark.parametrize(
    "query",
    [
        None,
        "to_email=ann@example.net",
        'to_email="ann@example.net" OR status="delivered"',
        'unique_args="at-1"',
        f'to_email="a" AND {PERIOD.format("yesterday", "today")}',
        'to_email="a" status="delivered"',
    ],
)
def test_a_query_that_is_not_known_is_refused(prompt, query):
    answer = messages(prompt, query)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "query"


def test_a_bad_limit_is_refused(prompt):
    assert messages(prompt, 'to_email="a"', limit=1001).status_code == 400


@pytest.mark.parametrize(
    "mode",
    [
        "http-500",
        "http-503",
        "rate-limit",
        "unverified-sender",
        "slow",
        "timeout-before-accept",
        "timeout-after-accept",
        "reset-after-accept",
        "garbage-200",
    ],
)
def test_whatever_is_wrong_with_sending_what_happened_can_be_read(prompt, mode):
    for provider in ("mailgun", "sendgrid"):
        send(prompt, provider)
        prompt.set(provider, mode, seconds=60, lag=0)
    assert len(names(events(prompt, event="accepted"))) == 1
    assert len(messages(prompt, LONG + ' AND to_email="ann@example.net"').json()["messages"]) == 1


def test_who_does_not_know_the_key_or_cannot_be_reached_tells_nothing(prompt):
    prompt.set("mailgun", "unauthorized")
    assert events(prompt).status_code == 401
    prompt.set("mailgun", "refuse-connections")
    with pytest.raises(requests.ConnectionError):
        events(prompt)


def test_questions_are_not_counted_among_the_calls(prompt):
    send(prompt, "mailgun")
    events(prompt)
    counts = prompt.session.get(f"{prompt.url}/counts.json").json()
    assert counts["mailgun"] == {"calls": 1, "accepted": 1}


def test_what_happened_is_told_after_the_lag(running):
    running.set("mailgun", "up", lag=600)
    send(running, "mailgun")
    assert names(events(running)) == []
    running.set("mailgun", "up", lag=0.3)
    until(lambda: names(events(running, event="accepted")), seconds=5)
    running.set("mailgun", "up")
    assert running.session.get(f"{running.url}/control/mailgun").json()["lag"] == 0.2


@pytest.mark.parametrize("lag", [-1, 601, "1", True, None])
def test_a_lag_that_makes_no_sense_is_refused(running, lag):
    body = {"mode": "up", "lag": lag}
    assert running.session.post(f"{running.url}/control/mailgun", json=body).status_code == 422


def test_a_form_leaves_the_lag_as_it_was(running):
    running.set("mailgun", "up", lag=7)
    page = running.session.post(f"{running.url}/switches/mailgun", data={"mode": "slow"}).text
    assert "can be asked about after 7 s" in page


def test_only_the_newest_are_kept_without_their_content(monkeypatch):
    monkeypatch.setattr(journal_module, "KEPT_RECORDS", 3)
    journal = Journal()
    for number in range(5):
        journal.add(
            Mail(
                provider=Provider.MAILGUN,
                provider_message_id=str(number),
                sender=Mailbox("o@shop.example"),
                to=(Mailbox("ann@example.net"),),
                text="x" * 1000,
            ),
            float(number),
        )
    found = list(journal.newest(Provider.MAILGUN, 0, 9))
    assert [record.message_id for record in found] == ["4", "3", "2"]
    assert not hasattr(found[0], "text")


@pytest.mark.parametrize("mode", ["timeout-after-accept", "reset-after-accept"])
@pytest.mark.parametrize("provider", ["mailgun", "sendgrid", "postmark", "mandrill"])
def test_our_providers_find_what_was_accepted_and_nothing_else(prompt, provider, mode):
    asked = configured(prompt, provider, Timeouts(connect=1, read=0.2, deadline=3))
    began = datetime.now(UTC)
    asked.send(replace(EMAIL, attempt_id="at-0"))
    prompt.set(asked.name, mode, lag=0)
    with pytest.raises(Unknown):
        asked.send(EMAIL)

    expected = Accepted(prompt.mails()[0]["provider_message_id"])
    assert asked.find("at-1", ANN, began) == expected
    assert asked.find("at-2", ANN, began) is None
    asked.close()
