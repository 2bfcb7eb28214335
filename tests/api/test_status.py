"""GET and POST /status, and GET /messages/<id>."""

import pytest

from tests.api.caller import problem

NEVER = "msg_" + "0" * 26


@pytest.fixture
def message_id(shop) -> str:
    return shop.sent(to="Ann <ann@example.net>", cc="bob@example.net", bcc="Di@Bücher.example")


def test_a_status_says_what_became_of_each_recipient(shop, message_id):
    status = shop.get(f"/status/{message_id}").json
    recipients = status.pop("recipients")
    assert status == {
        "id": message_id,
        "status": "queued",
        "reason": None,
        "provider": None,
        "created_at": "2026-11-23T12:00:00.000Z",
        "updated_at": "2026-11-23T12:00:00.000Z",
        "expires_at": "2026-11-24T12:00:00.000Z",
        "send_at": None,
        "next_attempt_at": None,
        "possible_duplicate": False,
        "opened": None,
        "clicked": None,
        "attempts": [],
    }
    assert [(r["kind"], r["email"], r["status"], r["reason"]) for r in recipients] == [
        ("to", "ann@example.net", "queued", None),
        ("cc", "bob@example.net", "queued", None),
        ("bcc", "Di@bücher.example", "queued", None),
    ]


@pytest.mark.parametrize(
    "email",
    [
        *("bob@example.net", "BOB@EXAMPLE.NET", "  bob@example.net ", "Bob <bob@example.net>"),
        *("di@bücher.example", "di@xn--bcher-kva.example"),
    ],
)
def test_a_status_is_narrowed_to_one_recipient_however_it_is_written(shop, message_id, email):
    asked = shop.get(f"/status/{message_id}", query_string={"email": email})
    assert asked.status_code == 200
    assert len(asked.json["recipients"]) == 1
    for options in (
        {"json": {"id": message_id, "email": email}},
        {"data": {"id": message_id, "email": email}},
    ):
        assert shop.post("/status", **options).json == asked.json


@pytest.mark.parametrize(
    "email", ["eve@example.net", "", "bob", "bob@example.net, ann@example.net"]
)
def test_a_recipient_whom_the_message_does_not_have_is_not_found(shop, message_id, email):
    for response in (
        shop.get(f"/status/{message_id}", query_string={"email": email}),
        shop.post("/status", json={"id": message_id, "email": email}),
    ):
        assert problem(response) == (404, "recipient_not_found")


def test_without_a_recipient_the_whole_status_is_answered(shop, message_id):
    whole = shop.get(f"/status/{message_id}").json
    assert shop.post("/status", json={"id": message_id}).json == whole
    assert shop.post("/status", json={"id": message_id, "email": None}).json == whole


@pytest.mark.parametrize(
    "unknown", [NEVER, "17", "msg_", "x" * 5000, "msg_%0a", "..", NEVER + "0", "ü"]
)
def test_a_message_that_never_was_is_not_found(shop, unknown):
    for route in (f"/status/{unknown}", f"/messages/{unknown}"):
        assert problem(shop.get(route)) == (404, "not_found")
    assert problem(shop.post("/status", json={"id": unknown})) == (404, "not_found")


@pytest.mark.parametrize(
    "body", [{}, {"id": 17}, {"id": NEVER, "mail": "x"}, {"id": NEVER, "email": 1}]
)
def test_a_question_with_faults_is_refused(shop, body):
    assert problem(shop.post("/status", json=body)) == (422, "invalid")


@pytest.mark.parametrize("query", ["mail=x", "email=a@b.example&email=c@d.example"])
def test_a_query_that_nobody_knows_is_refused(shop, message_id, query):
    assert problem(shop.get(f"/status/{message_id}?{query}")) == (422, "invalid")


def test_a_status_that_is_known_already_is_not_sent_again(shop, message_id, app, clock):
    first = shop.get(f"/status/{message_id}")
    etag = {"If-None-Match": first.headers["ETag"]}
    again = shop.get(f"/status/{message_id}", headers=etag)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    narrowed = shop.get(f"/status/{message_id}?email=bob@example.net", headers=etag)
    assert narrowed.status_code == 200
    app.extensions["steadpost"].store.claim(message_id, "worker", clock(), clock() - clock())
    assert shop.get(f"/status/{message_id}", headers=etag).json["status"] == "sending"


@pytest.mark.parametrize("etag", ['"other"', 'W/"other", "x"', "garbage", ""])
def test_another_etag_gets_the_whole_status(shop, message_id, etag):
    response = shop.get(f"/status/{message_id}", headers={"If-None-Match": etag})
    assert response.status_code == 200


def test_a_status_is_kept_by_nobody_on_the_way(shop, message_id):
    assert shop.get(f"/status/{message_id}").headers["Cache-Control"] == "private, no-cache"


def test_head_answers_as_get_does_without_the_body(shop, message_id):
    for route in (f"/status/{message_id}", f"/messages/{message_id}", "/messages", "/livez"):
        head, get = shop.call("HEAD", route), shop.get(route)
        assert (head.status_code, head.data) == (get.status_code, b"")
        assert head.headers.get("ETag") == get.headers.get("ETag")
