import datetime as dt
import email
import email.policy
import functools
import json
import logging
from base64 import b64decode
from dataclasses import replace

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

from providers.aws import sign
from providers.base import BadSettings, MissingSettings, Timeouts
from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    Rejected,
    SenderRefused,
    Unavailable,
    Unknown,
)
from providers.ses import SesProvider
from providers.types import Address, Attachment
from tests.providers.contract import (
    ANN,
    BOB,
    CARRIED,
    PLAIN,
    Copy,
    ProviderContract,
    Sample,
    as_seen,
)
from tests.providers.hard import HARD, expected
from tests.providers.reading import address, addresses, content, decoded, parsed
from tests.providers.server import Reply, Request, serving

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN/+0123456789=="
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": TOKEN,
    "AWS_REGION": "eu-west-1",
}
MESSAGE_ID = "0100019a1b2c3d4e-11112222-3333-4444-5555-666677778888-000000"
UNVERIFIED = (
    "Email address is not verified. The following identities failed the check in region EU-WEST-1: "
)


def error(status: int, kind: str, message: str = "") -> Reply:
    body = json.dumps({"message": message}).encode()
    return Reply(status, body, headers=(("x-amzn-ErrorType", kind),))


class TestSes(ProviderContract):
    provider = SesProvider
    settings = SETTINGS
    success = Reply(200, json.dumps({"MessageId": MESSAGE_ID}).encode())
    success_id = MESSAGE_ID
    failures = (
        Sample(error(400, "MessageRejected", f"{UNVERIFIED}orders@shop.example"), SenderRefused),
        Sample(error(400, "MessageRejected", f"{UNVERIFIED}shop.example"), SenderRefused),
        Sample(
            error(
                400, "MessageRejected", f"{UNVERIFIED}Shop <orders@shop.example>, ann@example.net"
            ),
            SenderRefused,
        ),
        Sample(
            error(400, "MessageRejected", f"{UNVERIFIED}xn--bcher-kva.example"),
            SenderRefused,
            email=replace(PLAIN, sender=Address("orders@bücher.example")),
        ),
        Sample(error(400, "MessageRejected", f"{UNVERIFIED}ann@example.net"), AccountRefused),
        Sample(
            error(400, "MessageRejected", f"{UNVERIFIED}ann@example.net, bob@example.net"),
            AccountRefused,
            email=replace(PLAIN, cc=(BOB,)),
        ),
        Sample(error(400, "MessageRejected", "Email address is not verified."), SenderRefused),
        Sample(error(400, "MessageRejected", "Message content is refused."), Rejected),
        Sample(error(400, "MessageRejected:http://internal.amazon.com/x", "Refused."), Rejected),
        Sample(
            Reply(400, b'{"__type":"com.amazonaws.sesv2#MessageRejected","Message":"Refused."}'),
            Rejected,
        ),
        Sample(error(400, "MailFromDomainNotVerifiedException"), SenderRefused),
        Sample(error(400, "AccountSuspendedException"), AccountRefused),
        Sample(error(400, "SendingPausedException"), AccountRefused),
        Sample(
            error(400, "LimitExceededException", "Daily message quota exceeded"), AccountRefused
        ),
        Sample(error(400, "BadRequestException", "Illegal address"), Rejected),
        Sample(error(404, "NotFoundException", "Configuration set is missing."), AccountRefused),
        Sample(error(429, "TooManyRequestsException", "Maximum sending rate exceeded."), Limited),
        Sample(error(400, "Throttling", "Maximum sending rate exceeded."), Limited),
        Sample(error(400, "ThrottlingException", "Maximum sending rate exceeded."), Limited),
        Sample(error(400, "Throttling", "Daily message quota exceeded."), AccountRefused),
        Sample(error(403, "AccessDeniedException", "not authorized to perform"), AccountRefused),
        Sample(error(403, "UnrecognizedClientException"), AccountRefused),
        Sample(error(403, "InvalidClientTokenId"), AccountRefused),
        Sample(error(403, "SignatureDoesNotMatch"), AccountRefused),
        Sample(error(403, "InvalidSignatureException", f"token was {TOKEN}"), AccountRefused),
        Sample(error(403, "ExpiredTokenException"), AccountRefused),
        Sample(error(403, "MissingAuthenticationTokenException"), AccountRefused),
        Sample(error(400, "IncompleteSignature"), AccountRefused),
        Sample(error(403, "IncompleteSignature"), AccountRefused),
        Sample(error(400, "RequestExpired"), AccountRefused),
        Sample(error(403, "OptInRequired"), AccountRefused),
        Sample(error(400, "NotAuthorized"), AccountRefused),
        Sample(error(413, "RequestEntityTooLarge"), MessageRefused),
        Sample(error(500, "InternalServiceErrorException"), Unknown),
        Sample(error(500, "InternalFailure"), Unknown),
        Sample(error(503, "ServiceUnavailable"), Unavailable),
        Sample(error(408, "RequestTimeout"), Unavailable),
        Sample(error(400, "SomethingNewException", "that nobody documented"), MessageRefused),
    )

    def copies(self, request: Request) -> list[Copy]:
        assert (request.method, request.path) == ("POST", "/v2/email/outbound-emails")
        assert_signed(request)
        message = json.loads(request.body)
        assert_fits_the_model(message)
        envelope = {
            kind: tuple(map(address, message["Destination"].get(f"{kind}Addresses", [])))
            for kind in ("To", "Cc", "Bcc")
        }
        ((name, attempt_id),) = [(tag["Name"], tag["Value"]) for tag in message["EmailTags"]]
        assert name == "attempt_id"
        read = from_simple if "Simple" in message["Content"] else from_raw
        return [
            Copy(
                sender=address(message["FromEmailAddress"]),
                to=envelope["To"],
                cc=envelope["Cc"],
                bcc=envelope["Bcc"],
                attempt_id=attempt_id,
                **read(message, envelope),
            )
        ]

    def tracking_off(self, request: Request) -> tuple[bool, bool]:
        told = json.loads(request.body).get("ConfigurationOverrides", {}).get("Tracking", {})
        names = ("OpenTrackingEnabled", "ClickTrackingEnabled")
        return tuple(told.get(name) == "DISABLED" for name in names)

    def complaint(self, words: str) -> Reply:
        return error(403, "SignatureDoesNotMatch", words)

    def test_it_cannot_be_asked_afterwards(self, server, configured):
        assert not configured.can_tell
        assert configured.find("att_7f3-1", (ANN.email,), dt.datetime.now(dt.UTC)) is None
        assert server.requests == []

    def test_51_recipients_are_too_many(self, configured):
        to = tuple(Address(f"a{number}@example.net") for number in range(51))
        assert configured.refusal(replace(PLAIN, to=to[:50])) is None
        assert "50" in configured.refusal(replace(PLAIN, to=to))

    def test_non_ascii_local_parts_are_refused(self, configured):
        assert configured.refusal(replace(PLAIN, to=(Address("änne@example.net"),))) is not None

    def test_only_what_simple_cannot_carry_goes_as_raw(self, server, configured):
        for found in CARRIED.values():
            configured.send(found)
        kinds = {
            name: next(iter(json.loads(request.body)["Content"]))
            for name, request in zip(CARRIED, server.requests, strict=True)
        }
        assert {name for name, kind in kinds.items() if kind == "Raw"} == {
            "a tab in a header",
            "headers that look encoded",
            "a header in another alphabet",
            "twenty headers",
            "a long header",
            "a long header without blanks",
        }

    @pytest.mark.parametrize("found", CARRIED.values(), ids=CARRIED.keys())
    def test_raw_carries_whatever_simple_does(self, server, configured, found):
        odd = replace(found, headers=(*found.headers, ("X-Odd", "ü")))
        configured.send(odd)
        assert "Raw" in json.loads(server.requests[0].body)["Content"]
        assert self.sent(server) == [as_seen(odd)]

    def test_the_configuration_set_is_named_where_one_is_set(self, server):
        values = {**SETTINGS, "SES_BASE_URL": server.url}
        SesProvider.configure(values, Timeouts()).send(PLAIN)
        SesProvider.configure({**values, "SES_CONFIGURATION_SET": "ev"}, Timeouts()).send(PLAIN)
        without, named = (json.loads(request.body) for request in server.requests)
        assert "ConfigurationSetName" not in without
        assert named["ConfigurationSetName"] == "ev"

    def test_signing_logs_neither_secret_nor_token(self, configured, caplog):
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "botocore"):
            configured.send(PLAIN)
        assert caplog.records
        for record in caplog.records:
            assert SECRET not in record.getMessage()
            assert TOKEN not in record.getMessage()


