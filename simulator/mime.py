"""A whole message (RFC 5322 and MIME) as its recipient's program shows it."""

import binascii
import email
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.policy import compat32

from simulator.mail import Attachment, Mailbox, decoded, mailboxes

_LARGE = re.compile(
    rb"(?<=\r\n\r\n)(?:[A-Za-z0-9+/]{76}\r\n){1000,}+[A-Za-z0-9+/]*={0,2}(?=\r\n--)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What stands in a message; `sender`, `to` and `cc` are those of its headers."""

    subject: str
    text: str | None
    html: str | None
    sender: Mailbox | None = None
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()

    def kinds(self, envelope: tuple[Mailbox, ...]) -> tuple[tuple[Mailbox, ...], ...]:
        """The envelope as To, Cc and Bcc: whoever stands in no header is a hidden recipient."""
        to = {one.email.lower(): one for one in self.to}
        cc = {one.email.lower(): one for one in self.cc}
        kinds: tuple[list[Mailbox], ...] = ([], [], [])
        for one in envelope:
            key = one.email.lower()
            place = 0 if key in to else 1 if key in cc else 2
            kinds[place].append(to.get(key) or cc.get(key) or one)
        return tuple(tuple(kind) for kind in kinds)


def parse_mime(source: bytes) -> Content:
    """Read a message; never fails, since programs that show mail do not either."""
    large = _LargeFiles()
    message = email.message_from_bytes(large.taken_out(source), policy=compat32)
    headers = tuple((name, _header(value)) for name, value in message.raw_items())
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = []
    for part in _leaves(message):
        kind = part.get_content_type()
        body = not part.get_filename() and part.get_content_disposition() != "attachment"
        if body and kind == "text/plain" and text is None:
            text = _text(part)
        elif body and kind == "text/html" and html is None:
            html = _text(part)
        else:
            attachments.append(_attachment(part, large))
    return Content(
        subject=_first(headers, "subject"),
        text=text,
        html=html,
        sender=next(iter(_mailboxes(message, "From")), None),
        to=_mailboxes(message, "To"),
        cc=_mailboxes(message, "Cc"),
        reply_to=_mailboxes(message, "Reply-To"),
        headers=headers,
        attachments=tuple(attachments),
    )


class _LargeFiles:
    """Files in base64 that are kept from the parser, which looks at each of their lines.

    A mark that nobody can guess takes the place of each.
    """

    def __init__(self) -> None:
        self._found: list[bytes] = []
        self._mark = secrets.token_hex(16)

    def taken_out(self, source: bytes) -> bytes:
        return _LARGE.sub(self._take, source)

    def _take(self, match: re.Match[bytes]) -> bytes:
        self._found.append(match[0])
        return f"{self._mark}{len(self._found) - 1}".encode()

    def of(self, part: Message) -> bytes | None:
        """The content of a part whose file was taken out."""
        payload = part.get_payload()
        if not isinstance(payload, str) or not payload.startswith(self._mark):
            return None
        number = payload.removeprefix(self._mark).strip()
        return binascii.a2b_base64(self._found[int(number)]) if number.isdecimal() else None


def _leaves(message: Message) -> Iterator[Message]:
    payload = message.get_payload()
    if message.get_content_maintype() == "multipart" and isinstance(payload, list):
        for part in payload:
            if isinstance(part, Message):
                yield from _leaves(part)
    else:
        yield message


def _raw(value: object) -> str:
    # Bytes beyond ASCII arrive as surrogates; who writes them into a header means UTF-8.
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _header(value: object) -> str:
    return decoded(" ".join(_raw(value).split()))


def _first(headers: tuple[tuple[str, str], ...], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def _mailboxes(message: Message, name: str) -> tuple[Mailbox, ...]:
    found: list[Mailbox] = []
    for key, value in message.raw_items():
        if key.lower() == name.lower():
            try:
                found += mailboxes(" ".join(_raw(value).split()))
            except ValueError:
                return ()
    return tuple(found)


def _bytes(part: Message) -> bytes:
    parts = part.get_payload()
    if isinstance(parts, list):
        # A message within the message; a broken one may not be fit to be written down again.
        try:
            return b"".join(one.as_bytes() for one in parts if isinstance(one, Message))
        except (LookupError, ValueError):
            return b""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _text(part: Message) -> str:
    payload = _bytes(part)
    try:
        return payload.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        return payload.decode("utf-8", "replace")


def _filename(part: Message) -> str:
    name = part.get_filename() or "unnamed"
    # In the form of RFC 2231 it is decoded already.
    encoded = isinstance(part.get_param("filename", header="content-disposition"), tuple)
    return name if encoded else decoded(name)


def _attachment(part: Message, large: _LargeFiles) -> Attachment:
    return Attachment(
        filename=_filename(part),
        content_type=part.get_content_type(),
        content=large.of(part) or _bytes(part),
        content_id=str(part.get("Content-ID") or "").strip().strip("<>"),
        inline=part.get_content_disposition() == "inline",
    )
