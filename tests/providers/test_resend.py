import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

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
from tests.providers.contract import ANN, BOB, PLAIN, Sample
from tests.providers.json_form import JsonContract, Names
from tests.providers.server import Reply, Request

KEY = "re_0123456789_abcdefghijklmnopqrstuvwx"
MESSAGE_ID = "7a6b5c4d-aaaa-4bbb-8ccc-ddddeeeeffff"
BAD_TO = "Invalid `to` field. The email address needs to follow the `email@example.com` format."
TWO = replace(PLAIN, to=(ANN, BOB))


def error(status: int, name: str, message: str = "It is wrong.", headers=()) -> Reply:
    found = {"statusCode": status, "name": name, "message": message}
    return Reply(status, json.dumps(found).encode(), headers=headers)


class TestResend(JsonContract):
    provider = ResendProvider
    settings = {"RESEND_API_KEY": KEY}  # noqa: RUF012
    path = "/emails"
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
        files="attachments",
        filename="filename",
        content="content",
        content_type="content_type",
        content_id="content_id",
    )
    unfit = (
        ({"subject": ""}, "it has no subject"),
        ({"text": "", "html": None}, "its body is empty"),
        ({"to": (Address("änne@example.net"),)}, "not ASCII"),
        ({"to": (), "bcc": (ANN, BOB)}, "several blind copies"),
        ({"to": tuple(Address(f"a{n}@example.net") for n in range(51))}, "51 recipients"),
        ({"headers": (("X-A", "1"), ("x-a", "2"))}, "a header occurs twice"),
        ({"attachments": (Attachment("a.EXE", "application/x-a", b"x"),)}, ".exe files"),
    )
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

    def opened(self, request: Request) -> tuple[dict[str, Any], str]:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        message = json.loads(request.body)
        attempt, recipients = message.pop("tags")
        kinds = ("to", "cc", "bcc")
        count = sum(len(message.get(kind, [])) for kind in kinds)
        assert recipients == {"name": "recipients", "value": str(count)}
        assert attempt["name"] == "attempt_id"
        assert request.headers["idempotency-key"] == attempt["value"]
        return message, attempt["value"]

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
