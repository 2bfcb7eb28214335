"""Where a recipient stands after reports: the tables, every pair of reports, and every order."""

from datetime import UTC, datetime
from itertools import permutations, product

import pytest
from msgspec.structs import replace

from app.core import fates
from app.core.models import (
    Attempt,
    Envelope,
    Happening,
    Message,
    MessageState,
    Outcome,
    Recipient,
    RecipientState,
)
from providers.types import Address, Bounce, EventType

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KINDS = tuple(fates.STANDINGS)
PAIRS = list(product(KINDS, KINDS))


def message(*outcomes, state=RecipientState.SENT, emails=("ann@example.net",)):
    attempts = tuple(
        Attempt(f"msg-{n}", "mailgun", "", 1, NOW, outcome=outcome)
        for n, outcome in enumerate(outcomes, 1)
    )
    return Message(
        id="msg",
        key="shop",
        envelope=Envelope(Address("o@shop.example"), (), "Hi", (), (), {}, (), "failover"),
        recipients=tuple(Recipient(email, "", "to", state) for email in emails),
        state=MessageState.SENT,
        created_at=NOW,
        updated_at=NOW,
        expires_at=NOW,
        attempts=attempts,
    )


def report(kind, attempt=1, recipient="ann@example.net"):
    return Happening(
        str(kind), kind[0], NOW, "mailgun", attempt, recipient, bounce=kind[1], reason="words"
    )


def after(start, *reports):
    for one in reports:
        start = fates.told(start, one, NOW)
    return start


def fate(told):
    recipient = told.recipients[0]
    return recipient.state, recipient.bounce


def test_every_kind_of_event_has_a_standing_and_every_standing_a_weight():
    assert {kind for kind, _ in fates.STANDINGS} == set(EventType)
    assert {s for s in fates.STANDINGS.values() if s} == set(fates.WEIGHTS)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_reports_come_to_the_same_in_either_order(first, second):
    start = message(Outcome.ACCEPTED)
    told = after(start, report(first), report(second))
    assert fate(told) == fate(after(start, report(second), report(first)))
    assert fate(told) == fate(after(told, report(first), report(second), report(first)))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_reports_on_two_copies_come_to_the_same_in_either_order(first, second):
    start = message(Outcome.ACCEPTED, Outcome.ACCEPTED)
    one, other = report(first, 1), report(second, 2)
    assert fate(after(start, one, other)) == fate(after(start, other, one))


@pytest.mark.parametrize(("state", "kind"), list(product(RecipientState, KINDS)))
def test_no_state_and_no_report_raise_and_the_suppressed_stay_so(state, kind):
    told = after(message(Outcome.ACCEPTED, state=state), report(kind))
    if state is RecipientState.SUPPRESSED:
        assert fate(told)[0] is state


@pytest.mark.parametrize("kind", [(EventType.BOUNCED, b) for b in Bounce] + [KINDS[2]])
def test_bad_news_of_an_old_copy_does_not_move_who_waits_for_another(kind):
    start = message(Outcome.ACCEPTED, state=RecipientState.QUEUED)
    assert fate(after(start, report(kind)))[0] is RecipientState.QUEUED


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        (["delivered", "deferred"], "delivered"),
        (["delivered", "complained"], "complained"),
        (["opened"], "delivered"),
        (["delivered", "hard"], "bounced"),
        (["delivered", "block"], "bounced"),
        (["delivered", "soft"], "delivered"),
        (["soft", "delivered"], "delivered"),
        (["rejected"], "failed"),
    ],
)
def test_what_reports_come_to(reports, expected):
    named = {b.value: (EventType.BOUNCED, b) for b in Bounce}
    given = [report(named.get(r) or (EventType(r), None)) for r in reports]
    for order in permutations(given):
        assert fate(after(message(Outcome.ACCEPTED), *order))[0] == expected


def test_a_copy_that_was_delivered_counts_more_than_another_that_bounced():
    start = message(Outcome.ACCEPTED, Outcome.ACCEPTED)
    delivered = report((EventType.DELIVERED, None), 1)
    told = after(start, delivered, report((EventType.BOUNCED, Bounce.HARD), 2))
    assert fate(told) == (RecipientState.DELIVERED, None)


def test_two_copies_that_were_taken_are_said():
    told = after(message(Outcome.ACCEPTED, Outcome.ACCEPTED), report(KINDS[3], 1))
    assert told.possible_duplicate


def test_the_messages_state_follows_its_recipients():
    both = ("ann@example.net", "Bob@Example.net")
    start = message(Outcome.ACCEPTED, emails=both)
    delivered = EventType.DELIVERED, None
    one = after(start, report(delivered))
    assert one.state is MessageState.PARTIAL
    assert after(one, report(delivered, recipient="bob@example.NET")).state == "delivered"
    assert after(one, report((EventType.BOUNCED, Bounce.HARD), 1, both[1])).state == "partial"


def test_the_reason_of_a_bounce_is_that_of_the_message():
    told = after(message(Outcome.ACCEPTED), report((EventType.BOUNCED, Bounce.HARD)))
    assert (told.state, told.reason) == (MessageState.BOUNCED, "words")


def test_opens_are_counted_and_those_of_machines_are_not():
    opened = report((EventType.OPENED, None))
    later = replace(opened, at=NOW.replace(hour=13))
    told = after(message(Outcome.ACCEPTED), later, opened, replace(opened, automatic=True))
    assert told.recipients[0].opened.count == 2
    assert told.recipients[0].opened.first_at == NOW
    assert told.recipients[0].opened.last_at == later.at


def test_a_report_without_a_recipient_counts_where_there_is_only_one():
    opened = report((EventType.OPENED, None), recipient="")
    assert after(message(Outcome.ACCEPTED), opened).recipients[0].opened is not None
    two = message(Outcome.ACCEPTED, emails=("a@example.net", "b@example.net"))
    assert all(r.opened is None for r in after(two, opened).recipients)
