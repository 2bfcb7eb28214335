import json
import time
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

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
from providers.sendgrid import SendGridProvider
from providers.types import Accepted, Address
from tests.providers.contract import ANN, BOB, PLAIN, Copy, ProviderContract, Sample
from tests.providers.finding import OURS, RECIPIENTS, SINCE, FindContract
from tests.providers.reading import decoded
from tests.providers.server import Behaviour, Line, Reply, Request, answering

KEY = "SG.abcdefghijklmnopqrstuv.0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
MESSAGE_ID = "Qm9ndXNTYW1wbGVJZFhZWg"
SETTINGS = {"SENDGRID_API_KEY": KEY}
FOUR = replace(
    PLAIN,
    to=(ANN, BOB),
    cc=(Address("carol@example.net"),),
    bcc=(Address("dan@example.net"), Address("dora@example.net")),
)


def errors(status: int, *pairs: tuple[str | None, str], headers=()) -> Reply:
    found = [{"message": message, "field": field, "help": None} for field, message in pairs]
    return Reply(status, json.dumps({"errors": found}).encode(), headers=headers)


def about(field: str | None, message: str = "The value is not valid.") -> Reply:
    return errors(400, (field, message))


class TestSendGrid(ProviderContract):
    provider = SendGridProvider
    settings = SETTINGS
    success = Reply(202, content_type=None, headers=(("X-Message-Id", MESSAGE_ID),))
    success_id = MESSAGE_ID
    failures = (
        Sample(about("personalizations.0.to.0.email"), Rejected, (ANN.email,)),
        Sample(about("personalizations.0.to.1"), Rejected, (BOB.email,), email=FOUR),
        Sample(about("personalizations[0].to[1].email"), Rejected, (BOB.email,), email=FOUR),
        Sample(
            about("personalizations.0.cc.0.email"), Rejected, ("carol@example.net",), email=FOUR
        ),
        Sample(
            about("personalizations.0.bcc.1.email"), Rejected, ("dora@example.net",), email=FOUR
        ),
        Sample(
            about("personalizations.1.to.0.email"),
            Rejected,
            ("dora@example.net",),
            email=replace(FOUR, to=(), cc=()),
        ),
        Sample(
            about("personalizations.0.to.0.email"),
            Rejected,
            ("carol@example.net",),
            email=replace(FOUR, to=()),
        ),
        Sample(
            errors(
                400,
                ("personalizations.0.to.0.email", "Does not contain a valid address."),
                ("personalizations.0.bcc.0.email", "Does not contain a valid address."),
            ),
            Rejected,
            (ANN.email, "dan@example.net"),
            email=FOUR,
        ),
        Sample(
            errors(400, ("personalizations.0.to.0.email", "Not valid."), ("subject", "Too short.")),
            Rejected,
        ),
        Sample(about("personalizations.0.to.7.email"), Rejected),
        Sample(about("personalizations.0.to"), Rejected),
        Sample(about("personalizations", "Each email address must be unique."), Rejected),
        Sample(
            about("personalizations.0", "The total number of recipients is over 1000"), Rejected
        ),
        Sample(about("content.0.value"), Rejected),
        Sample(about("subject"), Rejected),
        Sample(about("attachments.0.content", "The attachment content must be base64"), Rejected),
        Sample(about("categories"), Rejected),
        Sample(about("custom_args"), Rejected),
        Sample(
            about("send_at", "Scheduling more than 72 hours in advance is forbidden."), Rejected
        ),
        Sample(about("headers", "The header Received is reserved."), Rejected),
        Sample(about("reply_to.email"), Rejected),
        Sample(about("from.email", "The from email does not contain a valid address."), Rejected),
        Sample(about("template_id"), AccountRefused),
        Sample(about("asm.group_id"), AccountRefused),
        Sample(about("ip_pool_name"), AccountRefused),
        Sample(about("batch_id"), AccountRefused),
        Sample(
            errors(400, ("personalizations.0.to.0.email", "Not valid."), ("template_id", "?")),
            AccountRefused,
        ),
        Sample(about(None, "Bad Request"), MessageRefused),
        Sample(
            errors(
                401,
                (None, "The provided authorization grant is invalid, expired, or revoked"),
            ),
            AccountRefused,
        ),
        Sample(errors(401, (None, "authorization required")), AccountRefused),
        Sample(errors(401, (None, "Maximum credits exceeded")), AccountRefused),
        Sample(
            errors(401, (None, "Authenticated user is not authorized to send mail")),
            AccountRefused,
        ),
        Sample(errors(403, (None, "access forbidden")), AccountRefused),
        Sample(
            errors(
                403,
                ("from", "The from address does not match a verified Sender Identity. See https"),
            ),
            SenderRefused,
        ),
        Sample(errors(403, ("from.email", "Not one of yours.")), SenderRefused),
        Sample(errors(404, (None, "not found")), AccountRefused),
        Sample(errors(405, (None, "method not allowed")), AccountRefused),
        Sample(errors(415, (None, "unsupported content type")), AccountRefused),
        Sample(errors(413, (None, "payload too large")), MessageRefused),
        Sample(
            errors(
                429,
                (None, "too many requests"),
                headers=(("X-RateLimit-Reset", str(int(time.time()) + 1800)),),
            ),
            Limited,
            retry_after=1800,
        ),
        Sample(errors(500, (None, "internal error")), Unknown),
        Sample(errors(503, (None, "unavailable")), Unavailable),
        Sample(Reply(502, b"<html>Bad Gateway</html>", "text/html"), Unknown),
        Sample(Reply(504, b"<html>Timeout</html>", "text/html"), Unknown),
    )

    def copies(self, request: Request) -> list[Copy]:
        assert (request.method, request.path) == ("POST", "/v3/mail/send")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        message = json.loads(request.body)
        content = [(part["type"], part["value"]) for part in message.pop("content")]
        assert content == sorted(content, reverse=True)
        assert all(value for _, value in content)
        reply_to = [message.pop("reply_to")] if "reply_to" in message else []
        reply_to += message.pop("reply_to_list", [])
        headers = message.pop("headers", {})
        assert all(value.isascii() for value in headers.values())
        envelopes = message.pop("personalizations")
        common = {
            "sender": mailbox(message.pop("from")),
            "reply_to": tuple(map(mailbox, reply_to)),
            "subject": message.pop("subject"),
            "text": dict(content).get("text/plain"),
            "html": dict(content).get("text/html"),
            "headers": tuple((name, decoded(value)) for name, value in headers.items()),
            "attempt_id": message.pop("custom_args")["attempt_id"],
        }
        assert message == {}
        return [
            Copy(
                to=tuple(map(recipient, envelope["to"])),
                cc=tuple(map(recipient, envelope.get("cc", []))),
                bcc=tuple(map(recipient, envelope.get("bcc", []))),
                **common,
            )
            for envelope in envelopes
        ]

    def tracking_off(self, request: Request) -> tuple[bool, bool]:
        told = json.loads(request.body).get("tracking_settings", {})
        opens, clicks = told.get("open_tracking"), told.get("click_tracking")
        # It has two switches for clicks: links in the text are wrapped by the second.
        return opens == {"enable": False}, clicks == {"enable": False, "enable_text": False}

    def complaint(self, words: str) -> Reply:
        return about(None, words)

    def test_one_reply_to_and_several_have_a_field_each(self, server, configured):
        configured.send(replace(PLAIN, reply_to=(ANN,)))
        configured.send(replace(PLAIN, reply_to=(ANN, BOB)))
        one, several = (json.loads(request.body) for request in server.requests)
        assert one["reply_to"]["email"] == ANN.email
        assert "reply_to_list" not in one
        assert len(several["reply_to_list"]) == 2
        assert "reply_to" not in several

    @pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", None])
    def test_an_empty_202_without_an_id_is_accepted(self, server, configured, kind):
        server.behaviour = answering(Reply(202, b"", kind))
        assert configured.send(PLAIN) == Accepted(None)

    @pytest.mark.parametrize("body", [b"", b"OK"])
    def test_a_2xx_of_a_web_page_without_an_id_is_unknown(self, server, configured, body):
        server.behaviour = answering(Reply(200, body, "text/html"))
        assert type(self.failure(configured)) is Unknown

    @pytest.mark.parametrize(
        "changes",
        [
            {"subject": ""},
            {"text": "", "html": None},
            {"to": (Address("änne@example.net"),)},
            {"headers": (("X-A", "1"), ("x-a", "2"))},
            {"headers": (("X-SG-EID", "1"),)},
            {"text": "x" * 30_000_000},
        ],
        ids=str,
    )
    def test_what_sendgrid_has_no_field_for_is_refused(self, configured, changes):
        assert configured.refusal(replace(PLAIN, **changes)) is not None


