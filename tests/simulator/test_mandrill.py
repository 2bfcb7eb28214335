"""Mandrill's answers to calls that are not as they should be, to odd ones that are, to queries."""

import json

import pytest

from tests.simulator.sending import MANDRILL, send
from tests.waiting import until

FILE = {"type": "application/pdf", "name": "a.pdf", "content": "JVBERg=="}


def without(name):
    return {key: value for key, value in MANDRILL.items() if key != name}


def call(running, method, version="1.0", **body):
    body = {"key": running.credentials.mandrill_api_key} | body
    return running.session.post(f"{running.url}/mandrill/api/{version}/{method}.json", json=body)


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ([], "Please enter an array"),
        (MANDRILL | {"subject": 1}, {"subject": "Please enter a value of type string"}),
        (
            MANDRILL | {"to": [{"email": 1}]},
            {"to": {"0": {"email": "Please enter a value of type string"}}},
        ),
        (without("to"), {"to": "Please enter an array of recipients"}),
        (
            MANDRILL | {"to": [{"email": "ann"}]},
            {"to": {"0": {"email": "An email address must contain a single @"}}},
        ),
        (
            MANDRILL | {"to": [{"email": "a@b.example", "type": "x"}]},
            {"to": {"0": {"type": "The type is one of to, cc and bcc"}}},
        ),
        (
            MANDRILL | {"from_email": "shop"},
            {"from_email": "An email address must contain a single @"},
        ),
        (MANDRILL | {"headers": {"X-A": "a\nb"}}, {"headers": {"X-A": "This header is not valid"}}),
        (
            MANDRILL | {"attachments": [FILE | {"content": "?"}]},
            {"attachments": {"0": {"content": "The content must be base64"}}},
        ),
        (
            MANDRILL | {"images": [FILE]},
            {"images": {"0": {"type": "The type of an image must begin with image/"}}},
        ),
    ],
)
def test_what_is_wrong_is_said_where_it_stands_and_with_status_500(running, message, fault):
    answer = send(running, "mandrill", message)

    assert answer.status_code == 500
    error = answer.json()
    assert (error["status"], error["name"], error["code"]) == ("error", "ValidationError", -2)
    assert json.loads(error["message"].removeprefix("Validation error: ")) == {"message": fault}
    assert running.mails() == []


@pytest.mark.parametrize("tag", ["_own", "x" * 51, ""])
def test_a_bad_tag_is_refused(running, tag):
    answer = send(running, "mandrill", MANDRILL | {"tags": ["a", tag]})

    assert answer.json()["name"] == "ValidationError"
    assert '"tags":{"1":' in answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"{", "ValidationError"),
        (b'{"key": ""}', "ValidationError"),
        (b'{"key": "md-wrong"}', "Invalid_Key"),
    ],
)
def test_without_the_key_nothing_is_looked_at(running, body, name):
    answer = send(running, "mandrill", body)

    assert (answer.status_code, answer.json()["name"]) == (500, name)


def test_an_unknown_subaccount_is_named(running):
    answer = send(running, "mandrill", MANDRILL | {"subaccount": "x"})

    assert (answer.status_code, answer.json()["name"]) == (500, "Unknown_Subaccount")


def test_other_methods_are_not_found(running):
    assert call(running, "messages/send-raw").status_code == 404
    assert call(running, "users/ping").status_code == 404


def test_a_message_that_is_too_large_is_refused(running):
    assert send(running, "mandrill", MANDRILL | {"text": "x" * 27_000_000}).status_code == 413


def test_each_recipient_has_an_answer_of_their_own(running):
    people = ["ann@example.net", "reject@example.net", "a..b@example.net", "bo@example.net"]
    answers = send(running, "mandrill", MANDRILL | {"to": [{"email": one} for one in people]})

    assert answers.status_code == 200
    assert [(one["email"], one["status"], one["reject_reason"]) for one in answers.json()] == [
        ("ann@example.net", "sent", None),
        ("reject@example.net", "rejected", "hard-bounce"),
        ("a..b@example.net", "invalid", "invalid"),
        ("bo@example.net", "sent", None),
    ]
    assert len({one["_id"] for one in answers.json()}) == 4
    mail = running.mail()
    assert mail["provider_message_id"] == answers.json()[0]["_id"]
    assert [one["email"] for one in mail["recipients"]] == ["ann@example.net", "bo@example.net"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (MANDRILL | {"to": [{"email": "reject@example.net"}]}, "hard-bounce"),
        (without("from_email"), "invalid-sender"),
    ],
)
def test_a_200_may_hold_nothing_but_refusals(running, message, reason):
    (answer,) = send(running, "mandrill", message).json()

    assert (answer["status"], answer["reject_reason"]) == ("rejected", reason)
    assert running.mails() == []


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"attachments": [FILE]}, "attachments"),
        ({"to": [{"email": f"a{n}@b.example"} for n in range(11)]}, "multiple-recipients"),
    ],
    ids=["files", "many"],
)
def test_some_messages_wait_there(running, more, reason):
    answers = send(running, "mandrill", MANDRILL | more).json()

    assert {(one["status"], one["queued_reason"]) for one in answers} == {("queued", reason)}
    assert len(running.mails()) == 1


def test_messages_are_found_by_metadata_and_other_fields(running):
    running.set("mandrill", "up", lag=0)
    to = [{"email": "ann@example.net"}, {"email": "bounce@example.net"}]
    sent = send(running, "mandrill", MANDRILL | {"to": to, "tags": ["a"]}).json()
    send(running, "mandrill", MANDRILL | {"metadata": {"attempt_id": "at-2"}})

    def found(query, **more):
        answer = call(running, "messages/search", version="1.3", query=query, **more)
        return {one["_id"]: one for one in answer.json()}

    assert set(found("u_attempt_id:at-1")) == {one["_id"] for one in sent}
    assert set(found("email:bounce@example.net AND tags:a")) == {sent[1]["_id"]}
    assert len(found('subject:"Your order"')) == 3
    assert len(found("", limit=2)) == 2
    assert found("sender:other@shop.example") == {}
    until(lambda: found("u_attempt_id:at-1")[sent[1]["_id"]]["state"] == "bounced")
    info = call(running, "messages/info", id=sent[1]["_id"]).json()
    assert (info["email"], info["state"]) == ("bounce@example.net", "bounced")
    assert call(running, "messages/info", id="x").json()["name"] == "Unknown_Message"
    running.set("mandrill", "up", lag=60)
    assert found("") == {}


@pytest.mark.parametrize("body", [{"query": "NOT a"}, {"limit": 0}, {"limit": "x"}, {"key": "x"}])
def test_a_bad_query_is_refused(running, body):
    answer = call(running, "messages/search", **body)

    assert (answer.status_code, answer.json()["status"]) == (500, "error")
