import json
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta

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
from providers.resend import ResendProvider
from providers.types import Address, Attachment
from tests.providers.contract import ANN, BOB, PLAIN, Copy, ProviderContract, Sample
from tests.providers.reading import addresses, decoded
from tests.providers.server import Reply, Request

KEY = "re_0123456789_abcdefghijklmnopqrstuvwx"
MESSAGE_ID = "7a6b5c4d-aaaa-4bbb-8ccc-ddddeeeeffff"
BAD_TO = "Invalid `to` field. The email address needs to follow the `email@example.com` format."
TWO = replace(PLAIN, to=(ANN, BOB))


def error(status: int, name: str, message: str = "It is wrong.", headers=()) -> Reply:
    found = {"statusCode": status, "name": name, "message": message}
    return Reply(status, json.dumps(found).encode(), headers=headers)


class TestResend(ProviderContract):
    provider = ResendProvider
    settings = {"RESEND_API_KEY": KEY}  # noqa: RUF012
    success = Reply(200, json.dumps({"id": MESSAGE_ID}).encode())
    success_id = MESSAGE_ID
    failures = (
        Sample(error(400, "validation_error"), Rejected),
        Sample(error(400, "invalid_idempotency_key"), MessageRefused),
        Sample(error(401, "missing_api_key"), AccountRefused),
        Sample(error(401, "restricted_api_key"), AccountRefused),
        Sample(error(403, "invalid_api_key"), AccountRefused),
        Sample(
            error(403, "validation_error", "The shop.example domain is not verified. Please, add"),
            SenderRefused,
        ),
        Sample(
            error(403, "validation_error", "You can only send testing emails to your own address."),
            AccountRefused,
        ),
        Sample(error(404, "not_found"), AccountRefused),
        Sample(error(405, "method_not_allowed"), AccountRefused),
        Sample(error(409, "invalid_idempotent_request"), Unknown),
        Sample(error(409, "concurrent_idempotent_requests"), Unknown),
        Sample(error(422, "validation_error", BAD_TO), Rejected, (ANN.email,)),
        Sample(error(422, "validation_error", BAD_TO), Rejected, email=TWO),
        Sample(
            error(422, "validation_error", BAD_TO.replace("to", "bcc")),
            Rejected,
            (BOB.email,),
            email=replace(PLAIN, bcc=(BOB,)),
        ),
        Sample(error(422, "validation_error", "Invalid `from` field."), MessageRefused),
        Sample(error(422, "invalid_from_address"), MessageRefused),
        Sample(error(422, "missing_required_field"), Rejected),
        Sample(error(422, "invalid_attachment"), Rejected),
        Sample(error(422, "invalid_parameter"), Rejected),
        Sample(error(422, "invalid_region"), AccountRefused),
        Sample(
            error(429, "rate_limit_exceeded", headers=(("retry-after", "2"),)),
            Limited,
            retry_after=2,
        ),
        Sample(error(429, "daily_quota_exceeded"), AccountRefused),
        Sample(error(429, "monthly_quota_exceeded"), AccountRefused),
        Sample(error(451, "security_error"), Rejected),
        Sample(error(500, "application_error"), Unknown),
        Sample(error(500, "internal_server_error"), Unknown),
        Sample(error(503, "service_unavailable"), Unavailable),
    )

    def copies(self, request: Request) -> list[Copy]:
        assert (request.method, request.path) == ("POST", "/emails")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        # Without one, Resend answers 403.
        assert request.headers["user-agent"]
        message = json.loads(request.body)
        headers = message.pop("headers", {})
        assert all(value.isascii() for value in headers.values())
        (tag,) = message.pop("tags")
        assert tag["name"] == "attempt_id"
        assert request.headers["idempotency-key"] == tag["value"]
        (sender,) = addresses(message.pop("from"))
        copy = Copy(
            sender=sender,
            to=addresses(*message.pop("to")),
            cc=addresses(*message.pop("cc", [])),
            bcc=addresses(*message.pop("bcc", [])),
            reply_to=addresses(*message.pop("reply_to", [])),
            subject=message.pop("subject"),
            text=message.pop("text", None),
            html=message.pop("html", None),
            headers=tuple((name, decoded(value)) for name, value in headers.items()),
            attempt_id=tag["value"],
        )
        assert message == {}
        return [copy]

    def complaint(self, words: str) -> Reply:
        return error(400, "validation_error", words)

    def test_a_repeated_call_is_the_same_to_the_byte(self, server, configured):
        assert timedelta() < configured.repeatable < timedelta(hours=24)
        email = replace(
            PLAIN,
            headers=(("X-B", "Grüße"), ("X-A", "1")),
            attachments=(Attachment("a.bin", "application/octet-stream", b"\x00\xff"),),
        )
        configured.send(email)
        configured.send(replace(email))
        first, second = server.requests
        assert first == second

    def test_files_go_with_their_types_and_ids(self, server, configured):
        name = "Rechnung für 山田 🎉.pdf"
        email = replace(
            PLAIN,
            attachments=(
                Attachment(name, "application/pdf", b"%PDF \x00\xff"),
                Attachment("logo.png", "image/png", b"\x89PNG", "logo"),
            ),
        )
        configured.send(email)
        (file, image) = json.loads(server.requests[0].body)["attachments"]
        assert b64decode(file.pop("content")) == b"%PDF \x00\xff"
        assert file == {"filename": name, "content_type": "application/pdf"}
        assert image["content_id"] == "logo"

    @pytest.mark.parametrize(
        "changes",
        [
            {"subject": ""},
            {"text": "", "html": None},
            {"to": (Address("änne@example.net"),)},
            {"to": (), "bcc": (ANN, BOB)},
            {"to": tuple(Address(f"a{n}@example.net") for n in range(51))},
            {"headers": (("X-A", "1"), ("x-a", "2"))},
        ],
        ids=str,
    )
    def test_what_resend_has_no_field_for_is_refused(self, configured, changes):
        assert configured.refusal(replace(PLAIN, **changes)) is not None
