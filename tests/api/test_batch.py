"""Many messages in one request: all or none, or those that can be; in one step; each for itself."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.caller import MAIL, Caller, mail, problem


@pytest.fixture
def shop(app_over_redis, clock) -> Caller:
    # The server has the true time, by which keys run out.
    clock.now = datetime.now(UTC).replace(microsecond=0)
    return Caller(app_over_redis, "shop")


def send(shop: Caller, *messages, key=None, mode=None, **fields):
    headers = {"Idempotency-Key": key} if key else {}
    path = "/messages/batch" + (f"?mode={mode}" if mode else "")
    return shop.post(path, json={"messages": list(messages), **fields}, headers=headers)


def ids(shop: Caller) -> set[str]:
    return {message["id"] for message in shop.get("/messages?limit=100").json["messages"]}


def test_a_batch_is_accepted_and_answered_in_order(shop, clock):
    later = (clock() + timedelta(hours=1)).isoformat()
    answer = send(
        shop, mail(subject="one"), mail(subject="two", send_at=later), mail(to="c@c.example")
    )
    assert answer.status_code == 202
    entries = answer.json["messages"]
    assert [e["status"] for e in entries] == ["queued", "scheduled", "queued"]
    subjects = [shop.get(f"/messages/{e['id']}").json["subject"] for e in entries]
    assert subjects == ["one", "two", MAIL["subject"]]
    assert entries[0]["status_url"] == f"https://mail.example.com/status/{entries[0]['id']}"
    assert "errors" not in entries[0]
    assert ids(shop) == {e["id"] for e in entries}


def test_what_all_messages_share_is_said_once_and_each_sees_only_itself(shop):
    answer = send(
        shop,
        {"to": "ann@example.net", "subject": "Hello Ann"},
        {"to": "bob@example.net", "tags": ["vip"]},
        defaults={**mail(to=None), "tags": ["news"], "priority": "bulk"},
    )
    ann, bob = [shop.get(f"/messages/{e['id']}").json for e in answer.json["messages"]]
    assert [r["email"] for r in ann["recipients"]] == ["ann@example.net"]
    assert (ann["subject"], ann["tags"], ann["priority"]) == ("Hello Ann", ["news"], "bulk")
    assert (bob["subject"], bob["tags"], bob["priority"]) == (MAIL["subject"], ["vip"], "bulk")


def test_one_bad_message_is_the_end_of_a_strict_batch(shop):
    answer = send(shop, mail(), mail(to=["ann@example.net", "bob"], subject=None), "mail", None)
    assert problem(answer) == (422, "invalid")
    assert set(answer.json["errors"]) == {
        "messages.1.to.1",
        "messages.1.subject",
        "messages.2",
        "messages.3",
    }
    assert ids(shop) == set()


def test_what_is_wrong_with_the_defaults_is_said_of_them(shop):
    answer = send(shop, {"to": "a@a.example"}, {"to": "b"}, defaults=mail(to=None, priority="x"))
    assert set(answer.json["errors"]) == {"defaults.priority", "messages.1.to"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": [MAIL] * 1001},
        {"messages": MAIL},
        {"messages": [MAIL], "defaults": 17},
        {"messages": [MAIL], "default": {}},
    ],
    ids=["nothing", "none", "too many", "one", "defaults", "unknown"],
)
@pytest.mark.parametrize("mode", ["strict", "permissive"])
def test_a_request_that_is_no_batch_is_refused(shop, body, mode):
    response = shop.post(f"/messages/batch?mode={mode}", json=body)
    assert problem(response) == (422, "invalid")
    assert ids(shop) == set()


def test_a_batch_comes_as_json_and_in_a_mode_that_there_is(shop):
    assert problem(shop.post("/messages/batch", data={"messages": "[]"}))[0] == 415
    assert problem(send(shop, mail(), mode="lax")) == (422, "invalid")


def test_a_permissive_batch_accepts_what_it_can(shop):
    answer = send(shop, mail(), mail(to="bob"), mail(subject="three"), mode="permissive")
    assert answer.status_code == 202
    first, second, third = answer.json["messages"]
    assert list(second) == ["errors"]
    assert list(second["errors"]) == ["to"]
    assert ids(shop) == {first["id"], third["id"]}
    assert shop.get(f"/messages/{third['id']}").json["subject"] == "three"


def test_a_permissive_batch_of_which_nothing_can_be_accepted_is_refused(shop):
    answer = send(shop, mail(to="bob"), mode="permissive")
    assert problem(answer) == (422, "invalid")
    assert set(answer.json["errors"]) == {"messages.0.to"}


@pytest.mark.parametrize("mode", ["strict", "permissive"])
def test_the_same_key_and_batch_give_the_first_answer_again(shop, mode):
    messages = [mail(subject=str(n)) for n in range(3)]
    if mode == "permissive":
        messages.insert(1, mail(to="bob"))
    first, again = (send(shop, *messages, key="k", mode=mode) for _ in range(2))
    assert first.status_code == again.status_code == 202
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(ids(shop)) == 3


def test_the_same_key_with_another_batch_is_refused(shop):
    send(shop, mail(), key="k")
    assert problem(send(shop, mail(), mail(), key="k")) == (422, "idempotency_mismatch")
    assert problem(send(shop, mail(), key="k", mode="permissive")) == (422, "idempotency_mismatch")
    assert problem(shop.send({"Idempotency-Key": "k"})) == (422, "idempotency_mismatch")


def test_a_thousand_messages_are_one_write(shop, redis):
    answer = send(
        shop, *[{"to": f"user{n}@example.net"} for n in range(1000)], defaults=mail(to=None)
    )
    assert answer.status_code == 202
    assert len({e["id"] for e in answer.json["messages"]}) == 1000
    assert redis.llen("rq:queue:mail") == 1000


def test_bulk_mail_leaves_room_for_the_rest(make_app, redis, clock):
    shop = Caller(make_app(redis, MAX_BACKLOG="10"), "shop")
    assert problem(send(shop, *[mail(priority="bulk")] * 10)) == (503, "backlog_full")
    assert send(shop, *[mail(priority="bulk")] * 9).status_code == 202
    assert shop.send(priority="high").status_code == 202
    assert problem(shop.send(priority="high")) == (503, "backlog_full")
