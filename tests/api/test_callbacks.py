"""Routes for callbacks: each key has its own, and secrets are shown once."""

from base64 import b64decode

import pytest
from flask import Flask

from app.api.context import services
from app.core.callback_feed import CallbackFeed
from app.core.callback_transport import Answered
from app.core.callbacks import Callbacks
from app.core.scripting import Scripts
from tests.api.caller import Caller, problem

HOOK = {"url": "https://app.example.com/mail-events"}


@pytest.fixture
def hook(shop) -> dict:
    response = shop.post("/callbacks", json=HOOK)
    assert response.status_code == 201
    return response.json


class Sender:
    """What a worker does about callbacks, but for the network."""

    def __init__(self, app: Flask, redis, clock) -> None:
        with app.app_context():
            self._book, self._queue = services().callback_book, services().callback_queue
        self._feed = CallbackFeed(Scripts(redis), self._book, clock)
        self._callbacks = Callbacks(self._book, self._queue, self, False, clock, lambda: 0.0)
        self.status = 204
        self.asked: list[str] = []

    def post(self, target, headers, body, failing=False) -> Answered:
        self.asked.append(headers["webhook-id"])
        return Answered(self.status, "what it said")

    def work(self) -> None:
        self._feed.work()
        for taken in self._callbacks.take(9, 9):
            self._callbacks.deliver(taken)


@pytest.fixture
def sender(fake, app) -> Sender:
    return Sender(*fake)


def delivered(shop: Caller, hook: dict) -> list[dict]:
    return shop.get(f"/callbacks/{hook['id']}/deliveries").json["deliveries"]


def told_of_a_cancelled_mail(shop: Caller, sender: Sender, **fields) -> str:
    message_id = shop.sent(**fields)
    assert shop.post(f"/messages/{message_id}/cancel").status_code == 200
    sender.work()
    return message_id


def test_a_callback_is_registered_and_its_secret_shown_once(shop, hook):
    assert hook["url"] == HOOK["url"]
    assert (hook["enabled"], hook["disabled_because"], hook["failing_since"]) == (True, None, None)
    assert len(hook["events"]) == 13
    secret = hook["secret"].removeprefix("whsec_")
    assert 24 <= len(b64decode(secret)) <= 64
    default, listed = shop.get("/callbacks").json["callbacks"]
    assert listed == {**hook, "secret": None}
    assert (default["id"], default["url"], default["secret"]) == ("default", None, None)


