"""The providers' own client libraries must find nothing odd about the simulator."""

import hashlib
import html
import re

import boto3
import pytest
import resend
from botocore.config import Config
from botocore.exceptions import ClientError
from mailchimp_transactional import Client as MailchimpClient
from mailchimp_transactional.api_client import ApiClientError
from mailgun.client import Client as MailgunClient
from python_http_client.exceptions import BadRequestsError, UnauthorizedError
from resend.exceptions import InvalidApiKeyError, MissingRequiredFieldsError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Attachment, CustomArg, Email, Mail, ReplyTo, SandBoxMode, To
from sendgrid.helpers.mail import MailSettings as SendGridSettings


@pytest.fixture
def mailgun(running):
    url = running.own_url("mailgun")
    with MailgunClient(auth=("api", running.credentials.mailgun_api_key), api_url=url) as client:
        yield client


@pytest.fixture
def sendgrid(running):
    return SendGridAPIClient(running.credentials.sendgrid_api_key, host=running.own_url("sendgrid"))


def ses_client(running, secret=None):
    return boto3.client(
        "sesv2",
        endpoint_url=running.own_url("ses"),
        region_name=running.credentials.aws_region,
        aws_access_key_id=running.credentials.aws_access_key_id,
        aws_secret_access_key=secret or running.credentials.aws_secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


@pytest.fixture
def ses(running):
    client = ses_client(running)
    yield client
    client.close()


@pytest.fixture
def resend_client(running, monkeypatch):
    """The module is the client there."""
    monkeypatch.setattr(resend, "api_key", running.credentials.resend_api_key)
    monkeypatch.setattr(resend, "api_url", running.own_url("resend"))
    return resend


@pytest.fixture
def mandrill(running):
    client = MailchimpClient(running.credentials.mandrill_api_key)
    client.api_client.host = f"{running.own_url('mandrill')}/api/1.3"
    return client


def simple(**more):
    return {
        "FromEmailAddress": "=?UTF-8?B?QsO8cm8=?= <orders@shop.example>",
        "Destination": {"ToAddresses": ["Ann <ann@example.net>"]},
        "Content": {
            "Simple": {
                "Subject": {"Data": "Grüße", "Charset": "UTF-8"},
                "Body": {"Text": {"Data": "Hallo", "Charset": "UTF-8"}},
                **more,
            }
        },
    }


def test_mailguns_client_sends_a_mail_with_files(running, mailgun):
    answer = mailgun.messages.create(
        domain=running.credentials.mailgun_domain,
        data={
            "from": '"Büro, Shop" <orders@shop.example>',
            "to": ["Ann <ann@example.net>", "bo@example.net"],
            "subject": "Grüße",
            "html": "<img src='cid:logo.png'>",
            "h:Reply-To": "help@shop.example",
            "h:X-Order": "17",
            "o:tag": ["a", "b"],
            "v:attempt_id": "at-1",
        },
        files=[
            ("attachment", ("Rechnung März.pdf", b"%PDF", "application/pdf")),
            ("inline", ("logo.png", b"\x89PNG\r\n\x1a\n", "image/png")),
        ],
    )

    assert answer.status_code == 200
    assert answer.json()["message"] == "Queued. Thank you."
    mail = running.mail()
    assert mail["provider_message_id"] == answer.json()["id"]
    assert mail["attempt_id"] == "at-1"
    assert mail["from"] == {"email": "orders@shop.example", "name": "Büro, Shop"}
    assert [one["email"] for one in mail["to"]] == ["ann@example.net", "bo@example.net"]
    assert mail["reply_to"] == [{"email": "help@shop.example", "name": ""}]
    assert {"name": "X-Order", "value": "17"} in mail["headers"]
    assert mail["tags"] == ["a", "b"]
    assert [(one["filename"], one["size"], one["content_id"]) for one in mail["attachments"]] == [
        ("Rechnung März.pdf", 4, None),
        ("logo.png", 8, "logo.png"),
    ]


def test_mailguns_client_sends_a_whole_message(running, mailgun):
    source = b"From: Shop <o@shop.example>\r\nTo: ann@example.net\r\nSubject: Hi\r\n\r\nText\r\n"
    answer = mailgun.mimemessage.create(
        domain=running.credentials.mailgun_domain,
        data={"to": "ann@example.net,bo@example.net"},
        files={"message": ("message.eml", source)},
    )

    assert answer.status_code == 200
    mail = running.mail()
    assert (mail["subject"], mail["text"]) == ("Hi", "Text\r\n")
    assert [one["email"] for one in mail["bcc"]] == ["bo@example.net"]


def test_mailguns_client_with_a_wrong_key_is_forbidden(running):
    url = running.own_url("mailgun")
    with MailgunClient(auth=("api", "key-wrong"), api_url=url) as client:
        answer = client.messages.create(
            domain=running.credentials.mailgun_domain, data={"to": "ann@example.net"}
        )

    assert (answer.status_code, answer.text) == (401, "Forbidden")
    assert running.mails() == []


def test_sendgrids_client_sends_a_mail_with_files(running, sendgrid):
    mail = Mail(
        from_email=Email("orders@shop.example", "Büro, Shop"),
        to_emails=[To("ann@example.net", "Ann"), To("bo@example.net")],
        subject="Grüße",
        plain_text_content="Hallo",
        html_content="<p>Hallo</p>",
    )
    mail.add_cc("cy@example.net")
    mail.add_bcc("di@example.net")
    mail.reply_to = ReplyTo("help@shop.example", "Help")
    mail.add_custom_arg(CustomArg("attempt_id", "at-2"))
    mail.add_attachment(Attachment("JVBERg==", "a.pdf", "application/pdf", "attachment"))
    answer = sendgrid.send(mail)

    assert (answer.status_code, answer.body) == (202, b"")
    kept = running.mail()
    assert kept["provider_message_id"] == answer.headers["X-Message-Id"]
    assert kept["attempt_id"] == "at-2"
    assert kept["from"] == {"email": "orders@shop.example", "name": "Büro, Shop"}
    assert kept["reply_to"] == [{"email": "help@shop.example", "name": "Help"}]
    assert (kept["text"], kept["html"]) == ("Hallo", "<p>Hallo</p>")
    assert [(one["kind"], one["email"]) for one in kept["recipients"]] == [
        ("to", "ann@example.net"),
        ("to", "bo@example.net"),
        ("cc", "cy@example.net"),
        ("bcc", "di@example.net"),
    ]
    assert [(one["filename"], one["size"]) for one in kept["attachments"]] == [("a.pdf", 4)]


def test_sendgrids_client_in_sandbox_mode_leaves_nothing_behind(running, sendgrid):
    mail = Mail("o@shop.example", "ann@example.net", "Hi", "Text")
    mail.mail_settings = SendGridSettings(sandbox_mode=SandBoxMode(enable=True))

    assert sendgrid.send(mail).status_code == 200
    assert running.mails() == []


def test_sendgrids_client_with_a_wrong_key_is_not_authorized(running):
    client = SendGridAPIClient("SG.wrong.key", host=running.own_url("sendgrid"))
    with pytest.raises(UnauthorizedError) as caught:
        client.send(Mail("o@shop.example", "ann@example.net", "Hi", "Text"))

    (error,) = caught.value.to_dict["errors"]
    assert error["message"].startswith("The provided authorization grant is invalid")


def test_sendgrids_client_hears_which_field_is_wrong(running, sendgrid):
    with pytest.raises(BadRequestsError) as caught:
        sendgrid.send(Mail("o@shop.example", "ann@nowhere", "Hi", "Text"))

    (error,) = caught.value.to_dict["errors"]
    assert error["field"] == "personalizations.0.to.0.email"


def test_the_aws_client_sends_a_simple_mail_with_files(running, ses):
    answer = ses.send_email(
        **simple(
            Headers=[{"Name": "X-Order", "Value": "17"}],
            Attachments=[
                {
                    "FileName": "logo.png",
                    "RawContent": b"\x89PNG",
                    "ContentType": "image/png",
                    "ContentDisposition": "INLINE",
                    "ContentId": "logo",
                }
            ],
        ),
        ReplyToAddresses=["help@shop.example"],
        EmailTags=[{"Name": "attempt_id", "Value": "at-3"}],
    )

    mail = running.mail()
    assert mail["provider_message_id"] == answer["MessageId"]
    assert mail["attempt_id"] == "at-3"
    assert mail["from"] == {"email": "orders@shop.example", "name": "Büro"}
    assert (mail["subject"], mail["text"], mail["html"]) == ("Grüße", "Hallo", None)
    assert mail["reply_to"] == [{"email": "help@shop.example", "name": ""}]
    assert mail["attachments"] == [
        {
            "filename": "logo.png",
            "content_type": "image/png",
            "size": 4,
            "sha256": hashlib.sha256(b"\x89PNG").hexdigest(),
            "content_id": "logo",
            "inline": True,
        }
    ]


def test_the_aws_client_sends_a_whole_message(running, ses):
    source = (
        b"From: Shop <o@shop.example>\r\nTo: Ann <ann@example.net>\r\nSubject: Hi\r\n"
        b"X-SES-MESSAGE-TAGS: attempt_id=at-4, a=b\r\n\r\nText\r\n"
    )
    ses.send_email(
        Destination={"ToAddresses": ["ann@example.net"], "BccAddresses": ["bo@example.net"]},
        Content={"Raw": {"Data": source}},
    )

    mail = running.mail()
    assert mail["attempt_id"] == "at-4"
    assert mail["to"] == [{"email": "ann@example.net", "name": "Ann"}]
    assert mail["bcc"] == [{"email": "bo@example.net", "name": ""}]
    assert not any(header["name"].startswith("X-SES") for header in mail["headers"])


def test_the_aws_client_with_a_wrong_secret_is_told_so(running):
    client = ses_client(running, secret="wrong")
    with pytest.raises(ClientError) as caught:
        client.send_email(**simple())
    client.close()

    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_aws_client_knows_its_own_exceptions(running, ses):
    running.set("ses", "rate-limit")
    with pytest.raises(ses.exceptions.TooManyRequestsException):
        ses.send_email(**simple())
    running.set("ses", "unverified-sender")
    with pytest.raises(ses.exceptions.MessageRejected, match="not verified"):
        ses.send_email(**simple())


def test_resends_client_sends_a_mail_with_files_once(running, resend_client):
    params = {
        "from": "Büro <orders@shop.example>",
        "to": "Ann <ann@example.net>",
        "cc": ["bo@example.net"],
        "bcc": "di@example.net",
        "reply_to": ["Help <help@shop.example>"],
        "subject": "Grüße",
        "html": "<img src='cid:logo'>",
        "headers": {"X-Order": "17"},
        "tags": [{"name": "attempt_id", "value": "at-5"}],
        "attachments": [
            {"filename": "a.pdf", "content": list(b"%PDF")},
            {
                "filename": "logo.png",
                "content": "iVBORw==",
                "content_type": "image/png",
                "content_id": "logo",
            },
        ],
    }
    first, again = (
        resend_client.Emails.send(params, {"idempotency_key": "order-17"})["id"] for _ in "ab"
    )

    assert first == again
    mail = running.mail()
    assert (mail["provider_message_id"], mail["attempt_id"]) == (first, "at-5")
    assert mail["from"] == {"email": "orders@shop.example", "name": "Büro"}
    assert mail["reply_to"] == [{"email": "help@shop.example", "name": "Help"}]
    assert [(one["kind"], one["email"]) for one in mail["recipients"]] == [
        ("to", "ann@example.net"),
        ("cc", "bo@example.net"),
        ("bcc", "di@example.net"),
    ]
    assert (mail["text"], mail["html"]) == (None, "<img src='cid:logo'>")
    assert mail["headers"] == [{"name": "X-Order", "value": "17"}]
    files = [(one["filename"], one["size"], one["content_id"]) for one in mail["attachments"]]
    assert files == [("a.pdf", 4, None), ("logo.png", 4, "logo")]
    running.set("resend", "up", lag=0)
    assert resend_client.Emails.get(first)["last_event"] in ("sent", "delivered")


def test_resends_client_knows_its_own_exceptions(resend_client):
    params = {"from": "o@shop.example", "to": "ann@example.net", "subject": "Hi"}
    with pytest.raises(MissingRequiredFieldsError):
        resend_client.Emails.send(params)
    resend_client.api_key = "re_wrong"
    with pytest.raises(InvalidApiKeyError):
        resend_client.Emails.send(params)


def test_mailchimps_client_sends_a_mail_with_files(running, mandrill):
    answers = mandrill.messages.send(
        {
            "message": {
                "from_email": "orders@shop.example",
                "from_name": "Büro, Shop",
                "to": [
                    {"email": "ann@example.net", "name": "Ann"},
                    {"email": "reject@example.net", "type": "cc"},
                    {"email": "bo@example.net", "type": "bcc"},
                ],
                "headers": {"Reply-To": "help@shop.example", "X-Order": "17"},
                "subject": "Grüße",
                "text": "Hallo",
                "html": "<img src='cid:logo'>",
                "tags": ["a", "b"],
                "metadata": {"attempt_id": "at-6"},
                "attachments": [
                    {"type": "application/pdf", "name": "a.pdf", "content": "JVBERg=="}
                ],
                "images": [{"type": "image/png", "name": "logo", "content": "iVBORw=="}],
            }
        }
    )

    assert [(one["email"], one["status"], one["reject_reason"]) for one in answers] == [
        ("ann@example.net", "queued", None),
        ("reject@example.net", "rejected", "hard-bounce"),
        ("bo@example.net", "queued", None),
    ]
    mail = running.mail()
    assert (mail["provider_message_id"], mail["attempt_id"]) == (answers[0]["_id"], "at-6")
    assert mail["from"] == {"email": "orders@shop.example", "name": "Büro, Shop"}
    assert [(one["kind"], one["email"]) for one in mail["recipients"]] == [
        ("to", "ann@example.net"),
        ("bcc", "bo@example.net"),
    ]
    assert mail["reply_to"] == [{"email": "help@shop.example", "name": ""}]
    assert (mail["text"], mail["html"]) == ("Hallo", "<img src='cid:logo'>")
    assert mail["headers"] == [{"name": "X-Order", "value": "17"}]
    assert mail["tags"] == ["a", "b"]
    files = [(one["filename"], one["size"], one["content_id"]) for one in mail["attachments"]]
    assert files == [("a.pdf", 4, None), ("logo", 4, "logo")]


def test_mailchimps_client_with_a_wrong_key_is_told_so(running, mandrill):
    mandrill.set_api_key("md-wrong")
    with pytest.raises(ApiClientError) as caught:
        mandrill.messages.send({"message": {}})

    assert caught.value.text["name"] == "Invalid_Key"


def test_the_examples_on_the_page_work_as_they_stand(running, provider):
    page = running.session.get(running.url).text
    example = re.search(rf'<pre [^>]*id="example-{provider}"[^>]*>(.*?)</pre>', page, re.DOTALL)
    names: dict[str, object] = {}
    exec(html.unescape(example[1]), names)
    if hasattr(names.get("client"), "close"):
        names["client"].close()

    mail = running.mail()
    assert mail["provider"] == provider
    assert mail["to"] == [{"email": "ann@example.net", "name": "Ann"}]
    assert (mail["text"], mail["html"]) == ("It works.", "<p>It <strong>works</strong>.</p>")
