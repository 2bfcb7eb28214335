"""Postmark's answers to calls that are not as they should be, to odd ones that are, to queries."""

import base64

import pytest

from tests.simulator.sending import POSTMARK, send
from tests.waiting import until

FILE = {"Name": "a.pdf", "Content": "JVBERg==", "ContentType": "application/pdf"}


def without(name):
    return {key: value for key, value in POSTMARK.items() if key != name}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{", 402, "Received invalid JSON input."),
        (b"[]", 402, "Received invalid JSON input."),
        (POSTMARK | {"To": ["ann@example.net"]}, 403, "Invalid request field(s): 'To'."),
        (
            POSTMARK | {"Attachments": [FILE | {"Name": 1}]},
            403,
            "Invalid request field(s): 'Attachments.0.Name'.",
        ),
        (POSTMARK | {"Metadata": {"n": 1}}, 403, "Invalid request field(s): 'Metadata'."),
        (without("From"), 300, "Invalid 'From' address: ''."),
        (POSTMARK | {"From": "o@shop"}, 300, "Invalid 'From' address: 'o@shop'."),
        (without("To"), 300, "Zero recipients specified"),
        (POSTMARK | {"To": "World"}, 300, "Error parsing 'To': Illegal email address 'World'."),
        (POSTMARK | {"Cc": "a..b@example.net"}, 300, "Invalid 'Cc' address: 'a..b@example.net'."),
        (POSTMARK | {"ReplyTo": "x"}, 300, "Error parsing 'ReplyTo': Illegal email address 'x'."),
        (
            POSTMARK | {"Bcc": ", ".join(f"a{n}@example.net" for n in range(50))},
            300,
            "Too many recipients",
        ),
        (without("TextBody"), 300, "Provide either email TextBody or HtmlBody or both."),
        (POSTMARK | {"TextBody": "x" * 5_300_000}, 300, "The TextBody and HtmlBody may have"),
        (POSTMARK | {"Tag": "x" * 1001}, 300, "A Tag may have 1000 characters."),
        (POSTMARK | {"Metadata": {"k" * 21: "v"}}, 300, "Metadata keys may have 20 characters."),
        (POSTMARK | {"Metadata": {"k": "v" * 81}}, 300, "Metadata values may have 80 characters."),
        (POSTMARK | {"Metadata": {"k": "v", "K": "v"}}, 300, "Metadata may have 10 keys"),
        (POSTMARK | {"TrackOpens": "no"}, 403, "Invalid request field(s): 'TrackOpens'."),
        (POSTMARK | {"TrackLinks": "no"}, 300, "Invalid 'TrackLinks': use one of None, "),
        (POSTMARK | {"MessageStream": "other"}, 1235, "The 'MessageStream' provided does not"),
        (POSTMARK | {"Headers": [{"Name": "X-A", "Value": "a\r\nb"}]}, 300, "Invalid header"),
        (POSTMARK | {"Attachments": [FILE | {"Content": "?"}]}, 300, "The Content of the"),
        (POSTMARK | {"Attachments": [{**FILE, "Name": ""}]}, 300, "Every attachment must"),
        (POSTMARK | {"Attachments": [FILE | {"Name": "a.EXE"}]}, 411, "Forbidden attachment type"),
        (POSTMARK | {"To": "reject@example.net"}, 406, "You tried to send to recipient(s) that"),
    ],
)
def test_what_is_wrong_has_a_code_of_its_own(running, body, code, message):
    answer = send(running, "postmark", body)

    assert answer.status_code == 422
    assert answer.json()["ErrorCode"] == code
    assert answer.json()["Message"].startswith(message)
    assert running.mails() == []


def test_a_message_that_is_too_large_is_refused(running):
    content = base64.b64encode(bytes(8_000_000)).decode()
    answer = send(running, "postmark", POSTMARK | {"Attachments": [FILE | {"Content": content}]})

    assert answer.status_code == 413


def test_without_the_token_nothing_is_looked_at(running):
    wrong = send(running, "postmark", b"{", key="wrong")
    none = running.session.post(f"{running.url}/postmark/email", b"{")

    for answer in (wrong, none):
        assert (answer.status_code, answer.json()["ErrorCode"]) == (401, 10)


