import json
from base64 import b64decode
from dataclasses import replace

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
from tests.providers.contract import ANN, BOB, PLAIN, Copy, ProviderContract, Sample
from tests.providers.reading import addresses, decoded
from tests.providers.server import Reply, Request, answering

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


class TestMandrill(ProviderContract):
    provider = MandrillProvider
    settings = {"MANDRILL_API_KEY": KEY}  # noqa: RUF012
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

    def copies(self, request: Request) -> list[Copy]:
        assert (request.method, request.path) == ("POST", "/api/1.0/messages/send.json")
        assert request.headers["content-type"] == "application/json"
        body = json.loads(request.body)
        assert body.pop("key") == KEY
        message = body.pop("message")
        assert body == {}
        assert message.pop("preserve_recipients") is True
        people = message.pop("to")
        headers = message.pop("headers", {})
        assert all(value.isascii() for value in headers.values())
        reply_to = headers.pop("Reply-To", None)

        def kind(name: str) -> tuple[Address, ...]:
            return tuple(Address(p["email"], p["name"]) for p in people if p["type"] == name)

        copy = Copy(
            sender=Address(message.pop("from_email"), message.pop("from_name", "")),
            to=kind("to"),
            cc=kind("cc"),
            bcc=kind("bcc"),
            reply_to=() if reply_to is None else addresses(reply_to),
            subject=message.pop("subject"),
            text=message.pop("text", None),
            html=message.pop("html", None),
            headers=tuple((name, decoded(value)) for name, value in headers.items()),
            attempt_id=message.pop("metadata")["attempt_id"],
        )
        assert message == {}
        return [copy]

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

    def test_files_go_with_their_types_and_images_by_their_ids(self, server, configured):
        name = "Rechnung für 山田 🎉.pdf"
        email = replace(
            PLAIN,
            attachments=(
                Attachment(name, "application/pdf", b"%PDF \x00\xff"),
                Attachment("logo.png", "image/png", b"\x89PNG", "logo"),
            ),
        )
        configured.send(email)
        message = json.loads(server.requests[0].body)["message"]
        (file,), (image,) = message["attachments"], message["images"]
        assert b64decode(file.pop("content")) == b"%PDF \x00\xff"
        assert file == {"type": "application/pdf", "name": name}
        assert (image["name"], image["type"]) == ("logo", "image/png")

    @pytest.mark.parametrize(
        "changes",
        [
            {"text": "", "html": None},
            {"to": (Address("änne@example.net"),)},
            {"headers": (("X-MC-Tags", "1"),)},
            {"attachments": (Attachment("a.pdf", "application/pdf", b"x", "a"),)},
        ],
        ids=str,
    )
    def test_what_mandrill_has_no_field_for_is_refused(self, configured, changes):
        assert configured.refusal(replace(PLAIN, **changes)) is not None
