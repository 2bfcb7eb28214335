"""The ledger must catch what it is there for: nothing here runs a process."""

import pytest

from tests.chaos.ledger import Accepted, Blow, Row, balance
from tests.chaos.table import breaks, table

NOON = "2026-11-23T12:00:00+00:00"
NOON_UNIX = 1795435200.0


def accepted(name="m", on_unknown="failover", at=NOON_UNIX):
    return Accepted(name, on_unknown, at)


def attempt(number, provider, outcome, name="m", started_at=NOON, duration_ms=100):
    return {
        "id": f"{name}-{number}",
        "provider": provider,
        "outcome": outcome,
        "started_at": started_at,
        "duration_ms": duration_ms,
    }


def status(state, *attempts, possible_duplicate=False):
    takers = [a["provider"] for a in attempts if a["outcome"] == "accepted"]
    return {
        "status": state,
        "provider": takers[-1] if takers else None,
        "possible_duplicate": possible_duplicate,
        "attempts": list(attempts),
    }


def one(message, arrivals, answer, **more):
    return balance("test", [message], arrivals, {message.id: answer}, **more)


SENT = status("sent", attempt(1, "mailgun", "accepted"))
SENT_TWICE = (attempt(1, "mailgun", "unknown"), attempt(2, "ses", "accepted"))
TWO_ARRIVALS = [("mailgun", "m-1"), ("ses", "m-2")]


def test_a_message_that_arrived_once_breaks_nothing():
    row = one(accepted(), [("mailgun", "m-1")], SENT)
    assert (row.accepted, row.once, row.more, row.lost) == (1, 1, 0, 0)
    assert row.breaks == ()


@pytest.mark.parametrize("answer", [None, SENT, status("queued"), status("failed")])
def test_a_message_that_did_not_arrive_is_lost(answer):
    row = one(accepted(), [], answer)
    assert row.lost == 1
    assert any(line.startswith("lost") for line in row.breaks)


def test_a_message_on_hold_that_did_not_arrive_is_lost_unless_it_is_unknown():
    held = accepted(on_unknown="hold")
    unknown = status("unknown", attempt(1, "mailgun", "unknown"))
    row = one(held, [], unknown)
    assert (row.lost, row.unknown_on_hold, row.breaks) == (0, 1, ())
    assert one(held, [], SENT).lost == 1
    assert one(held, [], status("expired")).lost == 1


def test_without_hold_unknown_is_no_end():
    answer = status("unknown", attempt(1, "mailgun", "unknown"))
    assert one(accepted(), [], answer).lost == 1
    assert one(accepted(), [("mailgun", "m-1")], answer).breaks


def test_a_flagged_copy_breaks_nothing():
    row = one(accepted(), TWO_ARRIVALS, status("sent", *SENT_TWICE, possible_duplicate=True))
    assert (row.once, row.more, row.flagged, row.unflagged) == (0, 1, 1, 0)
    assert row.breaks == ()


def test_an_unflagged_copy_is_caught():
    row = one(accepted(), TWO_ARRIVALS, status("sent", *SENT_TWICE))
    assert (row.more, row.flagged, row.unflagged) == (1, 0, 1)
    assert [line.partition(":")[0] for line in row.breaks] == ["an unflagged copy"]


def test_a_copy_on_hold_is_caught_even_if_it_is_flagged():
    answer = status("sent", *SENT_TWICE, possible_duplicate=True)
    row = one(accepted(on_unknown="hold"), TWO_ARRIVALS, answer)
    assert (row.copies_on_hold, row.unflagged) == (1, 0)
    assert [line.partition(":")[0] for line in row.breaks] == ["a copy on hold"]


def test_the_same_attempt_twice_is_caught_even_if_it_is_flagged():
    answer = status("sent", *SENT_TWICE, possible_duplicate=True)
    row = one(accepted(), [*TWO_ARRIVALS, ("ses", "m-2")], answer)
    assert [line.partition(":")[0] for line in row.breaks] == ["m-2 arrived 2 times"]