def test_other_paths_methods_and_types_are_refused(running):
    url = f"{running.url}/postmark"
    token = {"X-Postmark-Server-Token": running.credentials.postmark_server_token}
    assert running.session.post(f"{url}/emails", headers=token).status_code == 404
    assert running.session.get(f"{url}/email", headers=token).status_code == 405
    answer = send(running, "postmark", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["ErrorCode"]) == (422, 409)


def test_the_answer_has_the_id_and_the_recipients(running):
    answer = send(running, "postmark").json()

    assert (answer["ErrorCode"], answer["Message"]) == (0, "OK")
    assert answer["To"] == POSTMARK["To"]
    mail = running.mail()
    assert mail["provider_message_id"] == answer["MessageID"]
    assert mail["attempt_id"] == "at-1"


def test_who_is_inactive_is_left_out_and_named(running):
    answer = send(running, "postmark", POSTMARK | {"Cc": "Bo <reject+1@example.net>"}).json()

    assert answer["ErrorCode"] == 0
    assert answer["Message"].startswith(
        "Message OK, but will not deliver to these inactive addresses: reject+1@example.net."
    )
    assert [one["email"] for one in running.mail()["recipients"]] == ["ann@example.net"]


def test_the_test_token_leaves_nothing_behind(running):
    answer = send(running, "postmark", key="POSTMARK_API_TEST")

    assert answer.json()["Message"] == "Test job accepted"
    assert send(running, "postmark", without("To"), key="POSTMARK_API_TEST").status_code == 422
    assert running.mails() == []


def outbound(running, path="", **query):
    token = {"X-Postmark-Server-Token": running.credentials.postmark_server_token}
    url = f"{running.url}/postmark/messages/outbound{path}"
    return running.session.get(url, params=query, headers=token)


def test_messages_are_found_by_metadata_and_other_fields(running):
    running.set("postmark", "up", lag=0)
    found = send(running, "postmark", POSTMARK | {"Tag": "a"}).json()["MessageID"]
    send(running, "postmark", POSTMARK | {"Metadata": {"attempt_id": "at-2"}})
    send(running, "resend")

    everything = outbound(running, count=1, offset=1).json()
    assert everything["TotalCount"] == 2
    assert [one["MessageID"] for one in everything["Messages"]] == [found]
    for query in (
        {"metadata_attempt_id": "at-1"},
        {"tag": "a", "recipient": "ANN@example.net"},
        {"metadata_attempt_id": "at-1", "subject": "your order", "status": "sent"},
    ):
        (message,) = outbound(running, count=500, offset=0, **query).json()["Messages"]
        assert message["MessageID"] == found
        assert message["Metadata"] == {"attempt_id": "at-1"}
        assert message["Recipients"] == ["ann@example.net"]
    assert outbound(running, count=5, offset=0, tag="b").json()["TotalCount"] == 0


def test_details_tell_what_happened_with_each_recipient(running):
    running.set("postmark", "up", lag=0)
    to = "ann@example.net, bounce@example.net, defer@example.net"
    found = send(running, "postmark", POSTMARK | {"To": to}).json()["MessageID"]

    def told():
        return outbound(running, f"/{found}/details").json()["MessageEvents"]

    until(told)
    assert [(event["Type"], event["Recipient"]) for event in told()] == [
        ("Delivered", "ann@example.net"),
        ("Bounced", "bounce@example.net"),
        ("Transient", "defer@example.net"),
    ]
    assert outbound(running, "/other/details").json()["ErrorCode"] == 701


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"count": 1},
        {"count": 501, "offset": 0},
        {"count": 500, "offset": 9_600},
        {"count": "x", "offset": 0},
        {"count": 1, "offset": 0, "colour": "blue"},
    ],
    ids=str,
)
def test_a_bad_query_is_refused(running, query):
    answer = outbound(running, **query)

    assert (answer.status_code, answer.json()["ErrorCode"]) == (422, 600)


def test_nobody_is_told_before_the_lag_is_over(running):
    running.set("postmark", "up", lag=60)
    send(running, "postmark")

    assert outbound(running, count=1, offset=0).json()["TotalCount"] == 0