class TestSendGridActivity(FindContract):
    provider = SendGridProvider
    settings = {**SETTINGS, "SENDGRID_ACTIVITY": "on"}  # noqa: RUF012
    found_id = MESSAGE_ID

    def knowing(self, *attempt_ids: str) -> Behaviour:
        ids = {f"{MESSAGE_ID}.recvd-{number}.0": one for number, one in enumerate(attempt_ids)}

        def answer(line: Line, request: Request) -> None:
            path = unquote(urlsplit(request.path).path)
            if path == "/v3/messages":
                found = {"messages": [{"msg_id": one, "to_email": ANN.email} for one in ids]}
            else:
                msg_id = path.removeprefix("/v3/messages/")
                found = {"msg_id": msg_id, "unique_args": {"attempt_id": ids[msg_id]}}
            line.send(bytes(Reply(200, json.dumps(found).encode())))

        return answer

    def test_the_messages_to_the_recipient_since_then_are_asked_for(self, server, configured):
        configured.find(OURS, RECIPIENTS, SINCE)
        query = {k: v for k, (v,) in parse_qs(urlsplit(server.requests[0].path).query).items()}
        assert query.keys() == {"limit", "query"}
        assert query["query"].startswith(
            'to_email="ann@example.net" AND '
            'last_event_time BETWEEN TIMESTAMP "2026-11-23T19:09:34Z" AND TIMESTAMP "20'
        )

    def test_few_messages_are_read_one_by_one(self, server, configured):
        server.behaviour = self.knowing(*(f"other-{number}" for number in range(100)))
        assert configured.find(OURS, RECIPIENTS, SINCE) is None
        assert len(server.requests) == 11

    def test_an_id_is_no_path(self, server, configured):
        reply = Reply(200, b'{"messages": [{"msg_id": "../../v3/api_keys?x"}]}')
        server.behaviour = answering(reply)
        assert configured.find(OURS, RECIPIENTS, SINCE) is None
        assert server.requests[1].path == "/v3/messages/..%2F..%2Fv3%2Fapi_keys%3Fx"

    @pytest.mark.parametrize("value", ["off", ""])
    def test_an_account_without_the_add_on_is_not_asked(self, server, value):
        settings = {**SETTINGS, "SENDGRID_ACTIVITY": value, "SENDGRID_BASE_URL": server.url}
        provider = SendGridProvider.configure(settings, Timeouts())
        assert not provider.can_tell
        assert provider.find(OURS, RECIPIENTS, SINCE) is None
        assert server.requests == []

    def test_the_setting_is_on_or_off(self):
        with pytest.raises(BadSettings, match="SENDGRID_ACTIVITY"):
            SendGridProvider.configure({**SETTINGS, "SENDGRID_ACTIVITY": "yes"}, Timeouts())


def mailbox(found: dict[str, str]) -> Address:
    return Address(found["email"], found.get("name", ""))


def recipient(found: dict[str, str]) -> Address:
    """A recipient as SendGrid writes it: a name with a comma is broken unless it is quoted."""
    name = found.get("name", "")
    if name.startswith('"') and name.endswith('"'):
        name = name[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    else:
        assert "," not in name
        assert ";" not in name
    return Address(found["email"], name)