def test_everything_about_it_can_be_said(shop):
    wanted = {
        **HOOK,
        "events": ["bounced", "complained"],
        "description": "The shop's",
        "enabled": False,
    }
    made = shop.post("/callbacks", json=wanted).json
    assert {name: made[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "url"),
        ({"url": "http://app.example.com/"}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "https://user:pw@app.example.com/"}, "url"),
        ({"url": "https://app.example.com:25/"}, "url"),
        ({**HOOK, "events": ["opend"]}, "events.0"),
        ({**HOOK, "events": []}, "events"),
        ({**HOOK, "events": ["sent", "sent"]}, "events"),
        ({**HOOK, "enabled": "yes"}, "enabled"),
        ({**HOOK, "secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_registered(shop, fields, path):
    response = shop.post("/callbacks", json=fields)
    assert problem(response) == (422, "invalid")
    assert set(response.json["errors"]) == {path}
    assert len(shop.get("/callbacks").json["callbacks"]) == 1


def test_a_message_may_name_a_url_of_its_own(shop):
    url = "https://app.example.com/orders/17"
    assert shop.message(callback_url=url)["callback_url"] == url
    assert shop.message()["callback_url"] is None
    assert set(shop.faults(callback_url="https://127.0.0.1/")) == {"callback_url"}
    batch = {"messages": [{"to": "a@example.net"}], "defaults": {"callback_url": "nowhere"}}
    assert problem(shop.post("/messages/batch", json=batch)) == (422, "invalid")


def test_plain_http_is_for_where_it_was_allowed(make_app, fake):
    local = {"url": "http://127.0.0.1:9999/hook"}
    allowing = Caller(make_app(fake[1], CALLBACK_ALLOW_PRIVATE="on"))
    assert allowing.post("/callbacks", json=local).status_code == 201


def test_a_key_sees_and_changes_its_own_only(shop, office, hook, sender):
    told_of_a_cancelled_mail(shop, sender)
    (delivery,) = delivered(shop, hook)
    path = f"/callbacks/{hook['id']}"
    assert [one["id"] for one in office.get("/callbacks").json["callbacks"]] == ["default"]
    for method, where in (
        ("PATCH", path),
        ("DELETE", path),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/deliveries/{delivery['id']}/replay"),
        ("POST", f"/callbacks/default/deliveries/{delivery['id']}/replay"),
    ):
        response = office.call(method, where, json={} if method == "PATCH" else None)
        assert problem(response) == (404, "not_found"), (method, where)
    assert shop.get(f"{path}/deliveries").status_code == 200


def test_a_callback_is_changed_and_what_is_not_named_stays(shop, hook):
    path = f"/callbacks/{hook['id']}"
    changed = shop.call("PATCH", path, json={"enabled": False, "description": "off for now"}).json
    expected = {**hook, "enabled": False, "description": "off for now", "secret": None}
    assert changed == expected
    assert shop.get("/callbacks").json["callbacks"][1] == expected


def test_a_new_secret_is_shown_and_nothing_else_changes(shop, hook):
    path = f"/callbacks/{hook['id']}"
    rotated = shop.call("PATCH", path, json={"rotate_secret": True}).json
    assert rotated["secret"] not in (None, hook["secret"])
    assert {**rotated, "secret": None} == {**hook, "secret": None}


def test_the_default_has_events_and_a_secret_and_is_always_there(shop):
    first = shop.call("PATCH", "/callbacks/default", json={"rotate_secret": True}).json["secret"]
    again = shop.call("PATCH", "/callbacks/default", json={"rotate_secret": True}).json["secret"]
    assert first != again
    changed = shop.call("PATCH", "/callbacks/default", json={"events": ["bounced"]})
    assert changed.json["events"] == ["bounced"]
    response = shop.call("PATCH", "/callbacks/default", json={"enabled": False, **HOOK})
    assert problem(response) == (422, "invalid")
    assert set(response.json["errors"]) == {"enabled", "url"}
    assert problem(shop.call("DELETE", "/callbacks/default")) == (409, "conflict")


def test_what_is_removed_is_gone(shop, hook):
    path = f"/callbacks/{hook['id']}"
    assert shop.call("DELETE", path).status_code == 204
    assert problem(shop.call("DELETE", path)) == (404, "not_found")
    assert problem(shop.get(f"{path}/deliveries")) == (404, "not_found")


def test_there_may_be_fifty(shop):
    for _ in range(50):
        assert shop.post("/callbacks", json=HOOK).status_code == 201
    assert problem(shop.post("/callbacks", json=HOOK)) == (409, "conflict")


def test_deliveries_tell_what_was_told_and_how_it_went(shop, hook, sender):
    sender.status = 500
    message_id = told_of_a_cancelled_mail(shop, sender, metadata={"order": "17"})
    (delivery,) = delivered(shop, hook)
    assert (delivery["message_id"], delivery["event"]) == (message_id, "cancelled")
    assert (delivery["status"], delivery["url"]) == ("waiting", HOOK["url"])
    assert delivery["payload"]["data"]["metadata"] == {"order": "17"}
    assert delivery["next_try_at"] > delivery["created_at"]
    (only,) = delivery["tries"]
    assert (only["status_code"], only["error"], only["answer"]) == (500, None, "what it said")
    _, now = shop.get("/callbacks").json["callbacks"]
    assert (now["last_fault"], now["failing_since"]) == ("answered 500", only["at"])


def test_pages_of_deliveries_follow_each_other(shop, hook, sender, clock):
    for _ in range(3):
        told_of_a_cancelled_mail(shop, sender)
        clock.tick(1)
    path = f"/callbacks/{hook['id']}/deliveries"
    first = shop.get(f"{path}?limit=2").json
    second = shop.get(f"{path}?limit=2&after={first['next']}").json
    assert second["next"] is None
    assert [d["id"] for d in first["deliveries"] + second["deliveries"]] == [
        d["id"] for d in delivered(shop, hook)
    ]


def test_a_delivery_is_replayed_at_once(shop, hook, sender):
    told_of_a_cancelled_mail(shop, sender)
    (delivery,) = delivered(shop, hook)
    path = f"/callbacks/{hook['id']}/deliveries/{delivery['id']}/replay"
    response = shop.post(path)
    assert (response.status_code, response.json["status"]) == (202, "waiting")
    sender.work()
    assert sender.asked == [delivery["id"]] * 2
    assert delivered(shop, hook)[0]["status"] == "delivered"
    assert problem(shop.post(path.replace("evt_", "evt_x"))) == (404, "not_found")


def test_what_is_disabled_is_not_replayed(shop, hook, sender):
    told_of_a_cancelled_mail(shop, sender)
    (delivery,) = delivered(shop, hook)
    shop.call("PATCH", f"/callbacks/{hook['id']}", json={"enabled": False})
    path = f"/callbacks/{hook['id']}/deliveries/{delivery['id']}/replay"
    assert problem(shop.post(path)) == (409, "conflict")


def test_one_that_is_gone_says_why_it_was_disabled(shop, hook, sender):
    sender.status = 410
    told_of_a_cancelled_mail(shop, sender)
    _, now = shop.get("/callbacks").json["callbacks"]
    assert (now["enabled"], now["disabled_because"]) == (False, "it answered 410 Gone")
    changed = shop.call("PATCH", f"/callbacks/{hook['id']}", json={"enabled": True}).json
    assert (changed["enabled"], changed["disabled_because"]) == (True, None)


def test_secrets_are_not_logged(shop, hook, log):
    rotated = shop.call("PATCH", f"/callbacks/{hook['id']}", json={"rotate_secret": True}).json
    assert hook["secret"] not in str(log)
    assert rotated["secret"] not in str(log)
