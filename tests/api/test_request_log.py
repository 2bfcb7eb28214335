"""What the log says of a request: one line, with ids, and nothing that is not for the log."""

import pytest

from tests.api.caller import KEYS, MAIL


def lines(log):
    return [line for line in log if line["event"] == "request"]


def test_a_request_has_one_line_with_its_ids(shop, log):
    response = shop.send()
    (line,) = lines(log)
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "request": response.headers["X-Request-Id"],
        "method": "POST",
        "route": "/messages",
        "status": 202,
        "key": "shop",
        "message": response.json["id"],
    }


def test_a_message_that_is_looked_at_is_named(shop, log):
    message_id = shop.sent()
    log.clear()
    shop.get(f"/status/{message_id}?email=ann@example.net")
    (line,) = lines(log)
    assert line["message"] == message_id
    assert line["route"] == "/status/<message_id:message_id>"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/ann@example.net", 404),
        ("GET", "/status/ann@example.net", 404),
        ("DELETE", "/messages", 405),
        ("GET", "/messages?recipient=ann@example.net", 200),
        ("POST", "/messages", 415),
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("OPTIONS", "/messages", 200),
    ],
)
def test_every_request_has_just_one_line_and_no_address(shop, log, method, path, status):
    response = shop.call(method, path)
    (line,) = lines(log)
    assert (line["status"], line["request"]) == (status, response.headers["X-Request-Id"])
    assert "ann" not in str(log)


def test_a_request_without_a_key_names_none(nobody, log):
    nobody.get("/messages")
    (line,) = lines(log)
    assert (line["status"], line["key"]) == (401, None)


def test_each_request_has_an_id_of_its_own(shop):
    ids = {shop.get("/livez").headers["X-Request-Id"] for _ in range(20)}
    assert len(ids) == 20


def test_neither_body_nor_secret_nor_address_gets_into_the_log(shop, log):
    shop.send({"Idempotency-Key": "order-17"}, html="<p>hidden</p>", tags=["hidden"])
    shop.send(sender="hidden", colour="hidden")
    shop.post("/messages", data=b'{"hidden": ', content_type="application/json")
    shop.post("/status", json={"id": "hidden@example.net"})
    text = str(log)
    assert len(lines(log)) == 4
    for secret in ("hidden", "order-17", KEYS["shop"], MAIL["subject"], MAIL["text"], "@"):
        assert secret not in text
