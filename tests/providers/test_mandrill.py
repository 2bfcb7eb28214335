import json
from dataclasses import replace
from typing import Any

import pytest

from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.mandrill import MandrillProvider
from providers.types import Accepted, Address, Attachment, NotTaken
from tests.providers.contract import ANN, BOB, PLAIN, Sample
from tests.providers.finding import OURS, RECIPIENTS, SINCE, FindContract
from tests.providers.json_form import JsonContract, Names
from tests.providers.server import Behaviour, Reply, Request, answering

KEY = "md-0123456789abcdefABCDEF"
MESSAGE_ID = "1c9e0a2b3c4d5e6f"
TWO = replace(PLAIN, to=(ANN, BOB))


def error(name: str, message: str = "It is wrong.", status: int = 500) -> Reply:
    found = {"status": "error", "code": -1, "name": name, "message": message}
    return Reply(status, json.dumps(found).encode())


def results(*statuses: tuple[str, str, str | None]) -> Reply:
    found = [
        {
            "email": email,
            "status": status,
            "_id": MESSAGE_ID if status in ("sent", "queued", "scheduled") else f"no-{number}",
            "reject_reason": reason,
            "queued_reason": None,
        }
        for number, (email, status, reason) in enumerate(statuses)
    ]
    return Reply(200, json.dumps(found).encode())


class TestMandrill(JsonContract):
    provider = MandrillProvider
    settings = {"MANDRILL_API_KEY": KEY}  # noqa: RUF012
    path = "/api/1.0/messages/send.json"
    names = Names(
        sender="from",
        to="to",
        cc="cc",
        bcc="bcc",
        reply_to="reply_to",
        subject="subject",
        text="text",
        html="html",
        headers="headers",
        files="files",
        filename="name",
        content="content",
        content_type="type",
        content_id="content_id",
    )
    unfit = (
        ({"text": "", "html": None}, "its body is empty"),
        ({"to": (Address("änne@example.net"),)}, "not ASCII"),
        ({"headers": (("X-MC-Tags", "1"),)}, "x-mc-tags"),
        ({"headers": (("X-A", "1"), ("x-a", "2"))}, "a header occurs twice"),
        ({"attachments": (Attachment("a.pdf", "application/pdf", b"x", "a"),)}, "but images"),
    )
    success = results((ANN.email, "sent", None))
    success_id = MESSAGE_ID
    failures = (
        Sample(error("Invalid_Key"), AccountRefused),
        Sample(error("Invalid_Key", status=401), AccountRefused),
        Sample(error("PaymentRequired"), AccountRefused),
        Sample(error("Unknown_Subaccount"), AccountRefused),
        Sample(error("Unknown_Template"), AccountRefused),
        Sample(error("ValidationError"), Rejected),
        Sample(error("ValidationError", "message: from_email is no address"), MessageRefused),
        Sample(error("ServiceUnavailable"), Unavailable),
        Sample(error("GeneralError"), Unknown),
        Sample(Reply(500, b"<html>", "text/html"), Unknown),
        Sample(Reply(429, b"{}"), Limited),
        Sample(results((ANN.email, "invalid", None)), Rejected, (ANN.email,)),
        Sample(results((ANN.email, "rejected", "hard-bounce")), Rejected, (ANN.email,)),
        Sample(results((ANN.email, "rejected", "rule")), Rejected, (ANN.email,)),
        Sample(results((ANN.email, "rejected", "invalid-sender")), SenderRefused),
        Sample(results((ANN.email, "rejected", "unsigned")), SenderRefused),
        Sample(results((ANN.email, "rejected", "test-mode-limit")), AccountRefused),
        Sample(
            results((ANN.email, "rejected", "spam"), (BOB.email, "rejected", "unsigned")),
            Rejected,
            (ANN.email,),
            email=TWO,
        ),
    )

    def opened(self, request: Request) -> tuple[dict[str, Any], str]:
        body = json.loads(request.body)
        assert body.pop("key") == KEY
        message = body.pop("message")
        assert body == {}
        assert message.pop("preserve_recipients") is True
        message["from"] = [Address(message.pop("from_email"), message.pop("from_name", ""))]
        people = message.pop("to")
        for kind in ("to", "cc", "bcc"):
            named = [Address(one["email"], one["name"]) for one in people if one["type"] == kind]
            message[kind] = named
        if "Reply-To" in message.get("headers", {}):
            message["reply_to"] = message["headers"].pop("Reply-To")
        images = message.pop("images", [])
        assert all(image["type"].startswith("image/") for image in images)
        # What the HTML calls it is the only name of an image.
        images = [{**image, "content_id": image["name"]} for image in images]
        message["files"] = message.pop("attachments", []) + images
        return message, message.pop("metadata")["attempt_id"]

    def as_filed(self, file: Attachment) -> Attachment:
        return replace(file, filename=file.content_id or file.filename)

    def tracking_off(self, request: Request) -> tuple[bool, bool]:
        message = json.loads(request.body)["message"]
        return tuple(message.get(name) is False for name in ("track_opens", "track_clicks"))

    def complaint(self, words: str) -> Reply:
        return error("ValidationError", words)

    def credentials(self, request: Request) -> str:
        return json.loads(request.body)["key"]

    def test_those_it_turned_down_are_told_from_those_it_took(self, server, configured):
        email = replace(TWO, cc=(Address("Carol@example.net"),))
        server.behaviour = answering(
            results(
                (ANN.email, "rejected", "hard-bounce"),
                (BOB.email, "queued", None),
                ("carol@example.net", "rejected", "unsigned"),
            )
        )
        assert configured.send(email) == Accepted(
            MESSAGE_ID,
            (
                NotTaken(ANN.email, "rejected at Mandrill: hard-bounce", rejected=True),
                NotTaken("Carol@example.net", "rejected at Mandrill: unsigned", rejected=False),
            ),
        )

    def test_one_of_whom_it_says_nothing_counts_as_taken(self, server, configured):
        server.behaviour = answering(results((BOB.email, "sent", None)))
        assert configured.send(TWO) == Accepted(MESSAGE_ID)


