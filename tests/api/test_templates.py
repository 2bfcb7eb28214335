"""Templates over HTTP: put, looked at, previewed, deleted, and sent by."""

import json
from collections.abc import Callable

import pytest

from app.core import keys, records
from app.core.models import Body
from app.core.template_store import MOST_TEMPLATES
from tests.api.caller import Caller, mail, problem

NEWS = {
    "subject": "News for {{ name }}",
    "text": "Dear {{ name }}",
    "html": "<style>p { color: red }</style><p>Dear {{ name }}</p>",
    "sample": {"name": "Ann"},
}
BY_TEMPLATE = {"subject": None, "text": None}
WELCOME = {"name": "Ann", "product": "Acme", "url": "https://acme.example/start"}


def put(caller: Caller, name: str = "news", **fields):
    return caller.call("PUT", f"/templates/{name}", json={**NEWS, **fields})


def put_faults(caller: Caller, **fields) -> dict:
    answer = put(caller, **fields)
    assert answer.status_code == 422, answer.json
    return answer.json["errors"]


@pytest.fixture
def body_of(fake) -> Callable[[str], Body]:
    """What is kept of a message to be sent."""
    redis = fake[1]
    return lambda message_id: records.decode_body(redis.get(keys.body(message_id)))


def test_the_templates_that_are_shipped_can_be_listed_and_looked_at(shop):
    listed = shop.get("/templates").json["templates"]
    assert [t["name"] for t in listed] == ["password-reset", "receipt", "welcome"]
    assert all(t["shipped"] and t["version"] == 0 and t["updated_at"] is None for t in listed)
    welcome = shop.get("/templates/welcome").json
    assert welcome["variables"] == sorted(welcome["sample"])
    assert "<mjml" in welcome["mjml"]
    assert welcome["html"] is None
    assert welcome["versions"] == []


def test_a_template_that_is_put_can_be_looked_at_in_each_of_its_versions(shop, clock):
    first = put(shop)
    assert first.status_code == 200, first.json
    assert (first.json["version"], first.json["shipped"]) == (1, False)
    assert first.json["variables"] == ["name"]
    clock.tick(1)
    assert put(shop).json == first.json
    assert put(shop, subject="Other news").json["version"] == 2
    latest = shop.get("/templates/news").json
    assert latest["subject"] == "Other news"
    assert [v["version"] for v in latest["versions"]] == [2, 1]
    assert shop.get("/templates/news?version=1").json["subject"] == NEWS["subject"]
    assert problem(shop.get("/templates/news?version=3")) == (404, "not_found")
    assert "news" in [t["name"] for t in shop.get("/templates").json["templates"]]


def test_a_template_may_come_as_form_fields(shop):
    fields = {"subject": "Hi {{ name }}", "text": "Hello", "sample": '{"name": ["a", {"b": 1.5}]}'}
    answer = shop.call("PUT", "/templates/news", data=fields)
    assert answer.status_code == 200, answer.json
    assert answer.json["sample"] == {"name": ["a", {"b": 1.5}]}


def test_a_deleted_template_uncovers_the_one_that_is_shipped(shop, office):
    assert put(shop, "welcome").json["version"] == 1
    assert shop.get("/templates/welcome").json["version"] == 1
    assert office.get("/templates/welcome").json["version"] == 0
    assert shop.get("/templates/welcome?version=0").json["shipped"]
    assert problem(office.call("DELETE", "/templates/welcome"))[0] == 404
    assert shop.call("DELETE", "/templates/welcome").status_code == 204
    assert shop.get("/templates/welcome").json["shipped"]
    assert problem(shop.call("DELETE", "/templates/welcome"))[0] == 404


@pytest.mark.parametrize("name", ["Welcome", "a.b", "-a", "a" * 65, "..%2Fwelcome", "%2e%2e"])
def test_a_name_is_never_a_path(shop, name):
    answer = put(shop, name)
    assert answer.status_code in (404, 422)
    assert shop.get(f"/templates/{name}").status_code == 404
    assert shop.call("DELETE", f"/templates/{name}").status_code == 404


def test_a_bad_name_is_told_as_a_fault(shop):
    answer = put(shop, "Welcome")
    assert problem(answer)[0] == 422
    assert list(answer.json["errors"]) == ["name"]