def assert_signed(request: Request) -> None:
    """The signature is the one that botocore makes at that time of what came."""
    keys = ReadOnlyCredentials(SETTINGS["AWS_ACCESS_KEY_ID"], SECRET, TOKEN)
    signed = request.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert signed == ["content-type", "host", "x-amz-date", "x-amz-security-token"]
    signer = SigV4Auth(keys, "ses", "eu-west-1")
    again = AWSRequest(
        request.method,
        f"http://{request.headers['host']}{request.path}",
        {name: request.headers[name] for name in signed if name != "host"},
        request.body,
    )
    again.context["timestamp"] = request.headers["x-amz-date"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    assert request.headers["authorization"].endswith(f"Signature={signer.signature(text, again)}")


@functools.cache
def send_email_model():
    return botocore.session.get_session().get_service_model("sesv2").operation_model("SendEmail")


def assert_fits_the_model(message: dict) -> None:
    """botocore, given the same parameters, finds no fault in them and writes the same request."""
    parameters = json.loads(json.dumps(message))
    if "Raw" in parameters["Content"]:
        data = parameters["Content"]["Raw"]["Data"]
        parameters["Content"]["Raw"]["Data"] = b64decode(data, validate=True)
    serializer = botocore.serialize.create_serializer("rest-json", include_validation=True)
    request = serializer.serialize_to_request(parameters, send_email_model())
    assert (request["method"], request["url_path"]) == ("POST", "/v2/email/outbound-emails")
    assert json.loads(request["body"]) == message


def from_simple(message: dict, envelope: dict) -> dict:
    simple = message["Content"]["Simple"]
    parts = [simple["Subject"], *simple["Body"].values()]
    assert all(part["Charset"] == "UTF-8" for part in parts)
    return {
        "reply_to": tuple(map(address, message.get("ReplyToAddresses", []))),
        "subject": simple["Subject"]["Data"],
        "text": simple["Body"].get("Text", {}).get("Data") or None,
        "html": simple["Body"].get("Html", {}).get("Data") or None,
        "headers": tuple((h["Name"], h["Value"]) for h in simple.get("Headers", [])),
    }


def from_raw(message: dict, envelope: dict) -> dict:
    raw = b64decode(message["Content"]["Raw"]["Data"])
    assert raw.isascii()
    mime = parsed(raw)
    assert addresses(mime["From"]) == (address(message["FromEmailAddress"]),)
    assert addresses(mime.get("To", "")) == envelope["To"] or not envelope["To"]
    assert addresses(mime.get("Cc", "")) == envelope["Cc"] or not envelope["Cc"]
    assert "Bcc" not in mime
    return content(mime)


def test_the_signature_of_the_published_example():
    keys = ReadOnlyCredentials("AKIDEXAMPLE", SECRET, None)
    headers = sign(
        "https://email.us-east-1.amazonaws.com/v2/email/outbound-emails",
        b'{"FromEmailAddress":"a@example.com"}',
        keys,
        "us-east-1",
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp(),
    )
    assert headers["X-Amz-Date"] == "20260101T000000Z"
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/ses/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=86c5999a7ceebe9237a7b7d40cbab7326fe7b81764b62d8b70c11166aac80e90"
    )


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "email.eu-west-1.amazonaws.com"),
        ("cn-north-1", "email.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "email.us-gov-west-1.amazonaws.com"),
    ],
)
def test_the_region_gives_the_base_url(region, host):
    provider = SesProvider.configure({**SETTINGS, "AWS_REGION": region}, Timeouts())
    assert provider.base_url == f"https://{host}"


