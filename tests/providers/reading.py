"""Reads addresses and headers as a provider or a mail program would."""

import re
from collections.abc import Iterable
from email import message_from_string
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses
from typing import Any

from providers.types import Address, Attachment


def decoded(value: str) -> str:
    """A header value without folds and encoded words."""
    return str(make_header(decode_header(re.sub(r"\r?\n(?=[ \t])", "", value))))


def addresses(*values: str) -> tuple[Address, ...]:
    """The mailboxes in header values that hold one or more each, in the form of RFC 5322."""
    unfolded = [re.sub(r"\r?\n(?=[ \t])", "", value) for value in values]
    return tuple(Address(email, decoded(name)) for name, email in getaddresses(unfolded))


def address(value: str) -> Address:
    (found,) = addresses(value)
    return found


def parsed(raw: bytes) -> Message:
    """A message as it is transported: its lines end as they must, and none is too long."""
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    return message_from_string(raw.decode())


def content(mime: Message, besides: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a `Copy` that do not say who; the headers without those written `besides`."""
    parts = {
        part.get_content_subtype(): part.get_payload(decode=True).decode().replace("\r\n", "\n")
        for part in mime.walk()
        if not part.is_multipart() and part.get_filename() is None
    }
    written = {"from", "to", "cc", "reply-to", "subject", "mime-version", "content-type"}
    written |= {"content-transfer-encoding", *besides}
    return {
        "reply_to": addresses(mime["Reply-To"]) if "Reply-To" in mime else (),
        "subject": decoded(mime["Subject"]),
        "text": parts.get("plain"),
        "html": parts.get("html"),
        "headers": tuple((n, decoded(v)) for n, v in mime.items() if n.lower() not in written),
    }


def files(mime: Message) -> list[Attachment]:
    """The files in a message, in their order."""
    return [
        Attachment(
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
            part["Content-ID"].strip("<>") if "Content-ID" in part else None,
        )
        for part in mime.walk()
        if part.get_filename() is not None
    ]
