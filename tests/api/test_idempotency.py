"""The Idempotency-Key: one request, one message, however often it is sent."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.caller import MAIL, Caller, mail, problem


@pytest.fixture
def shop(app_over_redis, clock) -> Caller:
    # The server has the true time, by which keys run out.
    clock.now = datetime.now(UTC).replace(microsecond=0)
    return Caller(app_over_redis, "shop")


@pytest.fixture
def office(shop) -> Caller:
    return Caller(shop.app, "office")


def messages(caller: Caller) -> list[str]:
    return [message["id"] for message in caller.get("/messages").json["messages"]]


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


def test_the_same_key_and_request_give_the_first_answer_again(shop):
    first, second = shop.send(key("order-17")), shop.send(key("order-17"))
    assert second.status_code == 202
    assert second.json == first.json
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert messages(shop) == [first.json["id"]]


def test_a_request_that_is_written_differently_is_the_same_request(shop):
    first = shop.send(key("order-17"), to="Ann <ann@example.net>", cc=[], metadata={"a": "1"})
    again = dict(
        reversed(
            mail(
                to=[{"name": "Ann", "email": "ann@EXAMPLE.net"}], html=None, metadata={"a": "1"}
            ).items()
        )
    )
    for body in (json.dumps(again), json.dumps(again, indent=4, ensure_ascii=False)):
        response = shop.post(
            "/messages", data=body, content_type="application/json", headers=key("order-17")
        )
        assert response.json["id"] == first.json["id"]
    form = {**MAIL, "metadata": '{"a": "1"}'}
    assert shop.post("/messages", data=form, headers=key("order-17")).json == first.json
    assert messages(shop) == [first.json["id"]]


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "Another order"},
        {"text": "It is lost."},
        {"to": ["ann@example.net"]},
        {"to": None, "cc": MAIL["to"]},
        {"headers": {"X-Order": "17"}},
        {"tags": ["order"]},
        {"on_unknown": "hold"},
        {"expires_at": "2027-01-01T00:00:00Z"},
    ],
)
def test_the_same_key_with_another_request_is_refused_and_keeps_nothing(shop, change):
    first = shop.send(key("order-17")).json["id"]
    response = shop.send(key("order-17"), **change)
    assert problem(response) == (422, "idempotency_mismatch")
    assert set(response.json["errors"]) == {"Idempotency-Key"}
    assert messages(shop) == [first]


def test_another_key_is_another_message(shop):
    assert shop.send(key("one")).json["id"] != shop.send(key("two")).json["id"]
    assert shop.send().json["id"] != shop.send().json["id"]


def test_each_api_key_has_idempotency_keys_of_its_own(shop, office):
    first, other = shop.send(key("order-17")), office.send(key("order-17"), subject="Minutes")
    assert other.status_code == 202
    assert other.json["id"] != first.json["id"]
    assert office.send(key("order-17"), subject="Minutes").json["id"] == other.json["id"]


def test_a_refused_request_leaves_its_key_free(shop):
    assert shop.send(key("order-17"), subject="").status_code == 422
    assert shop.send(key("order-17")).status_code == 202


def test_a_key_is_kept_for_a_day_after_the_mail_was_due(shop, redis, clock):
    shop.send(key("order-17"))
    (name,) = redis.keys("sp:*idempotency*")
    assert redis.pexpiretime(name) / 1000 == (clock.now + timedelta(days=1)).timestamp()


@pytest.mark.parametrize("text", ["x" * 255, "!", "a b ~", '"quoted"'])
def test_a_key_of_up_to_255_printable_characters_is_taken(shop, text):
    assert shop.send(key(text)).json["id"] == shop.send(key(text)).json["id"]


@pytest.mark.parametrize("text", ["", "x" * 256, "a\tb", "schlüssel", "a\x7fb", "x" * 10_000])
def test_any_other_key_is_refused(shop, text):
    assert set(shop.faults(key(text))) == {"Idempotency-Key"}


def test_a_line_break_in_a_key_is_refused(shop):
    environ = {"HTTP_IDEMPOTENCY_KEY": "order-17\r\nX-Evil: 1"}
    response = shop.post("/messages", json=MAIL, environ_overrides=environ)
    assert problem(response) == (422, "invalid")


def test_a_hundred_equal_requests_at_once_are_one_message(shop):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: shop.send(key("order-17")), range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(messages(shop)) == 1
