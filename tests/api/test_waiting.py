"""Mail for later, and mail that is called back."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.caller import MAIL, Caller, problem

HOUR = timedelta(hours=1)


@pytest.fixture
def shop(app_over_redis, clock) -> Caller:
    # The server has the true time, by which keys run out.
    clock.now = datetime.now(UTC).replace(microsecond=0)
    return Caller(app_over_redis, "shop")


@pytest.fixture
def later(clock) -> str:
    return text(datetime.now(UTC).replace(microsecond=0) + HOUR)


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", ".000Z")


def status(shop: Caller, message_id: str) -> str:
    return shop.get(f"/status/{message_id}").json["status"]


def test_a_scheduled_message_says_so(shop, later):
    answer = shop.send(send_at=later, priority="high")
    assert answer.status_code == 202
    assert answer.json["status"] == "scheduled"
    whole = shop.get(f"/messages/{answer.json['id']}").json
    assert (whole["status"], whole["send_at"], whole["priority"]) == ("scheduled", later, "high")
    assert whole["next_attempt_at"] == later
    assert shop.get(f"/status/{answer.json['id']}").json["send_at"] == later
    listed = shop.get("/messages", query_string={"status": "scheduled"}).json["messages"]
    assert [message["id"] for message in listed] == [answer.json["id"]]


def test_the_zone_of_a_time_counts(shop, clock):
    at = (clock() + HOUR).astimezone(UTC) + timedelta(hours=2)
    message = shop.message(send_at=at.isoformat().replace("+00:00", "+02:00"))
    assert message["send_at"] == text(clock() + HOUR)


def test_a_time_that_is_past_is_now(shop):
    assert shop.send(send_at="2020-01-01T00:00:00Z").json["status"] == "queued"


def test_a_message_has_normal_priority_and_no_time_of_its_own(shop):
    message = shop.message()
    assert (message["priority"], message["send_at"]) == ("normal", None)


def test_a_replay_says_what_the_first_answer_said_though_the_mail_is_due_by_now(shop, later, clock):
    first = shop.send({"Idempotency-Key": "k"}, send_at=later)
    clock.tick(7200)
    again = shop.send({"Idempotency-Key": "k"}, send_at=later)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json == first.json


def test_times_that_make_no_sense_are_refused(shop, clock, later):
    far = text(clock() + timedelta(days=367))
    assert list(shop.faults(send_at=far, priority="urgent")) == ["send_at", "priority"]
    assert list(shop.faults(send_at=later, expires_at=later)) == ["expires_at"]
    assert list(shop.faults(send_at="2026-12-01T09:00:00")) == ["send_at"]


def test_a_scheduled_message_is_moved(shop, clock, later):
    message_id = shop.sent(send_at=later)
    at = text(clock() + 2 * HOUR)
    answer = shop.call("PATCH", f"/messages/{message_id}", json={"send_at": at})
    assert answer.status_code == 200
    assert (answer.json["send_at"], answer.json["status"]) == (at, "scheduled")
    at_once = {"send_at": text(clock())}
    answer = shop.call("PATCH", f"/messages/{message_id}", json=at_once)
    assert answer.json["status"] == "queued"
    assert problem(shop.call("PATCH", f"/messages/{message_id}", json=at_once)) == (409, "conflict")


def test_a_move_with_faults_moves_nothing(shop, clock, later):
    office = Caller(shop.app, "office")
    message_id = shop.sent(send_at=later, expires_at=text(clock() + 3 * HOUR))
    path = f"/messages/{message_id}"
    for body in (
        {},
        {"send_at": None},
        {"send_at": later, "subject": "x"},
        {"send_at": text(clock() + timedelta(days=367))},
        {"send_at": text(clock() + 3 * HOUR)},
    ):
        assert problem(shop.call("PATCH", path, json=body)) == (422, "invalid")
    assert problem(office.call("PATCH", path, json={"send_at": later})) == (404, "not_found")
    assert shop.get(path).json["send_at"] == later


@pytest.mark.parametrize("fields", [{}, {"priority": "bulk"}])
def test_a_waiting_message_is_called_back_and_again_with_the_same_answer(shop, later, fields):
    for message_id in (shop.sent(**fields), shop.sent(send_at=later, **fields)):
        first = shop.post(f"/messages/{message_id}/cancel")
        assert first.status_code == 200
        assert first.json["status"] == "cancelled"
        assert shop.post(f"/messages/{message_id}/cancel").json == first.json
        assert status(shop, message_id) == "cancelled"


def test_what_has_ended_or_is_somebody_elses_is_not_called_back(shop, redis, clock):
    office = Caller(shop.app, "office")
    message_id = shop.sent()
    assert problem(office.post(f"/messages/{message_id}/cancel")) == (404, "not_found")
    redis.hset(f"sp:message:{message_id}", "state", "sent")
    assert problem(shop.post(f"/messages/{message_id}/cancel")) == (409, "conflict")
    assert MAIL["subject"] == shop.get(f"/messages/{message_id}").json["subject"]