class TestMandrillSearch(FindContract):
    provider = MandrillProvider
    settings = {"MANDRILL_API_KEY": KEY}  # noqa: RUF012
    found_id = MESSAGE_ID
    method = "POST"
    no_key = (error("Invalid_Key"), error("Invalid_Key", status=401))
    no_answer = b"{}"

    def knowing(self, *attempt_ids: str, state: str = "sent") -> Behaviour:
        messages = [
            {
                "_id": MESSAGE_ID if one == OURS else one,
                "email": ANN.email,
                "state": state,
                "metadata": {"attempt_id": one},
            }
            for one in attempt_ids
        ]
        return answering(Reply(200, json.dumps(messages).encode()))

    def credentials(self, request: Request) -> str:
        return json.loads(request.body)["key"]

    def question(self, request: Request) -> str:
        return json.loads(request.body)["query"]

    def listed(self, entries: bytes) -> bytes:
        return entries

    def test_the_messages_of_the_recipient_since_that_day_are_asked_for(self, server, configured):
        configured.find(OURS, RECIPIENTS, SINCE)
        (request,) = server.requests
        assert request.path == "/api/1.0/messages/search.json"
        assert json.loads(request.body) == {
            "key": KEY,
            "query": f"full_email:{ANN.email}",
            "date_from": SINCE.date().isoformat(),
            "limit": 100,
        }

    @pytest.mark.parametrize("state", ["rejected", "invalid"])
    def test_what_it_turned_down_was_not_accepted(self, server, configured, state):
        server.behaviour = self.knowing(OURS, state=state)
        assert configured.find(OURS, RECIPIENTS, SINCE) is None
