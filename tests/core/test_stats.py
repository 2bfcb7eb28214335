import random
from datetime import timedelta

import pytest
from redis import Redis

from app.core import keys, stats
from app.core.models import MessageState, RecipientState
from app.core.scripting import Scripts
from app.core.stats import BOUNDS, Numbers, Stats, contribution, rates
from app.core.steps import Step
from tests.core.examples import attempt, changed, message

ANN, BEN = "ann@example.net", "ben@example.net"


def written(redis, *steps):
    """What the steps write, done as they say."""
    for step in steps:
        for command in stats.observe(step):
            redis.execute_command(*command)


@pytest.fixture
def numbers(redis: Redis) -> Stats:
    return Stats(Scripts(redis))


def test_a_step_that_moves_nobody_writes_nothing():
    before = message()
    assert not list(stats.observe(Step(before, changed(before, state=MessageState.SENDING))))


def test_a_message_counts_for_each_of_its_recipients():
    found = Numbers(contribution(message(to=(ANN, BEN), tags=("order",))))
    assert found.all()["accepted"] == 2
    assert found.by_tag()["order"]["accepted"] == 2
    assert found.all()["sent"] == 0


def test_what_arrived_was_sent_too():
    sent = attempt("mailgun")
    delivered = message(states=(RecipientState.DELIVERED,), attempts=(sent,))
    counts = Numbers(contribution(delivered)).all()
    assert (counts["accepted"], counts["sent"], counts["delivered"]) == (1, 1, 1)


def test_mail_that_another_provider_took_than_the_first_one_asked_failed_over():
    tried = (attempt("mailgun", accepted=False), attempt("sendgrid", number=2))
    found = Numbers(contribution(message(states=(RecipientState.SENT,), attempts=tried)))
    assert found.all()["failed_over"] == 1
    assert found.by_provider()["sendgrid"]["failed_over"] == 1
    assert "mailgun" not in found.by_provider()


def test_mail_that_failed_and_was_resent_counts_as_what_became_of_it(redis, numbers):
    new = message()
    failed = changed(new, states=(RecipientState.FAILED,))
    again = changed(failed, states=(RecipientState.QUEUED,))
    sent = changed(again, states=(RecipientState.SENT,), attempts=(attempt("ses"),))
    written(redis, Step(None, new), Step(new, failed), Step(failed, again), Step(again, sent))
    counts = numbers.totals().all()
    assert (counts["accepted"], counts["failed"], counts["sent"]) == (1, 0, 1)


def test_whatever_the_order_of_the_steps_the_numbers_are_those_of_the_messages(redis, numbers):
    rng, now = random.Random(1), message()
    history = [now]
    for _ in range(60):
        states = tuple(rng.choices(list(RecipientState), k=1))
        attempts = tuple(attempt(p, number=n) for n, p in enumerate(rng.choices(["a", "b"]), 1))
        history.append(changed(history[-1], states=states, attempts=attempts))
    steps = [Step(a, b) for a, b in zip([None, *history], history, strict=False)]
    rng.shuffle(steps)
    written(redis, *steps)
    day = stats.day_of(now.created_at)
    expected = Numbers(contribution(history[-1]))
    for found in (numbers.totals(), numbers.days("app", day, day)[day]):
        assert found.all() == expected.all()
        providers = found.by_provider()
        for name, counts in expected.by_provider().items():
            assert providers.pop(name) == counts
        assert not any(any(counts.values()) for counts in providers.values())


def test_numbers_belong_to_the_day_on_which_the_message_was_accepted(redis, numbers):
    new = message()
    later = changed(new, states=(RecipientState.SENT,), after=timedelta(days=2))
    written(redis, Step(None, new), Step(new, later))
    day = stats.day_of(new.created_at)
    found = numbers.days("app", day, day + timedelta(days=3))
    assert list(found) == [day]
    assert found[day].all()["sent"] == 1
    assert numbers.days("another", day, day) == {}


def test_the_time_from_due_to_sent_is_counted_by_classes():
    new = message()
    sent = changed(new, states=(RecipientState.SENT,), after=timedelta(seconds=2))
    fields = [c[2] for c in stats.observe(Step(new, sent)) if c[0] == "HINCRBY"]
    assert f"h\x1fsent\x1f{BOUNDS.index(2.5)}" in fields


def test_a_day_is_forgotten_in_the_end_and_the_totals_are_not(redis):
    new = message()
    written(redis, Step(None, new))
    day = keys.stats("app", stats.day_of(new.created_at).isoformat())
    assert 0 < redis.pttl(day) <= stats.KEPT // timedelta(milliseconds=1)
    assert redis.pttl(keys.TOTALS) == -1


def test_a_rate_of_nothing_is_none():
    counts = dict.fromkeys(stats.NAMES, 0)
    assert set(rates(counts).values()) == {None}
    assert rates({**counts, "accepted": 4, "sent": 3})["sent"] == 0.75


def test_every_state_of_a_recipient_counts_for_something_known():
    assert set(stats.COUNTS) == set(RecipientState)
    assert {name for names in stats.COUNTS.values() for name in names} <= set(stats.NAMES)
