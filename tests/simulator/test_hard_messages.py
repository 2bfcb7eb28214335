"""Hard messages through each provider's class, as the simulator finds them in its inbox."""

from dataclasses import replace
from email.utils import getaddresses

import pytest

from providers.base import Provider, Timeouts
from providers.mailgun import MailgunProvider
from providers.sendgrid import SendGridProvider
from providers.ses import SesProvider
from providers.types import Address, Attachment
from simulator.mail import Mail, Mailbox
from tests.providers.hard import HARD, LEFT_OUT, Arrived, expected
from tests.simulator.conftest import CREDENTIALS

CLASSES = {"mailgun": MailgunProvider, "sendgrid": SendGridProvider, "ses": SesProvider}


@pytest.fixture
def sender(running, provider) -> Provider:
    """The provider's class, set up for the simulator."""
    values = {
        "MAILGUN_API_KEY": CREDENTIALS.mailgun_api_key,
        "MAILGUN_DOMAIN": CREDENTIALS.mailgun_domain,
        "SENDGRID_API_KEY": CREDENTIALS.sendgrid_api_key,
        "AWS_ACCESS_KEY_ID": CREDENTIALS.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.aws_secret_access_key,
        "AWS_REGION": CREDENTIALS.aws_region,
        f"{provider.upper()}_BASE_URL": running.own_url(provider),
    }
    sender = CLASSES[provider].configure(values, Timeouts())
    yield sender
    sender.close()


def mail_of(running) -> Mail:
    (entry,) = running.simulator.inbox.newest(10)
    return entry.mail


def arrived(mail: Mail) -> Arrived:
    return Arrived(
        sender=address(mail.sender),
        to=tuple(map(address, mail.to)),
        cc=tuple(map(address, mail.cc)),
        bcc=tuple(map(address, mail.bcc)),
        reply_to=tuple(map(address, mail.reply_to)),
        subject=mail.subject,
        text=(mail.text or "").replace("\r\n", "\n"),
        html=(mail.html or "").replace("\r\n", "\n"),
        headers=tuple((n, v) for n, v in mail.headers if n.startswith("X-")),
        attachments=frozenset(
            Attachment(a.filename, a.content_type, a.content, a.content_id or None)
            for a in mail.attachments
        ),
    )


def address(mailbox: Mailbox) -> Address:
    return Address(mailbox.email, mailbox.name)


@pytest.mark.parametrize("email", HARD.values(), ids=HARD.keys())
def test_a_hard_message_arrives_field_by_field(running, sender, provider, email):
    if provider == "sendgrid" and not all(file.content for file in email.attachments):
        assert sender.refusal(email) == "SendGrid takes no empty files"
        return
    assert sender.refusal(email) is None
    sender.send(email)
    mail = mail_of(running)
    assert mail.attempt_id == email.attempt_id
    assert arrived(mail) == expected(email)
    assert all(file.inline == bool(file.content_id) for file in mail.attachments)


def test_whoever_is_left_out_is_shown_where_the_envelope_is_apart(running, sender, provider):
    sender.send(LEFT_OUT)
    mail = mail_of(running)
    assert arrived(mail) == expected(replace(LEFT_OUT, shown_to=None, shown_cc=None))
    shown = {
        name: {email for _, email in getaddresses([value])}
        for name, value in mail.headers
        if name in ("To", "Cc", "Bcc")
    }
    if provider == "sendgrid":
        # What it shows is the envelope.
        assert shown == {}
    else:
        assert shown == {
            "To": {"ann@example.net", "bob@xn--bcher-kva.example"},
            "Cc": {"carol@example.net"},
        }


@pytest.mark.parametrize(
    ("provider", "carried", "refused"),
    [
        ("mailgun", 18_000_000, 18_400_000),
        ("sendgrid", 21_000_000, 22_500_000),
        ("ses", 28_000_000, 29_500_000),
    ],
    indirect=["provider"],
)
def test_files_are_refused_by_their_encoded_size(sender, carried, refused):
    email = HARD["ten megabytes"]
    for size, obstacle in ((carried, None), (refused, "MB")):
        files = (Attachment("a", "text/plain", bytes(size - 1000)), Attachment("b", "a/b", b"x"))
        found = sender.refusal(replace(email, attachments=files))
        assert found is None if obstacle is None else obstacle in found


@pytest.mark.parametrize("provider", ["ses"], indirect=True)
def test_files_of_a_kind_that_a_provider_does_not_take_are_refused(sender):
    def refusal(filename: str) -> str | None:
        files = (Attachment(filename, "application/octet-stream", b""),)
        return sender.refusal(replace(HARD["an empty text"], attachments=files))

    assert refusal("setup.EXE") == "it takes no .exe files"
    assert refusal("notes.exe.txt") is None
