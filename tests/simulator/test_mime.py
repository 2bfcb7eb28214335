"""Whole messages, as programs write them."""

from email.message import EmailMessage
from email.policy import SMTP

from simulator.mail import Mailbox
from simulator.mime import parse_mime


def test_a_message_with_everything_comes_apart():
    message = EmailMessage(policy=SMTP)
    message["From"] = '"Büro, Shop" <orders@shop.example>'
    message["To"] = "Ann <ann@example.net>, bo@example.net"
    message["Cc"] = "Cy <cy@example.net>"
    message["Reply-To"] = "help@shop.example"
    message["Subject"] = "Grüße aus dem Büro " * 6
    message["X-Order"] = "17"
    message.set_content("Hallo Ann\n")
    message.add_alternative("<p>Hallo <img src='cid:logo'></p>\n", subtype="html")
    html = message.get_payload()[1]
    html.add_related(b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png")
    message.add_attachment(b"%PDF", "application", "pdf", filename="Rechnung März.pdf")
    content = parse_mime(message.as_bytes())

    assert content.sender == Mailbox("orders@shop.example", "Büro, Shop")
    assert content.to == (Mailbox("ann@example.net", "Ann"), Mailbox("bo@example.net"))
    assert content.cc == (Mailbox("cy@example.net", "Cy"),)
    assert content.reply_to == (Mailbox("help@shop.example"),)
    assert content.subject == ("Grüße aus dem Büro " * 6).strip()
    assert content.text == "Hallo Ann\r\n"
    assert content.html == "<p>Hallo <img src='cid:logo'></p>\r\n"
    assert ("X-Order", "17") in content.headers
    logo, invoice = content.attachments
    assert (logo.content_id, logo.content_type, logo.content) == ("logo", "image/png", b"\x89PNG")
    assert (invoice.filename, invoice.inline) == ("Rechnung März.pdf", False)


def test_raw_utf_8_in_headers_is_read():
    content = parse_mime("From: Jürgen <j@x.example>\nSubject: Grüße\n\nHallo".encode())

    assert content.sender == Mailbox("j@x.example", "Jürgen")
    assert (content.subject, content.text) == ("Grüße", "Hallo")


def test_a_message_within_the_message_is_a_file():
    inner = EmailMessage()
    inner["Subject"] = "Inner"
    inner.set_content("Inner text")
    outer = EmailMessage()
    outer["From"] = "a@x.example"
    outer.set_content("Outer text")
    outer.add_attachment(inner)
    content = parse_mime(outer.as_bytes())

    assert content.text == "Outer text\n"
    (file,) = content.attachments
    assert file.content_type == "message/rfc822"
    assert b"Inner text" in file.content


def test_a_broken_message_is_read_as_far_as_it_goes():
    content = parse_mime(
        b"From: nobody\r\nSubject: =?nonsense?b?!!?=\r\n"
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
        b"--x\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff\xfe\r\n"
    )

    assert content.sender is None
    assert content.subject == "=?nonsense?b?!!?="
    assert content.text is not None


def test_whoever_is_in_no_header_is_a_hidden_recipient():
    content = parse_mime(b"From: a@x.example\r\nTo: Ann <ann@x.example>\r\n\r\nText")
    to, cc, bcc = content.kinds((Mailbox("ANN@x.example"), Mailbox("bo@x.example")))

    assert to == (Mailbox("ann@x.example", "Ann"),)
    assert cc == ()
    assert bcc == (Mailbox("bo@x.example"),)
