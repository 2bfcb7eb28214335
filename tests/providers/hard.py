"""Messages that are hard to carry, whoever carries them, and what is to arrive of each."""

import random
from dataclasses import dataclass, replace

import idna

from providers.types import Address, Attachment, Email

_PNG = b"\x89PNG\r\n\x1a\n\x00\xff--=_\r\n.\r\n"
_LARGE = random.Random(17).randbytes(10_000_000)
_BASE = Email(
    attempt_id="att_7f3-1",
    sender=Address("orders@shop.example", "Shop"),
    to=(Address("ann@example.net", "Ann"),),
    cc=(),
    bcc=(),
    reply_to=(),
    subject="Your order",
    text="Hello\nAnn",
    html="<p>Hello</p>",
)


def _file(filename: str, **more: object) -> Attachment:
    return replace(Attachment(filename, "application/pdf", b"%PDF\x00"), **more)


HARD = {
    "names with commas, quotes and emoji": replace(
        _BASE,
        sender=Address("orders@shop.example", 'Bücher, "alt" & neu 📚'),
        to=(
            Address("ann@example.net", 'Doe, "Ann" 🎉; Jr.'),
            Address("bob@example.net", "back\\slash <x@y.example>"),
        ),
        cc=(Address("carol@example.net", "Кэрол, =?utf-8?q?no?= (x)"),),
        reply_to=(Address("help@shop.example", "Hilfe, 助けて"),),
    ),
    "a subject from right to left": replace(
        _BASE,
        subject="הזמנה 17 אושרה — شكرا لك على طلبك رقم 17 " * 6 + "!",
        text="שלום\nشكرا 17",
        html="<p dir='rtl'>שלום</p>",
    ),
    "a subject with blanks side by side": replace(_BASE, subject="a  b   c é  d  "),
    "an empty text": replace(_BASE, text=""),
    "an empty text beside a file": replace(_BASE, text="", attachments=(_file("a.pdf"),)),
    "text alone with a file": replace(_BASE, html=None, attachments=(_file("a.pdf"),)),
    "long lines": replace(
        _BASE,
        text="x" * 5000 + "\n" + "é" * 3000 + "\n.\nFrom here\n" + "word " * 400,
        html="<p>" + "y" * 5000 + "</p>",
        headers=(("X-Long", "0123456789" * 95), ("X-Words", "one two " * 110 + "end")),
    ),
    "blanks at the ends of lines, and dots at their beginnings": replace(
        _BASE, text=" a \t\n..b\n.\n\n\n=20=C3 \n", html="<p>a </p> \n"
    ),
    "fifty recipients": replace(
        _BASE,
        to=tuple(Address(f"to{n}@example.net", f"Nummer {n}, née 🎈") for n in range(25)),
        cc=tuple(Address(f"cc{n}@example.org", "n" * 100) for n in range(15)),
        bcc=tuple(Address(f"bcc{n}@example.com") for n in range(10)),
    ),
    "domains in other alphabets": replace(
        _BASE,
        sender=Address("orders@bücher.example", "Bücher"),
        to=(Address("ann@例え.example", "Ann"), Address("bob@пример.example")),
        reply_to=(Address("help@bücher.example"),),
    ),
    "files with names in other alphabets": replace(
        _BASE,
        attachments=(
            _file("Rechnung März.pdf"),
            _file("счёт № 17.pdf"),
            _file("请求 🎉.pdf"),
            _file("חשבונית.pdf"),
            _file('a "quoted" \\ name; x=y, 100%41.pdf'),
            _file("=?utf-8?q?a?=.pdf"),
            _file(".hidden"),
        ),
    ),
    "file names of 200 characters": replace(
        _BASE, attachments=(_file("n" * 196 + ".pdf"), _file("é請🎉 " * 49 + ".pdf"))
    ),
    "images within the HTML, beside files": replace(
        _BASE,
        html='<p><img src="cid:logo"><img src="cid:a.b@shop.example"><img src="cid:c.png"></p>',
        attachments=(
            Attachment("logo.png", "image/png", _PNG, "logo"),
            _file("Rechnung.pdf"),
            Attachment("Bild ü.gif", "image/gif", _PNG * 3, "a.b@shop.example"),
            Attachment("c.png", "image/png", _PNG, "c.png"),
        ),
    ),
    "an image known by its own name": replace(
        _BASE,
        html='<img src="cid:logo.png">',
        attachments=(Attachment("logo.png", "image/png", _PNG, "logo.png"),),
    ),
    "files that look like parts of the message": replace(
        _BASE,
        attachments=(
            Attachment("a.txt", "text/plain", "Grüße\n".encode("latin-1")),
            Attachment("b.html", "text/html", b"<p>\r\n--=_\r\n"),
            Attachment("c.eml", "application/octet-stream", b"From: a@b.example\n\nHello"),
            Attachment("empty", "application/octet-stream", b""),
        ),
    ),
    "ten megabytes": replace(
        _BASE, attachments=(Attachment("large.bin", "application/octet-stream", _LARGE),)
    ),
}

#: One of several recipients is left out, and those who get it now see that it was for all.
LEFT_OUT = replace(
    HARD["images within the HTML, beside files"],
    cc=(),
    bcc=(Address("dan@example.net"),),
    shown_to=(Address("ann@example.net", "Ann"), Address("bob@bücher.example", "Bob é")),
    shown_cc=(Address("carol@example.net", "Carol"),),
)


@dataclass(frozen=True)
class Arrived:
    """A message as it came to those who get it; texts with LF at the ends of lines."""

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    subject: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]
    attachments: frozenset[Attachment]


def expected(email: Email) -> Arrived:
    """What is to arrive: everything, with domains in their ASCII form."""
    return Arrived(
        sender=_ascii(email.sender),
        to=tuple(map(_ascii, email.to)),
        cc=tuple(map(_ascii, email.cc)),
        bcc=tuple(map(_ascii, email.bcc)),
        reply_to=tuple(map(_ascii, email.reply_to)),
        subject=email.subject,
        text=email.text or "",
        html=email.html or "",
        headers=email.headers,
        attachments=frozenset(email.attachments),
    )


def _ascii(address: Address) -> Address:
    local, _, domain = address.email.rpartition("@")
    return replace(address, email=f"{local}@{idna.encode(domain, uts46=True).decode()}")
