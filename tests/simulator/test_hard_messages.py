"""Hard messages through each provider's class, as the simulator finds them in its inbox."""

from dataclasses import replace
from email.utils import getaddresses

import pytest

from providers.base import Provider, Timeouts
from providers.types import Address, Attachment, Email
from simulator.mail import Mail, Mailbox
from tests.providers.hard import HARD, LEFT_OUT, Arrived, expected
from tests.simulator.conftest import configured

#: What a provider does not carry, by how the reason begins.
REFUSED = {
    ("sendgrid", "files that look like parts of the message"): "SendGrid takes no empty files",
    ("postmark", "ten megabytes"): "it has 13.7 MB, the limit is 10 MB",
}


@pytest.fixture
def sender(running, provider) -> Provider:
    """The provider's class, set up for the simulator."""
    sender = configured(running, provider, Timeouts())
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


def due(email: Email, provider: str) -> Arrived:
    """What is to arrive from a provider."""
    found = expected(email)
    if provider != "mandrill":
        return found
    # The content id of an image is the only name that it has there.
    files = (replace(one, filename=one.content_id or one.filename) for one in found.attachments)
    return replace(found, attachments=frozenset(files))


@pytest.mark.parametrize("name", HARD)
def test_a_hard_message_arrives_field_by_field(running, sender, provider, name):
    email = HARD[name]
    assert sender.refusal(email) == REFUSED.get((provider, name))
    if (provider, name) in REFUSED:
        return
    sender.send(email)
    mail = mail_of(running)
    assert mail.attempt_id == email.attempt_id
    assert arrived(mail) == due(email, provider)
    assert all(file.inline == bool(file.content_id) for file in mail.attachments)


def test_whoever_is_left_out_is_shown_where_the_envelope_is_apart(running, sender, provider):
    sender.send(LEFT_OUT)
    mail = mail_of(running)
    assert arrived(mail) == due(replace(LEFT_OUT, shown_to=None, shown_cc=None), provider)
    shown = {
        name: {email for _, email in getaddresses([value])}
        for name, value in mail.headers
        if name in ("To", "Cc", "Bcc")
    }
    if provider not in ("mailgun", "ses"):
        # What they show is the envelope.
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
        ("postmark", 7_200_000, 7_500_000),
        ("resend", 29_000_000, 30_100_000),
        ("mandrill", 18_000_000, 18_800_000),
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
