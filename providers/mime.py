"""A message as RFC 5322 and MIME want it, for providers that take it as a whole."""

import re
import secrets
from binascii import b2a_base64, b2a_qp
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.header import Header
from urllib.parse import quote

from providers import mailbox
from providers.types import Address, Attachment, Email

#: RFC 5322 allows 998 characters in a line, and some programs a few less.
_LINE_LIMIT = 900
_CRLF = "\r\n"
#: What 76 characters of base64 stand for, and how many such lines are written at once.
_BASE64_LINE, _BASE64_LINES = 57, 1000
_LINE_END = re.compile("\r\n|\r|\n")
#: What a line of text may hold without being encoded.
_PLAIN_TEXT = re.compile(rf"[\t -~]{{0,{_LINE_LIMIT}}}(?:\r\n[\t -~]{{0,{_LINE_LIMIT}}})*+")
_PLAIN_NAME = re.compile(r"[ !#-\[\]-~]{1,120}")
#: So many characters of a long file name stand in one piece of a parameter (RFC 2231).
_PIECE = 60
#: RFC 2045 forbids base64 for these.
_NEVER_ENCODED = ("message/", "multipart/")


@dataclass(frozen=True, slots=True)
class _Part:
    """Headers, one to a line, and what stands below them, in pieces."""

    headers: tuple[str, ...]
    body: tuple[bytes, ...]

    def pieces(self) -> Iterator[bytes]:
        yield "".join(f"{line}\r\n" for line in self.headers).encode()
        yield b"\r\n"
        yield from self.body


def build(email: Email, first: Iterable[tuple[str, str]] = ()) -> bytes:
    """The message with CRLF at the ends of lines, none longer than 998 bytes, and no Bcc header.

    Its headers To and Cc are what is to be shown; the envelope is handed over apart. `first` are
    headers to begin with, such as Date and Message-ID, which are not written otherwise. All is
    ASCII but a local part that is not.
    """
    content = _content(email)
    files = [_file(file, "attachment") for file in _apart(email)]
    if files:
        content = _multipart("mixed", (content, *files))
    headers = (*_headers(email, first), "MIME-Version: 1.0", *content.headers)
    return b"".join(_Part(headers, content.body).pieces())


def _content(email: Email) -> _Part:
    """The text, the HTML with the images in it, or both to choose from."""
    parts = [] if email.text is None else [_text("plain", email.text)]
    if email.html is not None:
        html = _text("html", email.html)
        images = [_file(file, "inline") for file in email.attachments if _is_inline(email, file)]
        parts.append(_multipart("related", (html, *images)) if images else html)
    return parts[0] if len(parts) == 1 else _multipart("alternative", parts)


def _is_inline(email: Email, file: Attachment) -> bool:
    # Without HTML there is nothing to stand in, and a file of its own can be found at least.
    return file.content_id is not None and email.html is not None


def _apart(email: Email) -> Iterator[Attachment]:
    return (file for file in email.attachments if not _is_inline(email, file))


def _headers(email: Email, first: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in first:
        yield _header(name, value)
    yield _addresses("From", (email.sender,))
    if email.header_to:
        yield _addresses("To", email.header_to)
    elif not email.header_cc:
        # Some take a mail that names nobody for spam.
        yield "To: undisclosed-recipients:;"
    if email.header_cc:
        yield _addresses("Cc", email.header_cc)
    if email.reply_to:
        yield _addresses("Reply-To", email.reply_to)
    for name, value in (("Subject", email.subject), *email.headers):
        yield _header(name, value)


def _addresses(name: str, group: tuple[Address, ...]) -> str:
    """Each on a line of its own, and so is each encoded word of a name."""
    fold = f"{_CRLF} "
    lines = [mailbox.encoded(address).replace("?= =?", f"?={fold}=?") for address in group]
    return f"{name}: " + f",{fold}".join(lines)


def _header(name: str, value: str) -> str:
    # Folding needs blanks; encoded words bring their own.
    longest = len(name) + max(map(len, value.split(" ")))
    plain = mailbox.is_plain(value) and longest <= _LINE_LIMIT
    header = Header(value, "us-ascii" if plain else "utf-8", header_name=name)
    return f"{name}: {header.encode(linesep=_CRLF)}"


def _multipart(kind: str, parts: Iterable[_Part]) -> _Part:
    boundary = f"=_{secrets.token_hex(16)}"
    body: list[bytes] = []
    for part in parts:
        body += (f"--{boundary}\r\n".encode(), *part.pieces(), b"\r\n")
    body.append(f"--{boundary}--\r\n".encode())
    return _Part((f'Content-Type: multipart/{kind}; boundary="{boundary}"',), tuple(body))


def _text(kind: str, text: str) -> _Part:
    encoding, body = _encoded_text(_LINE_END.sub("\r\n", text))
    headers = (
        f"Content-Type: text/{kind}; charset=utf-8",
        f"Content-Transfer-Encoding: {encoding}",
    )
    return _Part(headers, tuple(body))


def _encoded_text(text: str) -> tuple[str, Iterable[bytes]]:
    """As it is, or in whichever encoding is shorter: base64 alone looks as if it hid something."""
    raw = text.encode()
    if _PLAIN_TEXT.fullmatch(text):
        return "7bit", (raw,)
    quoted = b2a_qp(raw, istext=True)
    if b"\r\n" not in raw:
        # It takes the kind of line end that it finds.
        quoted = quoted.replace(b"\n", b"\r\n")
    if len(quoted) <= len(raw) * 4 / 3:
        return "quoted-printable", (quoted,)
    return "base64", _base64(raw)


def _file(file: Attachment, disposition: str) -> _Part:
    kind = file.content_type
    if kind.lower().startswith(_NEVER_ENCODED):
        kind = "application/octet-stream"
    headers = [
        f"Content-Type: {kind}",
        "Content-Transfer-Encoding: base64",
        f"Content-Disposition: {disposition};{_filename(file.filename)}",
    ]
    if file.content_id is not None:
        headers.append(f"Content-ID: <{file.content_id}>")
    return _Part(tuple(headers), tuple(_base64(file.content)))


def _filename(name: str) -> str:
    """The parameter, in pieces where it is long or not plain ASCII."""
    if _PLAIN_NAME.fullmatch(name) and mailbox.is_plain(name):
        return f'{_CRLF} filename="{name}"'
    pieces = ["utf-8''"]
    for char in name:
        # Some programs decode each piece by itself, so that none may end within a character.
        text = quote(char, safe="")
        if len(pieces[-1]) + len(text) > _PIECE:
            pieces.append("")
        pieces[-1] += text
    if len(pieces) == 1:
        return f"{_CRLF} filename*={pieces[0]}"
    return ";".join(f"{_CRLF} filename*{number}*={text}" for number, text in enumerate(pieces))


def _base64(content: bytes) -> Iterator[bytes]:
    """In lines, without one long text in between: what goes through here may have megabytes."""
    size = _BASE64_LINE * _BASE64_LINES
    view = memoryview(content)
    for start in range(0, len(content), size):
        block = view[start : start + size]
        lines = (
            b2a_base64(block[at : at + _BASE64_LINE], newline=False)
            for at in range(0, len(block), _BASE64_LINE)
        )
        yield (b"\r\n" if start else b"") + b"\r\n".join(lines)


def base64_size(content: bytes) -> int:
    """How many bytes it has as base64 in lines."""
    return -(-len(content) // _BASE64_LINE) * 78
