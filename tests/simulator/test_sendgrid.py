"""SendGrid's answers to calls that are not as they should be, and to odd ones that are."""

import copy

import pytest

from tests.simulator.sending import SENDGRID, send


def changed(path, value):
    """The plain mail with one value put in place of what is at a path; None takes it away."""
    body = copy.deepcopy(SENDGRID)
    holder = body
    *way, last = path.split(".")
    for step in way:
        holder = holder[int(step)] if isinstance(holder, list) else holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return body


def person(email):
    return {"email": email}


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("from", None, "from.email"),
        ("from.email", "shop", "from.email"),
        ("from.email", "Shop <o@shop.example>", "from.email"),
        ("from.email", 7, "from.email"),
        ("reply_to", person("help"), "reply_to.email"),
        ("reply_to_list", [person("help@shop.example"), {}], "reply_to_list.1.email"),
        ("personalizations", None, "personalizations"),
        ("personalizations", [], "personalizations"),
        ("personalizations.0.to", None, "personalizations.0.to"),
        ("personalizations.0.to", [], "personalizations.0.to"),
        ("personalizations.0.to", [person("ann")], "personalizations.0.to.0.email"),
        ("personalizations.0.to", person("ann@example.net"), "personalizations.0.to"),
        ("personalizations.0.cc", [person("jürgen@x.example")], "personalizations.0.cc.0.email"),
        ("personalizations.0.bcc", [person("ANN@example.net")], "personalizations.0.bcc"),
        ("personalizations.0.to", [person("reject@x.example")], "personalizations.0.to.0.email"),
        ("personalizations.0.cc", [person("reject+a@x.example")], "personalizations.0.cc.0.email"),
        ("personalizations.0.from", person("o"), "personalizations.0.from.email"),
        ("tracking_settings", {"open_tracking": False}, "tracking_settings.open_tracking"),
        (
            "tracking_settings",
            {"click_tracking": {"enable": "no"}},
            "tracking_settings.click_tracking.enable",
        ),
        ("subject", None, "subject"),
        ("subject", "", "subject"),
        ("content", None, "content"),
        ("content", [], "content"),
        ("content.0.value", "", "content.0.value"),
        ("content.0.type", "text", "content.0.type"),
        (
            "content",
            [{"type": "text/html", "value": "a"}, {"type": "text/plain", "value": "b"}],
            "content",
        ),
        ("headers", {"Subject": "x"}, "headers.Subject"),
        ("headers", {"X-Name": "Jürgen"}, "headers.X-Name"),
        ("headers", {"X-A": "a\r\nBcc: b@example.net"}, "headers.X-A"),
        ("attachments", [{"content": "!", "filename": "a"}], "attachments.0.content"),
        ("attachments", [{"content": "YQ==", "filename": "a\r\nb"}], "attachments.0.filename"),
        ("categories", [str(number) for number in range(11)], "categories"),
        ("categories", ["a", "a"], "categories"),
        ("categories", ["ä"], "categories.0"),
        ("custom_args", {"much": "x" * 10_001}, "custom_args"),
        ("send_at", 2**40, "send_at"),
        ("template_id", "d-1", "template_id"),
    ],
)
def test_a_bad_field_is_named(running, path, value, field):
    answer = send(running, "sendgrid", changed(path, value))

    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["message"]
    assert running.mails() == []


def test_every_fault_is_told_at_once(running):
    body = changed("from.email", "shop") | {"content": []}
    errors = send(running, "sendgrid", body).json()["errors"]

    assert [error["field"] for error in errors] == ["from.email", "content"]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", changed("custom_args", {"n": 1}), changed("headers", {"X-N": 1})],
)
def test_what_fits_nothing_is_a_bad_request(running, body):
    answer = send(running, "sendgrid", body)

    assert answer.status_code == 400
    assert answer.json() == {"errors": [{"message": "Bad Request", "field": None, "help": None}]}


def test_more_than_a_thousand_recipients_are_too_many(running):
    people = [person(f"a{number}@example.net") for number in range(1001)]
    (error,) = send(running, "sendgrid", changed("personalizations.0.to", people)).json()["errors"]

    assert error["field"] == "personalizations"


def test_without_a_key_authorization_is_required(running):
    answer = running.session.post(f"{running.url}/sendgrid/v3/mail/send", json=SENDGRID)

    assert answer.status_code == 401
    assert answer.json() == {"errors": [{"field": None, "message": "authorization required"}]}


@pytest.mark.parametrize(
    ("method", "path", "kind", "status"),
    [
        ("POST", "/v3/mail/sent", "application/json", 404),
        ("GET", "/v3/mail/send", "application/json", 405),
        ("POST", "/v3/mail/send", "text/plain", 415),
    ],
)
def test_path_method_and_content_type_matter(running, method, path, kind, status):
    headers = {
        "Authorization": f"Bearer {running.credentials.sendgrid_api_key}",
        "Content-Type": kind,
    }
    url = f"{running.url}/sendgrid{path}"

    assert running.session.request(method, url, data="{}", headers=headers).status_code == status


def test_success_is_an_empty_202_with_an_id(running):
    answer = send(running, "sendgrid")

    assert (answer.status_code, answer.content) == (202, b"")
    assert len(answer.headers["X-Message-Id"]) == 22


def test_each_personalization_is_a_mail_of_its_own(running):
    body = SENDGRID | {
        "personalizations": [
            {"to": [person("ann@example.net")], "substitutions": {"-name-": "Ann"}},
            {
                "to": [person("bo@example.net")],
                "subject": "For you",
                "headers": {"X-One": "1"},
                "custom_args": {"attempt_id": "at-2"},
            },
        ],
        "content": [{"type": "text/plain", "value": "Hello -name-"}],
        "custom_args": {"attempt_id": "at-1", "order": "17"},
    }
    answer = send(running, "sendgrid", body)

    second, first = running.mails()
    assert first["text"] == "Hello Ann"
    assert first["variables"] == {"attempt_id": "at-1", "order": "17"}
    assert second["subject"] == "For you"
    assert second["headers"] == [{"name": "X-One", "value": "1"}]
    assert second["attempt_id"] == "at-2"
    ids = {mail["provider_message_id"] for mail in (first, second)}
    assert ids == {answer.headers["X-Message-Id"]}
