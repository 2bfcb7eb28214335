"""What the inbox keeps, what it forgets, and what it tells to programs."""

import pytest

from simulator import inbox as inbox_module
from simulator.inbox import Inbox, Ledger
from simulator.mail import Fate, Mail, Mailbox, fate_of, is_refused
from simulator.switches import Provider
from tests.simulator.sending import MAILGUN, send


def mail(number=0):
    return Mail(
        provider=Provider.SES,
        provider_message_id=f"id-{number}",
        sender=Mailbox("o@shop.example"),
        to=(Mailbox("ann@example.net"),),
        variables={"attempt_id": f"at-{number}"},
    )


@pytest.mark.parametrize(
    ("email", "fate"),
    [
        ("bounce@example.net", Fate.BOUNCE),
        ("Bounce+17@example.net", Fate.BOUNCE),
        ("complaint@example.net", Fate.COMPLAINT),
        ("defer+a+b@example.net", Fate.DEFER),
        ("bounces@example.net", Fate.DELIVERED),
        ("ann+bounce@example.net", Fate.DELIVERED),
    ],
)
def test_the_local_part_decides_what_becomes_of_a_mail(email, fate):
    assert fate_of(email) is fate


def test_only_reject_is_refused():
    assert is_refused("reject@example.net")
    assert is_refused("REJECT+1@example.net")
    assert not is_refused("bounce@example.net")


def test_only_the_newest_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(inbox_module, "KEPT_MAILS", 3)
    inbox = Inbox()
    for number in range(5):
        inbox.add(mail(number), 1)

    assert [entry.id for entry in inbox.newest(10)] == [5, 4, 3]
    assert [entry.id for entry in inbox.newest(10, after=4)] == [3]
    assert inbox.newest(10, after=1) == inbox.newest(10, after=0) == []
    assert inbox.get(1) is None
    assert inbox.counts[Provider.SES].accepted == 5


def test_large_mails_make_room_for_each_other(monkeypatch):
    monkeypatch.setattr(inbox_module, "KEPT_BYTES", 100)
    inbox = Inbox()
    for number, size in enumerate((60, 30, 50, 500)):
        inbox.add(mail(number), size)
        if number == 2:
            assert [entry.id for entry in inbox.newest(10)] == [3, 2]

    assert [entry.id for entry in inbox.newest(10)] == [4]


def test_the_ledger_knows_far_more_attempts_than_the_inbox(monkeypatch):
    ledger = Ledger()
    for number in range(2_500):
        ledger.add(Provider.MAILGUN, f"at-{number}")

    assert list(ledger.since(0)) == [("mailgun", f"at-{number}") for number in range(2_500)]
    assert next(ledger.since(999)) == ("mailgun", "at-999")
    assert next(ledger.since(2_000)) == ("mailgun", "at-2000")
    assert list(ledger.since(2_499)) == [("mailgun", "at-2499")]
    assert list(ledger.since(2_500)) == []


def test_the_ledger_drops_the_oldest_when_it_is_full():
    ledger = Ledger()
    for number in range(1_001_500):
        ledger.add(Provider.SES, "x" if number != 2_000 else "here")

    assert (ledger.total, ledger.oldest) == (1_001_500, 1_000)
    assert list(ledger.since(0))[1_000] == ("ses", "here")


def test_programs_page_through_the_inbox(running):
    for number in range(3):
        send(running, "mailgun", MAILGUN | {"subject": f"Mail {number}"})
    url = f"{running.url}/inbox.json?limit=2"
    first = running.session.get(url).json()
    second = running.session.get(f"{url}&after={first['next']}").json()

    subjects = [mail["subject"] for mail in first["mails"] + second["mails"]]
    assert subjects == ["Mail 2", "Mail 1", "Mail 0"]
    assert second["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1"])
def test_a_page_that_makes_no_sense_is_refused(running, query):
    assert running.session.get(f"{running.url}/inbox.json?{query}").status_code == 422


def test_a_mail_tells_the_fate_of_each_recipient(running):
    send(
        running,
        "mailgun",
        MAILGUN | {"cc": "bounce@example.net", "bcc": "defer+1@example.net"},
    )

    assert running.mail()["recipients"] == [
        {"kind": "to", "email": "ann@example.net", "fate": "delivered"},
        {"kind": "cc", "email": "bounce@example.net", "fate": "bounce"},
        {"kind": "bcc", "email": "defer+1@example.net", "fate": "defer"},
    ]


def test_programs_read_who_took_which_attempt(running):
    for provider in ("mailgun", "ses", "sendgrid"):
        send(running, provider)
    answer = running.session.get(f"{running.url}/attempts.json?since=1&limit=1").json()

    assert answer == {"total": 3, "first": 1, "attempts": [["ses", "at-1"]], "next": 2}


def test_a_cleared_inbox_is_empty_and_gives_out_no_id_twice(running):
    send(running, "ses")
    before = running.mail()["id"]
    assert running.session.delete(f"{running.url}/inbox").status_code == 200
    assert running.mails() == []
    assert running.session.get(f"{running.url}/counts.json").json()["ses"]["accepted"] == 0

    send(running, "ses")
    assert running.mail()["id"] > before
