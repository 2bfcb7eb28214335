"""Messages that are hard to carry, whoever carries them, and what is to arrive of each."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from providers.base import Provider
from providers.errors import MessageRefused
from providers.types import Address, Attachment, Email
from tests.providers.contract import PLAIN, Copy, Receiver, as_seen, in_ascii

_PNG = b"\x89PNG\r\n\x1a\n\x00\xff--=_\r\n.\r\n"
_LARGE = random.Random(17).randbytes(10_000_000)


def _file(filename: str, **more: object) -> Attachment:
    return replace(Attachment(filename, "application/pdf", b"%PDF\x00"), **more)


HARD = {
    "names with commas, quotes and emoji": replace(
        PLAIN,
        sender=Address("orders@shop.example", 'Bücher, "alt" & neu 📚'),
        to=(
            Address("ann@example.net", 'Doe, "Ann" 🎉; Jr.'),
            Address("bob@example.net", "back\\slash <x@y.example>"),
        ),
        cc=(Address("carol@example.net", "Кэрол, =?utf-8?q?no?= (x)"),),
        reply_to=(Address("help@shop.example", "Hilfe, 助けて"),),
    ),
    "a subject from right to left": replace(
        PLAIN,
        subject="הזמנה 17 אושרה — شكرا لك على طلبك رقم 17 " * 6 + "!",
        text="שלום\nشكرا 17",
        html="<p dir='rtl'>שלום</p>",
    ),
    "a subject with blanks side by side": replace(PLAIN, subject="a  b   c é  d  "),
    "an empty text": replace(PLAIN, text=""),
    "an empty text beside a file": replace(PLAIN, text="", attachments=(_file("a.pdf"),)),
    "text alone with a file": replace(PLAIN, html=None, attachments=(_file("a.pdf"),)),
    "long lines": replace(
        PLAIN,
        text="x" * 5000 + "\n" + "é" * 3000 + "\n.\nFrom here\n" + "word " * 400,
        html="<p>" + "y" * 5000 + "</p>",
        headers=(("X-Long", "0123456789" * 95), ("X-Words", "one two " * 110 + "end")),
    ),
    "blanks at the ends of lines, and dots at their beginnings": replace(
        PLAIN, text=" a \t\n..b\n.\n\n\n=20=C3 \n", html="<p>a </p> \n"
    ),
    "fifty recipients": replace(
        PLAIN,
        to=tuple(Address(f"to{n}@example.net", f"Nummer {n}, née 🎈") for n in range(25)),
        cc=tuple(Address(f"cc{n}@example.org", "n" * 100) for n in range(15)),
        bcc=tuple(Address(f"bcc{n}@example.com") for n in range(10)),
    ),
    "domains in other alphabets": replace(
        PLAIN,
        sender=Address("orders@bücher.example", "Bücher"),
        to=(Address("ann@例え.example", "Ann"), Address("bob@пример.example")),
        reply_to=(Address("help@bücher.example"),),
    ),
    "files with names in other alphabets": replace(
        PLAIN,
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
        PLAIN, attachments=(_file("n" * 196 + ".pdf"), _file("é請🎉 " * 49 + ".pdf"))
    ),
    "images within the HTML, beside files": replace(
        PLAIN,
        html='<p><img src="cid:logo"><img src="cid:a.b@shop.example"><img src="cid:c.png"></p>',
        attachments=(
            Attachment("logo.png", "image/png", _PNG, "logo"),
            _file("Rechnung.pdf"),
            Attachment("Bild ü.gif", "image/gif", _PNG * 3, "a.b@shop.example"),
            Attachment("c.png", "image/png", _PNG, "c.png"),
        ),
    ),
    "an image known by its own name": replace(
        PLAIN,
        html='<img src="cid:logo.png">',
        attachments=(Attachment("logo.png", "image/png", _PNG, "logo.png"),),
    ),
    "files that look like parts of the message": replace(
        PLAIN,
        attachments=(
            Attachment("a.txt", "text/plain", "Grüße\n".encode("latin-1")),
            Attachment("b.html", "text/html", b"<p>\r\n--=_\r\n"),
            Attachment("c.eml", "application/octet-stream", b"From: a@b.example\n\nHello"),
            Attachment("empty", "application/octet-stream", b""),
        ),
    ),
    "ten megabytes": replace(
        PLAIN, attachments=(Attachment("large.bin", "application/octet-stream", _LARGE),)
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
    seen = as_seen(email)
    return Arrived(
        sender=seen.sender,
        to=seen.to,
        cc=seen.cc,
        bcc=seen.bcc,
        reply_to=seen.reply_to,
        subject=seen.subject,
        text=seen.text or "",
        html=seen.html or "",
        headers=seen.headers,
        attachments=frozenset(email.attachments),
    )


class HardContract:
    """For a provider that has the `CarryingContract`: what it carries, or says that it cannot."""

    #: The names of messages that it cannot carry, and what it says then.
    refused: Mapping[str, str] = {}
    #: Whether others than those in the envelope can be shown.
    shows_others = False

    def files(self, request: Any) -> Sequence[Attachment]:
        """The files in a request."""
        raise NotImplementedError

    def as_filed(self, file: Attachment) -> Attachment:
        """What is to arrive of a file."""
        return file

    # --- what the author need not look at

    @pytest.mark.parametrize("name", HARD)
    def test_a_hard_message_arrives_field_by_field(
        self, server: Receiver, configured: Provider, name: str
    ) -> None:
        email = HARD[name]
        if name in self.refused:
            assert configured.refusal(email) == self.refused[name]
            with pytest.raises(MessageRefused):
                configured.send(email)
            assert server.requests == []
        else:
            assert configured.refusal(email) is None
            configured.send(email)
            self.assert_arrived(server, email, self.as_seen(email))

    def test_whoever_is_left_out_is_shown_where_the_envelope_is_apart(
        self, server: Receiver, configured: Provider
    ) -> None:
        configured.send(LEFT_OUT)
        seen = self.as_seen(LEFT_OUT)
        if self.shows_others:
            to, cc = (
                tuple(map(in_ascii, group)) for group in (LEFT_OUT.shown_to, LEFT_OUT.shown_cc)
            )
            seen = replace(seen, to=to, cc=cc)
        self.assert_arrived(server, LEFT_OUT, seen)

    def assert_arrived(self, server: Receiver, email: Email, seen: Copy) -> None:
        (request,) = server.requests
        assert self.copies(request) == [seen]
        files, wanted = self.files(request), map(self.as_filed, email.attachments)
        assert sorted(files, key=_filename) == sorted(wanted, key=_filename)


def _filename(file: Attachment) -> str:
    return file.filename
