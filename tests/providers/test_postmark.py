import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from providers.base import BadSettings, Timeouts
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.postmark import PostmarkProvider
from providers.types import Accepted, Address, Attachment, NotTaken
from tests.providers.contract import ANN, BOB, PLAIN, Sample
from tests.providers.finding import OURS, RECIPIENTS, SINCE, FindContract
from tests.providers.json_form import JsonContract, Names
from tests.providers.server import Behaviour, Line, Reply, Request, answering

TOKEN = "f3c1a2b4-1111-4222-8333-0123456789ab"
MESSAGE_ID = "0d1c2b3a-1111-4222-8333-444455556666"
SETTINGS = {"POSTMARK_SERVER_TOKEN": TOKEN}
TWO = replace(PLAIN, to=(ANN, BOB))
INACTIVE_REASON = "inactive at Postmark after a bounce, a complaint or by hand"


def error(code: int, message: str, status: int = 422) -> Reply:
    return Reply(status, json.dumps({"ErrorCode": code, "Message": message}).encode())


def success(message: str = "OK") -> Reply:
    found = {
        "To": ANN.email,
        "SubmittedAt": "2026-11-23T14:10:34.5Z",
        "MessageID": MESSAGE_ID,
        "ErrorCode": 0,
        "Message": message,
    }
    return Reply(200, json.dumps(found).encode())


def inactive(*emails: str) -> str:
    return (
        f"Found inactive addresses: {', '.join(emails)}. Inactive recipients are ones that have "
        "generated a hard bounce, a spam complaint, or a manual suppression."
    )


