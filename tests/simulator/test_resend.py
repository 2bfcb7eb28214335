"""Resend's answers to calls that are not as they should be, and to those that come again."""

import pytest
import requests

from simulator.http import Call
from simulator.resend import KEY_LASTS, Refused, Resend
from tests.simulator.conftest import CREDENTIALS
from tests.simulator.sending import RESEND, send
from tests.waiting import until

FILE = {"filename": "a.pdf", "content": "JVBERg=="}
BAD = "Invalid `{}` field. The email address needs to follow the"


def without(name):
    return {key: value for key, value in RESEND.items() if key != name}


@pytest.mark.parametrize(
    ("body", "status", "name", "message"),
    [
        (b"{", 400, "validation_error", "The request body is not valid JSON."),
        (RESEND | {"to": 1}, 422, "validation_error", "The `to` field must be a `string`."),
        (RESEND | {"headers": []}, 422, "validation_error", "The `headers` field must be a"),
        (without("from"), 422, "missing_required_field", "Missing `from` field."),
        (RESEND | {"to": []}, 422, "missing_required_field", "Missing `to` field."),
        (RESEND | {"subject": None}, 422, "missing_required_field", "Missing `subject` field."),
        (without("text"), 422, "missing_required_field", "Missing `html` or `text` field."),
        (RESEND | {"from": "shop"}, 422, "invalid_from_address", BAD.format("from")),
        (RESEND | {"to": "a@b.example, c@d.example"}, 422, "validation_error", BAD.format("to")),
        (RESEND | {"bcc": ["ann@"]}, 422, "validation_error", BAD.format("bcc")),
        (RESEND | {"reply_to": "x"}, 422, "validation_error", BAD.format("reply_to")),
        (RESEND | {"cc": "reject@example.net"}, 422, "validation_error", BAD.format("cc")),
        (
            RESEND | {"to": [f"a{n}@example.net" for n in range(51)]},
            422,
            "validation_error",
            "The `to` field may have 50 items.",
        ),
        (
            RESEND | {"tags": [{"name": "a b", "value": "c"}]},
            422,
            "invalid_parameter",
            "Tags should only contain ASCII letters",
        ),
        (RESEND | {"headers": {"X-A": "a\nb"}}, 422, "invalid_parameter", "The header `X-A`"),
        (RESEND | {"attachments": [FILE | {"content": "?"}]}, 422, "invalid_attachment", "Att"),
        (RESEND | {"attachments": [{"content": "eA=="}]}, 422, "invalid_attachment", "Att"),
        (
            RESEND | {"attachments": [FILE | {"path": "https://x.example/a"}]},
            422,
            "invalid_attachment",
            "Files are not fetched",
        ),
    ],
)
def test_what_is_wrong_has_a_name(running, body, status, name, message):
    answer = send(running, "resend", body)

    assert answer.status_code == answer.json()["statusCode"] == status
    assert answer.json()["name"] == name
    assert answer.json()["message"].startswith(message)
    assert running.mails() == []


def test_keys_are_missed_before_anything_else(running):
    url = f"{running.url}/resend/emails"
    answer = running.session.post(url, b"{")
    assert (answer.status_code, answer.json()["name"]) == (401, "missing_api_key")
    answer = send(running, "resend", b"{", key="re_wrong")
    assert (answer.status_code, answer.json()["name"]) == (403, "invalid_api_key")


def test_who_does_not_say_what_it_is_does_not_come_in(running):
    answer = send(running, "resend", headers={"User-Agent": ""})

    assert (answer.status_code, answer.text) == (403, "error code: 1010")


def test_other_paths_and_methods_are_refused(running):
    key = {"Authorization": f"Bearer {running.credentials.resend_api_key}"}
    answer = running.session.post(f"{running.url}/resend/email", headers=key)
    assert (answer.status_code, answer.json()["name"]) == (404, "not_found")
    answer = running.session.get(f"{running.url}/resend/emails", headers=key)
    assert (answer.status_code, answer.json()["name"]) == (405, "method_not_allowed")


def once(running, body=None, key="at-1", **more):
    return send(running, "resend", body, headers={"Idempotency-Key": key}, **more)


def test_the_same_key_gives_the_first_answer_again_and_one_mail(running):
    first, again = once(running), once(running)

    assert first.json() == again.json()
    assert running.mail()["provider_message_id"] == first.json()["id"]
    assert once(running, key="at-2").json() != first.json()


def test_another_payload_under_a_key_is_a_conflict(running):
    once(running)
    answer = once(running, RESEND | {"subject": "Other"})

    assert (answer.status_code, answer.json()["name"]) == (409, "invalid_idempotent_request")
    assert len(running.mails()) == 1


def test_a_key_whose_first_call_still_runs_is_a_conflict(running):
    running.set("resend", "slow", seconds=0.5)
    with pytest.raises(requests.ReadTimeout):
        once(running, timeout=0.1)
    running.set("resend", "up")
    answer = once(running)
    assert (answer.status_code, answer.json()["name"]) == (409, "concurrent_idempotent_requests")

    message_id = running.mail()["provider_message_id"]
    assert until(lambda: once(running).json().get("id")) == message_id


@pytest.mark.parametrize("mode", ["timeout-after-accept", "reset-after-accept"])
def test_after_a_lost_answer_the_key_tells_that_it_was_taken(running, mode):
    running.set("resend", mode)
    with pytest.raises(requests.RequestException):
        once(running, timeout=0.2)
    running.set("resend", "up")

    assert once(running).json() == {"id": running.mail()["provider_message_id"]}


def test_what_was_not_taken_leaves_no_key(running):
    running.set("resend", "http-500")
    once(running)
    running.set("resend", "up")

    assert once(running, RESEND | {"subject": "Other"}).status_code == 200


@pytest.mark.parametrize("key", ["", "k" * 257])
def test_a_key_of_a_wrong_length_is_refused(running, key):
    answer = once(running, key=key)

    assert (answer.status_code, answer.json()["name"]) == (400, "invalid_idempotency_key")


def test_a_key_is_forgotten_after_a_day():
    clock = [1_000.0]
    api = Resend(CREDENTIALS, lambda: clock[0])

    def call(subject):
        headers = {
            "user-agent": "test",
            "authorization": f"Bearer {CREDENTIALS.resend_api_key}",
            "idempotency-key": "k",
        }
        body = b'{"from": "a@b.example", "to": "c@d.example", "text": "x", "subject": "%s"}'
        return Call("POST", "/emails", "", headers, body % subject)

    api.submission(call(b"one"), "/emails").taken(0.0)
    clock[0] += KEY_LASTS - 1
    with pytest.raises(Refused):
        api.submission(call(b"two"), "/emails")
    clock[0] += 1
    assert api.submission(call(b"two"), "/emails").mails


@pytest.mark.parametrize(
    ("to", "last_event"),
    [
        ("ann", "delivered"),
        ("bounce", "bounced"),
        ("complaint", "complained"),
        ("defer", "delivery_delayed"),
    ],
)
def test_an_email_tells_what_happened_last(running, to, last_event):
    running.set("resend", "up", lag=0)
    body = RESEND | {"to": f"{to}@example.net"}
    message_id = send(running, "resend", body).json()["id"]
    key = {"Authorization": f"Bearer {running.credentials.resend_api_key}"}

    def email():
        return running.session.get(f"{running.url}/resend/emails/{message_id}", headers=key).json()

    assert email()["subject"] == "Your order"
    until(lambda: email()["last_event"] == last_event)
    running.set("resend", "up", lag=60)
    assert email()["name"] == "not_found"
