"""The tables: every state meets every news, and nothing goes back."""

from datetime import timedelta
from itertools import product

import pytest
from msgspec.structs import replace

from app.core import lifecycle
from app.core.lifecycle import AGREED, MOVES, WORK_STATES, News, Verdict, move, settled_state
from app.core.models import Attempt, Message, MessageState, Outcome, Recipient, RecipientState
from tests.scripted import message

ENDS = frozenset(RecipientState) - {RecipientState.QUEUED}
GO_ON = {News.RELEASED, News.RESENT, News.PASSED_ON}
"""The only news that leads back into the queue: the doubt is over, a person asks for it, or
somebody asked beforehand for another try after a block."""


def recipient(state: RecipientState) -> Recipient:
    return Recipient("ann@example.net", "", "to", state)


@pytest.mark.parametrize(("state", "news"), list(product(RecipientState, News)))
def test_every_news_is_taken_in_every_state_and_leads_to_an_end(state, news):
    after = move(recipient(state), news, "why").state
    assert after is state or after in ENDS or news in GO_ON


@pytest.mark.parametrize(("state", "news"), list(product(RecipientState, News)))
def test_news_that_comes_twice_changes_nothing_the_second_time(state, news):
    once = move(recipient(state), news, "why")
    assert move(once, news, "again") == once


@pytest.mark.parametrize("news", News)
def test_a_recipient_who_got_the_mail_is_never_said_not_to_have(news):
    assert move(recipient(RecipientState.SENT), news).state is RecipientState.SENT


def test_every_recipient_state_has_a_message_state_and_every_end_can_be_reached():
    assert set(AGREED) == set(RecipientState)
    reached = {after for news in MOVES.keys() - GO_ON for after in MOVES[news].values()}
    assert reached <= ENDS


@pytest.mark.parametrize("state", RecipientState)
def test_recipients_who_agree_make_the_state_of_the_message(state):
    assert settled_state([recipient(state)] * 3) is AGREED[state]


def test_recipients_who_differ_make_a_partial_message():
    both = [recipient(RecipientState.SENT), recipient(RecipientState.FAILED)]
    assert settled_state(both) is MessageState.PARTIAL


def test_suppressed_recipients_count_only_where_all_are():
    suppressed = recipient(RecipientState.SUPPRESSED)
    assert settled_state([suppressed, recipient(RecipientState.SENT)]) is MessageState.SENT
    assert settled_state([suppressed, suppressed]) is MessageState.SUPPRESSED


def resent_to_one_of_two(now) -> Message:
    """A message of which Ann may have got a copy, and which is offered to Bob again."""
    mail = message(now, "ann@example.net", "bob@example.net")
    ann, bob = mail.recipients
    unknown = replace(ann, state=RecipientState.UNKNOWN)
    return replace(mail, recipients=(unknown, bob))


def test_a_rejection_says_nothing_of_a_recipient_who_was_not_asked_for(clock):
    mail = resent_to_one_of_two(clock())
    attempt = Attempt(f"{mail.id}-1", "mailgun", "first in the order", 1, clock())
    opened = lifecycle.attempt_opened(mail, attempt)
    closed = lifecycle.attempt_closed(opened, Verdict(Outcome.REJECTED, "bad"), clock())
    states = [recipient.state for recipient in closed.recipients]
    assert states == [RecipientState.UNKNOWN, RecipientState.FAILED]


def test_giving_up_says_nothing_of_a_recipient_who_may_have_the_mail(clock):
    given_up = lifecycle.given_up(resent_to_one_of_two(clock()), "too large", clock())
    states = [recipient.state for recipient in given_up.recipients]
    assert states == [RecipientState.UNKNOWN, RecipientState.FAILED]


@pytest.mark.parametrize("state", MessageState)
def test_only_work_and_held_messages_are_unfinished(state, clock):
    mail = replace(message(clock()), state=state)
    assert lifecycle.has_ended(mail) is (state not in WORK_STATES)
    held = replace(mail, next_attempt_at=clock())
    assert not lifecycle.has_ended(held)


@pytest.mark.parametrize(
    ("round_number", "jitter", "seconds"),
    [(1, 0.5, 10), (2, 0.5, 30), (3, 0.5, 30), (99, 0.5, 30), (1, 0.0, 8), (2, 0.999999, 36)],
)
def test_the_rest_between_rounds_grows_by_the_schedule_and_is_spread(round_number, jitter, seconds):
    wait = lifecycle.round_wait((10.0, 30.0), round_number, jitter)
    assert wait.total_seconds() == pytest.approx(seconds, abs=0.01)


def test_no_rest_is_longer_than_the_message_has_time(clock):
    mail = message(clock(), expires_at=clock() + timedelta(seconds=5))
    waiting = lifecycle.waiting(mail, clock() + timedelta(hours=1), clock())
    assert waiting.next_attempt_at == mail.expires_at
