"""SES's answers to calls that are not as they should be, and to odd ones that are."""

import base64
import copy

import pytest

from tests.simulator.sending import SES, send


def changed(path, value):
    """The plain mail with one value put in place of what is at a path; None takes it away."""
    body = copy.deepcopy(SES)
    holder = body
    *way, last = path.split(".")
    for step in way:
        holder = holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return body


def raw(source, **more):
    return {"Content": {"Raw": {"Data": base64.b64encode(source).decode()}}, **more}


MANY = [f"a{number}@example.net" for number in range(26)]


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"[]", "SerializationException", "The body is not"),
        (changed("Content", None), "BadRequestException", "1 validation error"),
        (changed("Content", {}), "BadRequestException", "Exactly one of"),
        (changed("Content.Raw", {"Data": ""}), "BadRequestException", "Exactly one of"),
        (changed("Content.Simple.Subject", None), "BadRequestException", "1 validation error"),
        (changed("Content.Simple.Body", {}), "BadRequestException", "The message has no body"),
        (changed("Content.Simple.Subject", {"Data": "Grüße"}), "BadRequestException", "Subject"),
        (changed("Content.Simple.Subject", {"Data": 1}), "SerializationException", "Unexpected"),
        (changed("FromEmailAddress", None), "BadRequestException", "Missing required header"),
        (changed("FromEmailAddress", "Büro <o@x.example>"), "BadRequestException", "Non ASCII"),
        (changed("FromEmailAddress", "shop"), "BadRequestException", "Missing final '@domain'"),
        (changed("Destination", None), "BadRequestException", "Destination is empty"),
        (changed("Destination.ToAddresses", ["a b@c"]), "BadRequestException", "Illegal address"),
        (changed("Destination.ToAddresses", ["ö@x.example"]), "BadRequestException", "Non ASCII"),
        (
            changed("Destination", {"ToAddresses": MANY, "BccAddresses": MANY[1:]}),
            "BadRequestException",
            "Recipient count exceeds 50",
        ),
        (
            changed("Destination.CcAddresses", ["reject@x.example"]),
            "BadRequestException",
            "Illegal address",
        ),
        (
            changed("EmailTags", [{"Name": "a b", "Value": "c"}]),
            "BadRequestException",
            "Invalid tag name",
        ),
        (
            changed("ConfigurationOverrides", {"Tracking": {"OpenTrackingEnabled": "no"}}),
            "BadRequestException",
            "1 validation error detected: Value 'no' at 'configurationOverrides.tracking.openT",
        ),
        (
            changed("ConfigurationOverrides", {"Tracking": {"ClickTrackingEnabled": False}}),
            "SerializationException",
            "Unexpected type for ClickTrackingEnabled",
        ),
        (
            changed("Content.Simple.Headers", [{"Name": "Subject", "Value": "x"}]),
            "BadRequestException",
            "Header Subject cannot be set",
        ),
        (
            changed("Content.Simple.Headers", [{"Name": "X-A", "Value": "ü"}]),
            "BadRequestException",
            "Invalid value",
        ),
        (
            changed("Content.Simple.Headers", [{"Name": "X-A", "Value": "x"}] * 16),
            "BadRequestException",
            "The number of headers",
        ),
        (
            changed("Content.Simple.Attachments", [{"FileName": "a", "RawContent": "!"}]),
            "SerializationException",
            "RawContent is not base64",
        ),
        (
            raw(b"Subject: x\r\n\r\n.", Destination={"ToAddresses": ["a@x.example"]}),
            "BadRequestException",
            "Missing required header 'From'",
        ),
        (
            raw(b"From: a@x.example\r\nFrom: a@x.example\r\n\r\n."),
            "BadRequestException",
            "Duplicate header 'From'",
        ),
        (
            raw(b"From: a@x.example\r\nTo: b@x.example\r\n\r\n" + b"x" * 1001),
            "BadRequestException",
            "Line length",
        ),
    ],
)
def test_a_bad_request_is_explained(running, body, kind, message):
    answer = send(running, "ses", body)

    assert answer.status_code == 400
    assert answer.headers["x-amzn-ErrorType"] == kind
    assert answer.json()["message"].startswith(message)
    assert running.mails() == []


def test_a_template_that_nobody_stored_is_not_found(running):
    answer = send(running, "ses", changed("Content", {"Template": {"TemplateName": "welcome"}}))

    assert answer.status_code == 404
    assert answer.headers["x-amzn-ErrorType"] == "NotFoundException"


def test_fifty_recipients_are_not_too_many(running):
    recipients = {"ToAddresses": MANY[:25], "CcAddresses": MANY[:25]}

    assert send(running, "ses", changed("Destination", recipients)).status_code == 200


def test_the_message_id_has_the_regions_number(running):
    assert send(running, "ses").json()["MessageId"].startswith("0102")


def test_without_a_destination_the_headers_of_a_whole_message_are_it(running):
    source = b"From: a@x.example\r\nTo: Ann <ann@x.example>\r\nCc: bo@x.example\r\n\r\nText"
    send(running, "ses", raw(source))

    assert [(one["kind"], one["email"]) for one in running.mail()["recipients"]] == [
        ("to", "ann@x.example"),
        ("cc", "bo@x.example"),
    ]


def test_tags_of_the_call_win_over_those_of_the_message(running):
    source = b"From: a@x.example\r\nTo: b@x.example\r\nX-SES-MESSAGE-TAGS: a=1, b=2\r\n\r\nText"
    send(running, "ses", raw(source, EmailTags=[{"Name": "a", "Value": "3"}]))

    assert running.mail()["variables"] == {"a": "3", "b": "2"}
