"""The suppression list over HTTP, and what it does to mail that comes in."""

import csv
import io

import pytest

from app.core import keys
from tests.api.caller import problem

ANN, BEN = "ann@example.net", "ben@example.net"
ROUTE = "/suppressions"
AS_CSV = {"Accept": "text/csv"}


def add(caller, *emails, **fields):
    response = caller.post(ROUTE, json={"email": list(emails), **fields})
    assert response.status_code == 200, response.json
    return response.json


def load(caller, text):
    return caller.post(ROUTE, data=text.encode(), content_type="text/csv")


def listed(caller, query=""):
    return caller.get(ROUTE + query).json["suppressions"]


def states(caller, message_id):
    status = caller.get(f"/status/{message_id}").json
    return status["status"], [r["status"] for r in status["recipients"]]


def test_what_one_key_adds_all_keys_see(shop, office):
    assert add(shop, "Ann <ANN@Example.net>", BEN, note="by phone") == {"added": 2}
    ann, ben = listed(office)
    assert ann == {
        "email": ANN,
        "reason": "manual",
        "source": "api:shop",
        "created_at": ann["created_at"],
        "expires_at": None,
        "message_id": None,
        "note": "by phone",
    }
    assert ben["email"] == BEN


def test_one_address_can_be_looked_up_and_taken_off(shop):
    add(shop, "ann@bücher.example", BEN)
    assert len(listed(shop, "?email=ANN@XN--BCHER-KVA.example")) == 1
    assert listed(shop, "?email=nobody@example.net") == []
    assert shop.call("DELETE", f"{ROUTE}/Ann@Bücher.example").status_code == 204
    assert [e["email"] for e in listed(shop)] == [BEN]
    assert problem(shop.call("DELETE", f"{ROUTE}/{ANN}")) == (404, "not_found")


def test_the_list_comes_in_pages(shop):
    add(shop, *(f"u{n}@example.net" for n in range(5)))
    first = shop.get(f"{ROUTE}?limit=3").json
    second = shop.get(ROUTE, query_string={"limit": 3, "after": first["next"]}).json
    emails = [e["email"] for page in (first, second) for e in page["suppressions"]]
    assert emails == [f"u{n}@example.net" for n in range(5)]
    assert second["next"] is None


def test_csv_that_went_out_comes_in_again(shop):
    add(shop, ANN, reason="complaint", note='said "no", twice', expires_at="2030-01-01T00:00:00Z")
    add(shop, BEN)
    response = shop.get(ROUTE, headers=AS_CSV)
    assert response.content_type == "text/csv; charset=utf-8"
    before = listed(shop)
    assert [row["email"] for row in csv.DictReader(io.StringIO(response.text))] == [ANN, BEN]
    for email in (ANN, BEN):
        shop.call("DELETE", f"{ROUTE}/{email}")
    assert load(shop, "\ufeff" + response.text).json == {"added": 2}
    assert listed(shop) == before


def test_csv_comes_in_pages_too(shop):
    add(shop, ANN, BEN)
    link = shop.get(f"{ROUTE}?limit=1", headers=AS_CSV).headers["Link"]
    assert link.endswith('>; rel="next"')
    following = shop.get(link[1:].partition(">")[0], headers=AS_CSV)
    assert "Link" not in following.headers
    assert BEN in following.text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "rows.0"),
        ("ann@example.net\n", "rows.0"),
        ("email,colour\nann@example.net,red\n", "rows.0"),
        ("email,email\nann@example.net,x\n", "rows.0"),
        ("email\nann@example.net\nnobody\n", "rows.2.email"),
        ("email,reason\nann@example.net,why not\n", "rows.1.reason"),
        ("email,expires_at\nann@example.net,tomorrow\n", "rows.1.expires_at"),
        ("reason,email\nmanual,\n", "rows.1.email"),
    ],
)
def test_of_csv_with_a_fault_nothing_is_kept(shop, text, path):
    response = load(shop, text)
    assert problem(response) == (422, "invalid")
    assert list(response.json["errors"]) == [path]
    assert listed(shop) == []


def test_what_is_no_csv_is_malformed(shop):
    assert problem(load(shop, 'email\n"ann')) == (400, "malformed")
    latin = shop.post(ROUTE, data=b"email\n\xe4@example.net\n", content_type="text/csv")
    assert problem(latin) == (400, "malformed")


def test_all_faults_of_a_request_are_told(shop):
    response = shop.post(ROUTE, json={"email": "nobody", "reason": "x", "colour": "red"})
    assert set(response.json["errors"]) == {"email", "reason", "colour"}