def test_the_faults_of_a_template_are_told_by_its_parts(shop):
    assert list(put_faults(shop, subject="{{ name", text="{% if %}")) == ["subject", "text"]
    assert list(put_faults(shop, html=None, mjml="<mj-text>no</mj-text>")) == ["mjml"]
    assert list(put_faults(shop, mjml="<mjml></mjml>")) == ["mjml"]
    assert list(put_faults(shop, text=None, html=None)) == ["text"]
    assert list(put_faults(shop, text="x" * 100_001)) == ["text"]
    assert list(put_faults(shop, sample={"a": "x" * 70_000})) == ["sample"]
    assert list(put_faults(shop, colour="red")) == ["colour"]
    assert shop.get("/templates/news").status_code == 404


def test_there_can_be_only_so_many_templates(shop):
    for number in range(MOST_TEMPLATES):
        assert put(shop, f"t{number}").status_code == 200
    assert problem(put(shop, "more")) == (409, "conflict")
    assert put(shop, "t0", subject="Another").status_code == 200


def test_a_preview_is_what_a_template_comes_to(shop):
    put(shop)
    preview = shop.post("/templates/news/preview", json={"variables": {"name": "<Bob>"}}).json
    assert (preview["name"], preview["version"]) == ("news", 1)
    assert preview["subject"] == "News for <Bob>"
    assert preview["text"] == "Dear <Bob>"
    assert '<p style="color: red' in preview["html"]
    assert "Dear &lt;Bob&gt;" in preview["html"]


def test_without_variables_a_preview_shows_the_sample(shop):
    put(shop)
    put(shop, subject="Later")
    assert shop.post("/templates/news/preview?version=1").json["subject"] == "News for Ann"
    assert shop.post("/templates/news/preview", json={}).json["subject"] == "Later"
    for name in ("welcome", "password-reset", "receipt"):
        assert "Ann" in shop.post(f"/templates/{name}/preview").json["html"]


def test_a_preview_names_what_is_missing(shop):
    put(shop)
    answer = shop.post("/templates/news/preview", json={"variables": {}})
    assert problem(answer)[0] == 422
    assert list(answer.json["errors"]) == ["variables.name"]
    assert problem(shop.post("/templates/none/preview"))[0] == 404


def test_a_message_is_made_by_a_template(shop, body_of):
    put(shop)
    message_id = shop.sent(**BY_TEMPLATE, template="news", variables={"name": "Bob & Co"})
    message = shop.get(f"/messages/{message_id}").json
    assert message["subject"] == "News for Bob & Co"
    assert message["template"] == {"name": "news", "version": 1}
    body = body_of(message_id)
    assert body.text == "Dear Bob & Co"
    assert "Dear Bob &amp; Co" in body.html


def test_a_message_without_a_template_has_none(shop):
    assert shop.message()["template"] is None


def test_a_message_by_template_may_come_as_form_fields(shop):
    mail = {"from": "orders@shop.example", "to": "ann@example.net", "template": "welcome"}
    answer = shop.post("/messages", data={**mail, "variables": json.dumps(WELCOME)})
    assert answer.status_code == 202, answer.json
    answer = shop.post("/messages", data={**mail, "variables": "name=Ann"})
    assert list(answer.json["errors"]) == ["variables"]


def test_all_variables_that_are_missing_are_named_by_their_paths(shop):
    faults = shop.faults(**BY_TEMPLATE, template="welcome", variables={"name": "Ann"})
    assert list(faults) == ["variables.product", "variables.url"]
    assert "variables.name" in shop.faults(**BY_TEMPLATE, template="welcome")


def test_the_faults_of_variables_are_told_with_all_others(shop):
    fields = {**BY_TEMPLATE, "template": "welcome", "variables": {"name": "Ann"}, "to": "ann@"}
    assert list(shop.faults(**fields)) == ["to", "variables.product", "variables.url"]
    assert list(shop.faults(**{**fields, "template": "none"})) == ["to", "template"]
    batch = {"defaults": {"from": "news@shop.example"}, "messages": [mail(**fields)]}
    answer = shop.post("/messages/batch", json=batch)
    assert [path.removeprefix("messages.0.") for path in answer.json["errors"]] == [
        "to",
        "variables.product",
        "variables.url",
    ]


