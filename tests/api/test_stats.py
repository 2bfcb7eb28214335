"""GET /stats and GET /metrics."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.caller import Caller, problem


def counts(caller, query=""):
    return caller.get(f"/stats?{query}").json["total"]["counts"]


def test_every_recipient_of_accepted_mail_is_counted(shop):
    shop.sent(to=["ann@example.net", "ben@example.net"])
    shop.sent()
    assert counts(shop)["accepted"] == 3


def test_a_repeated_request_counts_once(shop):
    for _ in range(3):
        shop.send({"Idempotency-Key": "one"})
    assert counts(shop)["accepted"] == 1


def test_a_key_sees_the_numbers_of_its_own_mail(shop, office):
    shop.sent()
    assert counts(office)["accepted"] == 0


def test_cancelled_mail_is_counted_as_such(shop):
    message = shop.sent(send_at="2026-11-23T18:00:00Z")
    assert shop.post(f"/messages/{message}/cancel").status_code == 200
    found = counts(shop)
    assert (found["accepted"], found["cancelled"]) == (1, 1)


def test_numbers_are_given_by_day(shop, clock):
    shop.sent()
    clock.tick(24 * 3600)
    shop.sent()
    shop.sent()
    days = shop.get("/stats").json["days"]
    found = [(day["day"], day["counts"]["accepted"]) for day in days]
    assert found == [("2026-11-23", 1), ("2026-11-24", 2)]
    assert counts(shop, "until=2026-11-23")["accepted"] == 1
    assert counts(shop, "since=2026-11-24")["accepted"] == 2


def test_numbers_are_given_by_tag_the_most_used_first(shop):
    shop.sent(tags=["order"])
    shop.sent(tags=["order", "first"])
    tags = shop.get("/stats").json["tags"]
    found = [(tag["tag"], tag["counts"]["accepted"]) for tag in tags]
    assert found == [("order", 2), ("first", 1)]
    assert [tag["tag"] for tag in shop.get("/stats?tag=first").json["tags"]] == ["first"]


def test_rates_of_nothing_are_null(shop):
    answer = shop.get("/stats").json
    assert set(answer["total"]["rates"].values()) == {None}
    assert answer["days"] == answer["providers"] == answer["tags"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [("since=2026-11-24&until=2026-11-23", "since"), ("since=soon", "since"), ("days=3", "days")],
)
def test_a_period_that_is_none_is_a_fault(shop, query, field):
    response = shop.get(f"/stats?{query}")
    assert response.status_code == 422
    assert field in response.json["errors"]


def test_a_period_of_centuries_is_cut_to_what_is_kept(shop):
    shop.sent()
    answer = shop.get("/stats?since=0001-01-01&until=9999-12-31").json
    assert answer["total"]["counts"]["accepted"] == 1
    assert answer["until"] == "2026-11-23"


def test_prometheus_reads_the_metrics(shop):
    shop.sent()
    response = shop.get("/metrics")
    assert response.content_type.startswith("text/plain")
    families = {f.name: f for f in text_string_to_metric_families(response.text)}
    fates = {s.labels["fate"]: s.value for s in families["steadpost_recipients"].samples}
    assert fates["accepted"] == 1
    places = {s.labels["in"]: s.value for s in families["steadpost_unfinished_messages"].samples}
    assert places == {"waiting": 0, "queued": 1, "sending": 0}
    fit = {s.labels["provider"]: s.value for s in families["steadpost_provider_fit"].samples}
    assert fit == {"mailgun": 1, "sendgrid": 1, "ses": 1}
    suspect = families["steadpost_provider_suspect"].samples
    assert {s.labels["provider"] for s in suspect} == {"mailgun", "sendgrid", "ses"}
    assert {s.value for s in suspect} == {0}


def test_metrics_want_a_key(app):
    assert problem(Caller(app, None).get("/metrics")) == (401, "unauthorized")