@pytest.fixture
def bare_environment(monkeypatch, tmp_path):
    """botocore's chain finds what the test puts there and nothing of this machine's."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", *SETTINGS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


@pytest.mark.usefixtures("bare_environment")
class TestSettings:
    def test_a_key_without_its_secret_is_named(self):
        with pytest.raises(MissingSettings) as raised:
            SesProvider.configure({**SETTINGS, "AWS_SECRET_ACCESS_KEY": ""}, Timeouts())
        assert raised.value.names == ("AWS_SECRET_ACCESS_KEY",)

    def test_a_region_is_needed(self):
        with pytest.raises(MissingSettings, match="AWS_REGION"):
            SesProvider.configure({**SETTINGS, "AWS_REGION": ""}, Timeouts())

    def test_a_region_that_would_be_another_host_is_no_region(self):
        with pytest.raises(BadSettings, match="AWS_REGION"):
            SesProvider.configure({**SETTINGS, "AWS_REGION": "evil.example/"}, Timeouts())

    def test_region_and_keys_may_come_from_the_profile(self, bare_environment):
        (bare_environment / "config").write_text("[default]\nregion = eu-central-1\n")
        (bare_environment / "credentials").write_text(
            f"[default]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = {SECRET}\n"
        )
        success = Reply(200, b'{"MessageId": "1"}')
        with serving(lambda line, request: line.send(bytes(success))) as server:
            SesProvider.configure({"SES_BASE_URL": server.url}, Timeouts()).send(PLAIN)
        (request,) = server.requests
        assert "Credential=AKIDPROFILE/" in request.headers["authorization"]
        assert "/eu-central-1/ses/aws4_request" in request.headers["authorization"]

    def test_without_any_credentials_the_account_is_refused_and_nothing_sent(self):
        provider = SesProvider.configure({"AWS_REGION": "eu-west-1"}, Timeouts())
        with pytest.raises(AccountRefused, match="AWS_ACCESS_KEY_ID"):
            provider.send(PLAIN)

    def test_a_profile_that_does_not_exist_sends_nothing(self, monkeypatch):
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        provider = SesProvider.configure({"AWS_REGION": "eu-west-1"}, Timeouts())
        with pytest.raises(Unavailable, match="ProfileNotFound"):
            provider.send(PLAIN)


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class TestAgainstMoto:
    @pytest.fixture
    def backend(self, moto):
        backend = get_backend("ses")[DEFAULT_ACCOUNT_ID]["eu-west-1"]
        backend.reset()
        backend.verify_domain("shop.example")
        return backend

    @pytest.fixture
    def provider(self, moto):
        provider = SesProvider.configure({**SETTINGS, "SES_BASE_URL": moto}, Timeouts())
        yield provider
        provider.close()

    def test_a_simple_message_arrives(self, provider, backend):
        accepted = provider.send(replace(PLAIN, cc=(BOB,), subject="Überraschung"))
        (message,) = backend.sent_messages
        assert message.id == accepted.provider_message_id
        assert message.source == "Shop <orders@shop.example>"
        assert message.subject == "Überraschung"
        assert message.destinations == {
            "ToAddresses": [f"Ann <{ANN.email}>"],
            "CcAddresses": [BOB.email],
        }

    def test_a_raw_message_arrives(self, provider, backend):
        provider.send(replace(PLAIN, headers=(("X-Name", "Grüße"),), bcc=(BOB,)))
        (message,) = backend.sent_messages
        assert decoded(email.message_from_string(message.raw_data)["X-Name"]) == "Grüße"
        assert BOB.email in message.destinations

    @pytest.mark.parametrize("name", HARD)
    def test_a_hard_message_arrives_whole(self, provider, backend, name):
        """As MIME, parsed by the standard library's newer parser."""
        hard = HARD[name]
        if len(hard.recipients) == 50:
            # moto counts those in the headers once more.
            hard = replace(hard, cc=hard.cc[:1], to=hard.to[:10])
        backend.verify_domain("bücher.example")
        backend.verify_domain("xn--bcher-kva.example")
        provider.send(replace(hard, headers=(*hard.headers, ("X-Odd", "ü"))))
        (sent,) = backend.sent_messages
        found = email.message_from_string(sent.raw_data, policy=email.policy.default)
        wanted = expected(hard)
        assert found["Subject"] == hard.subject
        assert [a.addr_spec for a in found["To"].addresses] == [a.email for a in wanted.to]
        assert [a.display_name for a in found["To"].addresses] == [a.name for a in wanted.to]
        assert found["Bcc"] is None
        envelope = {found.email for line in sent.destinations for found in addresses(line)}
        assert envelope == {a.email for a in wanted.to + wanted.cc + wanted.bcc}
        bodies = {
            kind: part.get_content().replace("\r\n", "\n").removesuffix("\n")
            for kind in ("plain", "html")
            if (part := found.get_body((kind,))) is not None
        }
        assert bodies == {
            kind: text.removesuffix("\n")
            for kind, text in (("plain", hard.text), ("html", hard.html))
            if text is not None
        }
        files = [part for part in found.walk() if part.get_content_disposition()]
        assert {
            Attachment(
                part.get_filename(),
                part.get_content_type(),
                part.get_payload(decode=True),
                part["Content-ID"] and part["Content-ID"].strip("<>"),
            )
            for part in files
        } == set(hard.attachments)

    def test_an_unverified_sender_is_refused(self, provider, backend):
        with pytest.raises(SenderRefused):
            provider.send(replace(PLAIN, sender=Address("a@other.example")))
        assert backend.sent_messages == []