@pytest.mark.parametrize("state", ["queued", "sending", "retrying", "scheduled"])
def test_a_message_that_does_not_end_is_caught_even_if_it_arrived(state):
    answer = status(state, attempt(1, "mailgun", "unknown"))
    assert any("not ended" in line for line in one(accepted(), [("mailgun", "m-1")], answer).breaks)


def test_a_status_that_names_the_wrong_provider_is_caught():
    answer = status("sent", attempt(1, "mailgun", "unknown"), attempt(2, "ses", "accepted"))
    row = one(accepted(), [("mailgun", "m-1")], answer)
    assert row.lost == 0
    assert any("sent by ses, which has it not" in line for line in row.breaks)


@pytest.mark.parametrize("outcome", ["rejected", "refused", "unavailable"])
def test_an_attempt_that_arrived_though_it_was_not_taken_is_caught(outcome):
    attempts = (attempt(1, "mailgun", outcome), attempt(2, "ses", "accepted"))
    row = one(accepted(), TWO_ARRIVALS, status("sent", *attempts, possible_duplicate=True))
    assert any(f"m-1 is {outcome}, and yet it arrived" in line for line in row.breaks)


def test_an_arrival_whose_attempt_was_not_written_down_is_caught():
    row = one(accepted(), TWO_ARRIVALS, SENT | {"possible_duplicate": True})
    assert any("m-2 at ses was never written down" in line for line in row.breaks)


def test_a_mail_that_no_client_was_told_of_is_caught():
    row = one(accepted(), [("mailgun", "m-1"), ("mailgun", "other-1")], SENT)
    assert any("nobody was told of it" in line for line in row.breaks)


def test_what_else_went_wrong_breaks_the_promise_too():
    row = one(accepted(), [("mailgun", "m-1")], SENT, further_breaks=["left running: x"])
    assert row.breaks == ("left running: x",)


@pytest.mark.parametrize(
    ("blows", "delay"),
    [
        ([], 0.0),
        ([-1.0], 0.0),
        ([1.0, 3.0], 4.5),
        ([3.0, -1.0], 2.5),
        ([6.0], 0.0),
    ],
)
def test_the_delay_counts_from_the_first_blow_while_the_message_was_under_way(blows, delay):
    late = attempt(1, "mailgun", "accepted", started_at="2026-11-23T12:00:05Z", duration_ms=500)
    row = one(
        accepted(),
        [("mailgun", "m-1")],
        status("sent", late),
        blows=[Blow("worker", NOON_UNIX + at) for at in blows],
    )
    assert row.slowest == pytest.approx(delay)
    assert row.blows == ({"worker": len(blows)} if blows else {})


def test_rows_add_up():
    first = one(accepted(), [("mailgun", "m-1")], SENT, seconds=5.0, in_doubt=1)
    second = one(
        accepted(),
        TWO_ARRIVALS,
        status("sent", *SENT_TWICE),
        seconds=6.0,
        blows=[Blow("web", NOON_UNIX)],
    )
    both = first + second
    assert (both.runs, both.seconds, both.accepted, both.once, both.more) == (2, 11.0, 2, 1, 1)
    assert (both.in_doubt, both.unflagged, both.blows) == (1, 1, {"web": 1})
    assert both.slowest == pytest.approx(0.1)
    assert both.breaks == second.breaks


def test_the_table_has_a_line_for_each_scenario_and_one_for_all():
    lines = table([Row("first", lost=1), Row("second", lost=2)]).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["first", "second", "together"]
    assert len({len(line) for line in lines[:5]}) == 1


def test_every_break_is_told_up_to_a_limit():
    assert breaks([Row("calm")]) == ""
    told = breaks([Row("rough", breaks=tuple(f"lost {n}" for n in range(30)))])
    assert told.splitlines()[0] == "BROKEN  rough: lost 0"
    assert told.splitlines()[-1] == "BROKEN  rough: 10 more"
