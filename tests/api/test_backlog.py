"""Too much unfinished mail: more is refused, with nothing kept, until some of it has left."""

from tests.api.caller import Caller, problem


def test_mail_beyond_the_backlog_limit_is_refused_and_not_kept(make_app, valkey):
    shop = Caller(make_app(valkey, MAX_BACKLOG="2"))
    kept = [shop.sent(), shop.sent()]
    before = set(valkey.keys("*"))
    for headers in ({}, {"Idempotency-Key": "order-17"}):
        response = shop.send(headers)
        assert problem(response) == (503, "backlog_full")
        assert int(response.headers["Retry-After"]) > 0
    assert set(valkey.keys("*")) == before
    assert {m["id"] for m in shop.get("/messages").json["messages"]} == set(kept)


def test_an_idempotency_key_gets_its_first_answer_though_the_backlog_is_full(make_app, valkey):
    shop = Caller(make_app(valkey, MAX_BACKLOG="1"))
    key = {"Idempotency-Key": "order-17"}
    first = shop.send(key)
    again = shop.send(key)
    assert again.status_code == 202
    assert again.json["id"] == first.json["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert problem(shop.send(key, subject="Another"))[1] == "idempotency_mismatch"


def test_mail_is_refused_while_redis_uses_more_memory_than_it_may(make_app, valkey):
    full = Caller(make_app(valkey, MAX_BACKLOG_BYTES="1KiB"))
    assert problem(full.send()) == (503, "backlog_full")
    assert valkey.keys("sp:*") == []
    assert Caller(make_app(valkey, MAX_BACKLOG_BYTES="0")).send().status_code == 202
    assert full.get("/readyz").status_code == 200


def test_the_limit_of_memory_is_half_of_the_servers_own(make_app, valkey):
    allowed = valkey.config_get("maxmemory")["maxmemory"]
    used = int(valkey.info("memory")["used_memory"])
    try:
        valkey.config_set("maxmemory", 2 * used - used // 2)
        assert problem(Caller(make_app(valkey)).send()) == (503, "backlog_full")
        valkey.config_set("maxmemory", 3 * used)
        assert Caller(make_app(valkey)).send().status_code == 202
    finally:
        valkey.config_set("maxmemory", allowed)