class TestPostmark(JsonContract):
    provider = PostmarkProvider
    settings = SETTINGS
    path = "/email"
    names = Names(
        sender="From",
        to="To",
        cc="Cc",
        bcc="Bcc",
        reply_to="ReplyTo",
        subject="Subject",
        text="TextBody",
        html="HtmlBody",
        headers="Headers",
        files="Attachments",
        filename="Name",
        content="Content",
        content_type="ContentType",
        content_id="ContentID",
    )
    refused = {"ten megabytes": "it has 13.7 MB, the limit is 10 MB"}  # noqa: RUF012
    unfit = (
        ({"text": "", "html": None}, "its body is empty"),
        ({"text": "x" * 5_000_001}, "more than 5 MB"),
        ({"to": (Address("änne@example.net"),)}, "not ASCII"),
        ({"to": (), "bcc": (ANN, BOB)}, "several blind copies"),
        ({"to": tuple(Address(f"a{n}@example.net") for n in range(51))}, "51 recipients"),
        ({"headers": (("X-PM-Tag", "1"),)}, "x-pm-tag"),
        ({"headers": (("X-A", "1"), ("x-a", "2"))}, "a header occurs twice"),
    )
    success = success()
    success_id = MESSAGE_ID
    failures = (
        Sample(error(10, "The Server Token you provided is not valid.", 401), AccountRefused),
        Sample(error(100, "Maintenance", 503), Unavailable),
        Sample(error(300, "Invalid 'To' address: 'ann@example.net'."), Rejected, (ANN.email,)),
        Sample(
            error(300, f"Invalid 'To' address: '{BOB.email}'."), Rejected, (BOB.email,), email=TWO
        ),
        Sample(error(300, "Error parsing 'Cc': it is odd."), Rejected),
        Sample(
            error(300, "Error parsing 'Cc': it is odd."),
            Rejected,
            (BOB.email,),
            email=replace(PLAIN, cc=(BOB,)),
        ),
        Sample(error(300, "Error parsing 'To': it is odd."), Rejected, email=TWO),
        Sample(error(300, "Invalid 'From' address: 'x'."), MessageRefused),
        Sample(error(300, "Provide either email TextBody or HtmlBody or both."), Rejected),
        Sample(error(400, "The 'From' address is not a Sender Signature."), SenderRefused),
        Sample(error(401, "The Sender Signature is not confirmed."), SenderRefused),
        Sample(error(402, "Invalid JSON"), MessageRefused),
        Sample(error(403, "Invalid request field(s)"), MessageRefused),
        Sample(error(405, "Not allowed to send. You ran out of credits."), AccountRefused),
        Sample(error(406, inactive(ANN.email)), Rejected, (ANN.email,)),
        Sample(error(406, inactive(BOB.email)), Rejected, (BOB.email,), email=TWO),
        Sample(error(406, "Inactive recipient"), Rejected),
        Sample(error(409, "JSON required"), MessageRefused),
        Sample(error(411, "Forbidden attachment type"), MessageRefused),
        Sample(error(412, "Account is pending approval"), AccountRefused),
        Sample(error(413, "Account may not send"), AccountRefused),
        Sample(error(1235, "The stream provided does not exist"), AccountRefused),
        Sample(error(1236, "The stream is not for sending"), AccountRefused),
        Sample(error(0, "Too big", 413), MessageRefused),
        Sample(error(0, "Not found", 404), AccountRefused),
        Sample(error(0, "Type", 415), AccountRefused),
        Sample(Reply(429, b"{}"), Limited),
        Sample(Reply(500, b"{}"), Unknown),
        Sample(Reply(503, b"{}"), Unavailable),
    )

    def opened(self, request: Request) -> tuple[dict[str, Any], str]:
        assert request.headers["x-postmark-server-token"] == TOKEN
        message = json.loads(request.body)
        assert message.pop("MessageStream") == "outbound"
        headers = message.pop("Headers", [])
        for file in message.get("Attachments", []):
            if "ContentID" in file:
                file["ContentID"] = file["ContentID"].removeprefix("cid:")
        message["Headers"] = {header["Name"]: header["Value"] for header in headers}
        return message, message.pop("Metadata")["attempt_id"]

    def tracking_off(self, request: Request) -> tuple[bool, bool]:
        message = json.loads(request.body)
        return message.get("TrackOpens") is False, message.get("TrackLinks") == "None"

    def complaint(self, words: str) -> Reply:
        return error(402, words)

    def credentials(self, request: Request) -> str:
        return request.headers["x-postmark-server-token"]

    def test_recipients_that_it_leaves_out_are_told_from_those_that_it_took(
        self, server, configured
    ):
        reply = success(
            "Message OK, but will not deliver to these inactive addresses: BOB@example.net. "
            "Inactive recipients are ones that have generated a hard bounce."
        )
        server.behaviour = answering(reply)
        left_out = NotTaken(BOB.email, INACTIVE_REASON, rejected=True)
        assert configured.send(TWO) == Accepted(MESSAGE_ID, (left_out,))

    def test_a_success_for_nobody_is_a_rejection(self, server, configured):
        server.behaviour = answering(
            success("Message OK, but will not deliver to these inactive addresses: ann@example.net")
        )
        assert type(self.failure(configured)) is Rejected

    def test_a_success_with_another_warning_is_accepted(self, server, configured):
        server.behaviour = answering(success("Message OK, but delivery may be delayed."))
        assert configured.send(TWO) == Accepted(MESSAGE_ID)

    def test_an_image_is_named_by_what_the_html_says(self, server, configured):
        image = Attachment("logo.png", "image/png", b"\x89PNG", "logo")
        configured.send(replace(PLAIN, attachments=(image,)))
        (file,) = json.loads(server.requests[0].body)["Attachments"]
        assert file["ContentID"] == "cid:logo"

    def test_a_stream_is_an_id(self):
        with pytest.raises(BadSettings, match="POSTMARK_MESSAGE_STREAM"):
            PostmarkProvider.configure({**SETTINGS, "POSTMARK_MESSAGE_STREAM": "a b"}, Timeouts())


class TestPostmarkMessages(FindContract):
    provider = PostmarkProvider
    settings = SETTINGS
    found_id = MESSAGE_ID

    def knowing(self, *attempt_ids: str) -> Behaviour:
        messages = [
            {"MessageID": MESSAGE_ID if one == OURS else one, "Metadata": {"attempt_id": one}}
            for one in attempt_ids
        ]

        def answer(line: Line, request: Request) -> None:
            found = {"TotalCount": len(messages), "Messages": messages}
            line.send(bytes(Reply(200, json.dumps(found).encode())))

        return answer

    def credentials(self, request: Request) -> str:
        return request.headers["x-postmark-server-token"]

    def test_our_id_is_asked_for(self, server, configured):
        configured.find(OURS, RECIPIENTS, SINCE)
        parts = urlsplit(server.requests[0].path)
        assert parts.path == "/messages/outbound"
        assert parse_qs(parts.query)["metadata_attempt_id"] == [OURS]