def test_a_template_that_is_not_there_is_a_fault(shop, office):
    put(shop)
    assert list(office.faults(**BY_TEMPLATE, template="news")) == ["template"]


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"template": "welcome", "variables": WELCOME}, ["subject", "text"]),
        ({"subject": None, "template": "welcome", "variables": WELCOME}, ["text"]),
        ({"variables": {}}, ["variables"]),
        ({**BY_TEMPLATE, "template": "../welcome"}, ["template"]),
        ({**BY_TEMPLATE, "template": "welcome", "variables": []}, ["variables"]),
        ({**BY_TEMPLATE, "template": "welcome", "variables": {"a": "x" * 262_144}}, ["variables"]),
        ({**BY_TEMPLATE}, ["subject", "text"]),
    ],
)
def test_a_message_has_its_own_content_or_that_of_a_template(shop, fields, faulty):
    assert sorted(shop.faults(**fields)) == faulty


def nested(depth: int) -> dict:
    value: dict = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_variables_may_be_nested_only_so_deeply(shop):
    put(shop)
    accepted = {"name": "Ann", "more": nested(15)}
    assert shop.sent(**BY_TEMPLATE, template="news", variables=accepted)
    refused = {"name": "Ann", "more": [nested(15)]}
    faults = shop.faults(**BY_TEMPLATE, template="news", variables=refused)
    assert list(faults) == ["variables"]


@pytest.mark.parametrize("change", ["asks for more", "is deleted"])
def test_a_repeated_request_gets_its_answer_though_the_template_has_changed(shop, change):
    put(shop)
    key = {"Idempotency-Key": "news-1"}
    mail = {**BY_TEMPLATE, "template": "news", "variables": {"name": "Ann"}}
    first = shop.send(key, **mail)
    assert first.status_code == 202
    if change == "is deleted":
        assert shop.call("DELETE", "/templates/news").status_code == 204
    else:
        put(shop, text="{{ shoe_size }}")
    again = shop.send(key, **mail)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert shop.get(f"/messages/{first.json['id']}").json["template"]["version"] == 1
    assert shop.send(key, **{**mail, "variables": {"name": "Bob"}}).status_code == 422


def test_a_batch_has_one_template_and_variables_by_recipient(shop, body_of):
    put(shop)
    batch = {
        "defaults": {"from": "news@shop.example", "template": "news"},
        "messages": [
            {"to": "ann@example.net", "variables": {"name": "Ann"}},
            {"to": "bob@example.net", "variables": {"name": "Bob"}},
        ],
    }
    answer = shop.post("/messages/batch", json=batch)
    assert answer.status_code == 202, answer.json
    ids = [entry["id"] for entry in answer.json["messages"]]
    assert [body_of(i).text for i in ids] == ["Dear Ann", "Dear Bob"]
    assert [len(shop.get(f"/messages/{i}").json["recipients"]) for i in ids] == [1, 1]


def test_the_faults_of_a_batch_stand_where_they_are(shop):
    put(shop)
    batch = {
        "defaults": {"from": "news@shop.example", "template": "news"},
        "messages": [
            {"to": "ann@example.net", "variables": {"name": "Ann"}},
            {"to": "bob@example.net", "variables": {}},
            {"to": "eve@example.net", "template": "none"},
        ],
    }
    strict = shop.post("/messages/batch", json=batch)
    assert strict.status_code == 422
    assert list(strict.json["errors"]) == ["messages.1.variables.name", "messages.2.template"]
    permissive = shop.post("/messages/batch?mode=permissive", json=batch)
    assert permissive.status_code == 202
    entries = permissive.json["messages"]
    assert "id" in entries[0]
    assert [list(e["errors"]) for e in entries[1:]] == [["variables.name"], ["template"]]


def test_a_batch_is_repeated_safely_though_its_template_has_changed(shop):
    put(shop)
    batch = {
        "defaults": {"from": "news@shop.example", "template": "news"},
        "messages": [{"to": "ann@example.net", "variables": {"name": "Ann"}}],
    }
    key = {"Idempotency-Key": "news-batch"}
    first = shop.post("/messages/batch", json=batch, headers=key)
    put(shop, text="{{ shoe_size }}")
    again = shop.post("/messages/batch", json=batch, headers=key)
    assert again.status_code == 202
    assert again.json == first.json


def test_a_template_that_takes_too_long_is_told_and_hangs_nobody(shop):
    put(shop, text="{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}")
    faults = shop.faults(**BY_TEMPLATE, template="news", variables={"name": "Ann"})
    assert list(faults) == ["template"]
    assert shop.post("/templates/welcome/preview").status_code == 200
