"""The router: who is asked next, and the words that explain it."""

import pytest
from msgspec.structs import replace

from app.core.ids import attempt_id
from app.core.models import Attempt, Outcome
from app.core.router import Candidate, Choice, NoChoice, choose
from app.core.routes import order_of
from tests.scripted import message

THREE = [Candidate("mailgun"), Candidate("sendgrid"), Candidate("ses")]


def asked(mail, *attempts: tuple[str, Outcome], round_number: int = 1, scope: str | None = None):
    made = [
        Attempt(attempt_id(mail.id, n), provider, "", round_number, mail.created_at, outcome, scope)
        for n, (provider, outcome) in enumerate(attempts, 1)
    ]
    return replace(mail, attempts=(*mail.attempts, *made))


def test_the_first_in_the_order_is_asked_first(clock):
    assert choose(message(clock()), THREE) == Choice("mailgun", "first in the order")


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNAVAILABLE, Outcome.UNKNOWN])
def test_who_was_asked_this_round_is_not_asked_again(clock, outcome):
    choice = choose(asked(message(clock()), ("mailgun", outcome)), THREE)
    assert choice.provider == "sendgrid"
    assert choice.why.startswith("next in the order; mailgun was asked")


def test_who_rejected_some_recipients_is_asked_again_for_the_others(clock):
    choice = choose(asked(message(clock()), ("mailgun", Outcome.REJECTED)), THREE)
    assert choice.provider == "mailgun"


def test_a_new_round_begins_with_the_first_again(clock):
    mail = asked(message(clock()), ("mailgun", Outcome.UNAVAILABLE))
    choice = choose(replace(mail, round=2), THREE)
    assert choice == Choice("mailgun", "first in the order, round 2")


def test_when_all_were_asked_there_is_no_choice_but_hope(clock):
    mail = asked(message(clock()), *((c.name, Outcome.UNAVAILABLE) for c in THREE))
    choice = choose(mail, THREE)
    assert isinstance(choice, NoChoice)
    assert not choice.hopeless


def test_when_nobody_can_carry_the_message_there_is_no_hope(clock):
    mail = asked(message(clock()), ("mailgun", Outcome.REFUSED), scope="message")
    choice = choose(mail, [THREE[0], Candidate("ses", "it is too large")])
    assert isinstance(choice, NoChoice)
    assert choice.hopeless


def test_the_messages_own_order_goes_before_the_settings(clock):
    assert order_of(message(clock()), ["mailgun", "ses"]).providers == ("mailgun", "ses")
    own = order_of(message(clock(), providers=("ses",)), ["mailgun", "ses"])
    assert own.providers == ("ses",)
    assert choose(message(clock()), [THREE[2]], own).why == "first in the message's own order"
