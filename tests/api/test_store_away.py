"""When Redis is away, full, or loses an answer: the caller is told the truth, and soon."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from redis import Redis

from app.core import keys, queue
from app.services import connect
from tests.api.caller import Caller, problem
from tests.api.lossy import Loss, LossyProxy, lossy
from tests.api.test_keys import path, rules

WITHOUT_STORE = {
    *("operation.live", "operation.version", "operation.openapi", "asset"),
    # What is not signed is refused before it is kept.
    *("webhooks.receive", "webhooks.probe"),
}
_MAIL = {
    "from": "orders@shop.example",
    "to": "ann@example.net",
    "subject": "Your order",
    "text": "It is on its way.",
}
BODIES = {
    "messages.send_message": _MAIL,
    "batch.send_messages": {"messages": [_MAIL]},
    "status.ask_for_status": {"id": "msg_" + "0" * 26},
    "dead letters.resolve": {"outcome": "sent"},
    "suppressions.add_suppressions": {"email": "ann@example.net"},
    "callbacks.add_callback": {"url": "https://app.example.com/"},
}


@pytest.fixture(autouse=True)
def true_time(clock) -> None:
    """The server has the true time, by which Idempotency-Keys run out."""
    clock.now = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def cut_off(make_app, tmp_path) -> Caller:
    """A caller of an app whose Redis is not there."""
    return Caller(make_app(connect(f"unix://{tmp_path}/nobody.sock")))


def test_every_route_that_needs_the_store_says_soon_that_it_is_away(cut_off):
    refused = set()
    for rule in rules(cut_off.app):
        if rule.endpoint in WITHOUT_STORE:
            continue
        for method in rule.methods & {"GET", "POST"}:
            began = time.monotonic()
            body = BODIES.get(rule.endpoint, {}) if method == "POST" else None
            response = cut_off.call(method, path(cut_off.app, rule), json=body)
            assert problem(response) == (503, "unavailable"), rule
            assert int(response.headers["Retry-After"]) > 0
            assert time.monotonic() - began < 1
            refused.add(rule.endpoint)
    assert refused >= {*BODIES, "operation.ready", "messages.list_messages", "status.get_status"}


def test_the_process_lives_without_the_store(cut_off):
    assert cut_off.get("/livez").json == {"status": "ok"}
    assert cut_off.get("/version").status_code == 200
    assert cut_off.get("/openapi.json").status_code == 200


def test_a_request_with_faults_is_refused_for_them_whether_the_store_is_there_or_not(cut_off):
    assert set(cut_off.faults(subject="")) == {"subject"}
    assert Caller(cut_off.app, None).get("/messages").status_code == 401


def test_the_service_is_ready_again_as_soon_as_the_store_is(make_app, valkey_url, tmp_path):
    socket = tmp_path / "valkey.sock"
    shop = Caller(make_app(connect(f"unix://{socket}")))
    assert shop.get("/readyz").status_code == 503
    socket.symlink_to(valkey_url.removeprefix("unix://"))
    assert shop.get("/readyz").json == {"status": "ok"}
    assert shop.send().status_code == 202


@pytest.fixture
def proxy(valkey: Redis, valkey_url: str) -> Iterator[LossyProxy]:
    with lossy(valkey_url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
def shop(make_app, proxy) -> Caller:
    shop = Caller(make_app(connect(proxy.url)))
    # The server knows the script from here on.
    shop.sent(subject="the first")
    return shop


@pytest.mark.parametrize(("loss", "written"), [(Loss.REQUEST, 0), (Loss.ANSWER, 1)])
def test_a_lost_answer_is_in_doubt_and_the_same_key_settles_it(shop, proxy, valkey, loss, written):
    key = {"Idempotency-Key": "order-17"}
    proxy.loss = loss
    response = shop.send(key)
    assert problem(response) == (503, "accept_in_doubt")
    assert int(response.headers["Retry-After"]) > 0
    doubtful = response.json["id"]
    assert shop.get(f"/status/{doubtful}").status_code == (200 if written else 404)
    again = [shop.send(key) for _ in range(2)]
    assert [response.status_code for response in again] == [202, 202]
    assert len({response.json["id"] for response in again}) == 1
    assert (again[0].json["id"] == doubtful) is bool(written)
    assert ("Idempotency-Replayed" in again[0].headers) is bool(written)
    assert len(valkey.keys("sp:message:*")) == 2
    assert proxy.lost == 1


@pytest.mark.parametrize(("loss", "written"), [(Loss.REQUEST, 0), (Loss.ANSWER, 2)])
def test_a_batch_is_in_doubt_as_a_whole_and_says_all_its_ids(shop, proxy, valkey, loss, written):
    def send():
        batch = {"messages": [_MAIL, {**_MAIL, "subject": "The second"}]}
        return shop.post("/messages/batch", json=batch, headers={"Idempotency-Key": "news"})

    proxy.loss = loss
    response = send()
    assert problem(response) == (503, "accept_in_doubt")
    doubtful = response.json["ids"]
    assert [shop.get(f"/status/{i}").status_code for i in doubtful] == [200 if written else 404] * 2
    again = [send() for _ in range(2)]
    assert [response.status_code for response in again] == [202, 202]
    assert again[0].json == again[1].json
    known = [entry["id"] for entry in again[0].json["messages"]]
    assert (known == doubtful) is bool(written)
    assert len(valkey.keys("sp:message:*")) == 3


def test_a_command_whose_answer_was_lost_is_not_sent_again_by_itself(shop, proxy, valkey):
    proxy.loss = Loss.ANSWER
    assert problem(shop.send()) == (503, "accept_in_doubt")
    assert len(valkey.keys("sp:message:*")) == 2
    assert valkey.llen(keys.RQ_QUEUE + queue.QUEUE) == 2


@pytest.fixture
def full(make_app, valkey: Redis) -> Iterator[Caller]:
    """A caller of an app whose server has no memory left."""
    shop = Caller(make_app(valkey))
    shop.sent()
    allowed = valkey.config_get("maxmemory")["maxmemory"]
    valkey.config_set("maxmemory", 1)
    yield shop
    valkey.config_set("maxmemory", allowed)


def test_a_full_store_takes_no_mail_and_keeps_nothing_half(full, valkey):
    before = {name: valkey.dump(name) for name in valkey.keys("*")}
    for headers in ({}, {"Idempotency-Key": "order-17"}):
        response = full.send(headers)
        assert problem(response) == (503, "unavailable")
        assert int(response.headers["Retry-After"]) > 0
    assert {name: valkey.dump(name) for name in valkey.keys("*")} == before


def test_a_full_store_still_says_what_became_of_its_mail(full):
    (message,) = full.get("/messages").json["messages"]
    assert full.get(f"/status/{message['id']}").json["status"] == "queued"