def test_a_mail_to_suppressed_addresses_alone_is_accepted_and_goes_to_nobody(app, shop, fake):
    redis = fake[1]
    add(shop, ANN)
    response = shop.send(to="ANN@example.net", send_at="2026-12-24T09:00:00Z")
    assert (response.status_code, response.json["status"]) == (202, "suppressed")
    message_id = response.json["id"]
    assert states(shop, message_id) == ("suppressed", ["suppressed"])
    reason = shop.get(f"/status/{message_id}").json["recipients"][0]["reason"]
    assert reason.startswith("suppressed since ")
    assert [m["id"] for m in shop.get("/messages?status=suppressed").json["messages"]] == [
        message_id
    ]
    assert redis.exists(keys.body(message_id), keys.QUEUED, keys.RQ_JOB + message_id) == 0
    assert redis.pttl(keys.message(message_id)) > 0
    assert redis.zscore(keys.ENDED, message_id) is not None


def test_the_other_recipients_still_get_theirs(shop):
    add(shop, ANN)
    assert states(shop, shop.sent(to=[ANN, BEN])) == ("queued", ["suppressed", "queued"])


def test_each_message_of_a_batch_is_looked_at(shop):
    add(shop, ANN)
    mails = {"defaults": {"from": "a@shop.example", "subject": "s", "text": "t"}}
    mails["messages"] = [{"to": ANN}, {"to": BEN}]
    answer = shop.post("/messages/batch", json=mails).json["messages"]
    assert [entry["status"] for entry in answer] == ["suppressed", "queued"]


def test_an_earlier_answer_is_given_again_though_the_address_is_suppressed_since(shop):
    key = {"Idempotency-Key": "k1"}
    first = shop.send(key)
    add(shop, ANN)
    again = shop.send(key)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_suppression_that_is_over_keeps_nobody_out(shop, clock):
    add(shop, ANN, expires_at="2026-11-23T00:00:00Z")
    assert listed(shop) == []
    assert states(shop, shop.sent(to=ANN)) == ("queued", ["queued"])


def test_an_override_is_noted_in_the_message_and_in_the_log(shop, log):
    add(shop, ANN, reason="unsubscribed")
    message = shop.message(to=ANN, override_suppression="a password reset that she asked for")
    assert message["status"] == "queued"
    assert message["override_suppression"] == "a password reset that she asked for"
    (line,) = [line for line in log if line["event"] == "suppression overridden"]
    assert (line["message"], line["key"]) == (message["id"], "shop")
    assert line["against"] == ["unsubscribed"]
    assert line["why"] == "a password reset that she asked for"


def test_an_override_that_overrides_nothing_is_not_logged(shop, log):
    shop.message(to=BEN, override_suppression="to be sure")
    assert not [line for line in log if line["event"] == "suppression overridden"]


def test_no_line_of_the_log_holds_an_address(shop, log):
    add(shop, ANN)
    shop.sent(to=ANN)
    shop.sent(to=ANN, override_suppression="why")
    shop.call("DELETE", f"{ROUTE}/{ANN}")
    assert not any(ANN in str(line) for line in log)


@pytest.mark.parametrize("value", ["true", 1, "yes", [True]])
def test_unsubscribe_is_true_or_false(shop, value):
    assert shop.faults(unsubscribe=value).keys() == {"unsubscribe"}


def test_a_form_says_true_in_words(shop):
    form = {"from": "a@shop.example", "to": ANN, "subject": "s", "text": "t"}
    response = shop.post("/messages", data={**form, "unsubscribe": "true"})
    assert shop.get(f"/messages/{response.json['id']}").json["unsubscribe"] is True
    assert shop.post("/messages", data={**form, "unsubscribe": "maybe"}).status_code == 422


def test_unsubscribe_is_for_mail_to_one_recipient(shop):
    assert shop.message(to=[ANN, "ANN@example.net"], unsubscribe=True)["unsubscribe"] is True
    assert shop.faults(to=ANN, bcc=BEN, unsubscribe=True).keys() == {"unsubscribe"}
    assert shop.message(to=ANN, bcc=BEN, unsubscribe=False)["unsubscribe"] is False


def test_with_unsubscribe_there_is_no_such_header_of_ones_own(shop):
    headers = {"list-unsubscribe": "<https://shop.example/u>"}
    assert shop.faults(headers=headers, unsubscribe=True).keys() == {"headers"}
    assert shop.message(headers=headers)["headers"] == headers
