"""What SES v2's SendEmail wants in a request's body, and what it makes of it."""

import base64
import binascii
import re
from typing import Any

from simulator.mail import Attachment, Mailbox, decoded, mailbox
from simulator.mime import Content, parse_mime

MOST_RECIPIENTS = 50
MOST_HEADERS = 15
LONGEST_HEADER = 996
LONGEST_LINE = 1_000

_RESERVED_HEADERS = {
    "bcc",
    "cc",
    "content-disposition",
    "content-transfer-encoding",
    "content-type",
    "date",
    "from",
    "message-id",
    "mime-version",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
}


class BadRequest(Exception):
    """The body breaks a rule; the text says which."""

    def __init__(self, message: str, kind: str = "BadRequestException", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.status = status


def member(holder: dict[str, Any], name: str, type_: type, *, required: bool = False) -> Any:
    """One member of an object, None where it is missing. Raises `BadRequest`."""
    value = holder.get(name)
    if value is None:
        if required:
            raise BadRequest(
                f"1 validation error detected: Value null at '{name[:1].lower()}{name[1:]}' failed "
                "to satisfy constraint: Member must not be null"
            )
        return None
    if not isinstance(value, type_):
        raise BadRequest(f"Unexpected type for {name}", "SerializationException")
    return value


def address(text: str) -> Mailbox:
    """One address; names must be ASCII or encoded words, domains in punycode."""
    if not text.isascii():
        raise BadRequest("Non ASCII characters in an address: use RFC 2047 or punycode.")
    if "@" not in text:
        raise BadRequest("Missing final '@domain'")
    try:
        return mailbox(text)
    except ValueError:
        raise BadRequest("Illegal address") from None


def addresses(holder: dict[str, Any], name: str) -> tuple[Mailbox, ...]:
    texts = member(holder, name, list) or ()
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest(f"Unexpected type for {name}", "SerializationException")
    return tuple(address(text) for text in texts)


def tags(body: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in member(body, "EmailTags", list) or ():
        name, value = (tag.get(key) if isinstance(tag, dict) else None for key in ("Name", "Value"))
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", name):
            raise BadRequest("Invalid tag name: use letters, digits, '_' and '-'.")
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.@-]{1,256}", value):
            raise BadRequest(f"Invalid tag value for {name}: use letters, digits, '_' and '-'.")
        found[name] = value
    return found


def check_overrides(body: dict[str, Any]) -> None:
    """Raises `BadRequest` where what is said about tracking is none of the choices."""
    overrides = member(body, "ConfigurationOverrides", dict) or {}
    tracking = member(overrides, "Tracking", dict) or {}
    for name in ("OpenTrackingEnabled", "ClickTrackingEnabled"):
        value = member(tracking, name, str)
        if value not in (None, "ENABLED", "DISABLED"):
            raise BadRequest(
                f"1 validation error detected: Value '{value}' at 'configurationOverrides.tracking."
                f"{name[:1].lower()}{name[1:]}' failed to satisfy constraint: Member must satisfy "
                "enum value set: [ENABLED, DISABLED]"
            )


def message_tags(content: Content) -> dict[str, str]:
    """The tags of a whole message's own header, `X-SES-MESSAGE-TAGS: a=1, b=2`."""
    return {
        name.strip(): value.strip()
        for header, text in content.headers
        if header.lower() == "x-ses-message-tags"
        for name, _, value in (pair.partition("=") for pair in text.split(","))
    }


def raw(holder: dict[str, Any]) -> Content:
    source = _blob(member(holder, "Data", str, required=True), "Data")
    if max(map(len, source.split(b"\n")), default=0) > LONGEST_LINE:
        raise BadRequest(f"Line length exceeds {LONGEST_LINE} characters.")
    content = parse_mime(source)
    names = [name.lower() for name, _ in content.headers]
    for name in ("From", "To", "Cc", "Subject", "Reply-To"):
        if names.count(name.lower()) > 1:
            raise BadRequest(f"Duplicate header '{name}'.")
    return content


def simple(holder: dict[str, Any]) -> Content:
    subject = _data(member(holder, "Subject", dict, required=True), "Subject")
    if re.search(r"[\r\n]", subject):
        raise BadRequest("Control characters in the subject.")
    body = member(holder, "Body", dict, required=True)
    text, html = (member(body, name, dict) for name in ("Text", "Html"))
    if text is None and html is None:
        raise BadRequest("The message has no body: give Text, Html or both.")
    return Content(
        subject=decoded(subject),
        text=None if text is None else _data(text, "Text"),
        html=None if html is None else _data(html, "Html"),
        headers=_headers(member(holder, "Headers", list) or []),
        attachments=tuple(_attachment(one) for one in member(holder, "Attachments", list) or ()),
    )


def _data(holder: dict[str, Any], name: str) -> str:
    charset = member(holder, "Charset", str) or "ascii"
    data = str(member(holder, "Data", str, required=True))
    try:
        data.encode(charset)
    except UnicodeEncodeError:
        raise BadRequest(f"{name} has characters that are not in {charset}") from None
    except (LookupError, ValueError):
        raise BadRequest(f"Unknown charset {charset}") from None
    return data


def _headers(found: list[Any]) -> tuple[tuple[str, str], ...]:
    if len(found) > MOST_HEADERS:
        raise BadRequest(f"The number of headers exceeds {MOST_HEADERS}.")
    headers: list[tuple[str, str]] = []
    for one in found:
        name, value = (one.get(key) if isinstance(one, dict) else None for key in ("Name", "Value"))
        if not isinstance(name, str) or not re.fullmatch(r"[!-9;-~]{1,126}", name):
            raise BadRequest("Invalid header name.")
        if name.lower() in _RESERVED_HEADERS:
            raise BadRequest(f"Header {name} cannot be set.")
        if not isinstance(value, str) or not re.fullmatch(r"[ -~]{1,995}", value):
            raise BadRequest(f"Invalid value of header {name}.")
        if len(name) + len(value) > LONGEST_HEADER:
            raise BadRequest(f"Header {name} is longer than {LONGEST_HEADER} characters.")
        headers.append((name, decoded(value)))
    return tuple(headers)


def _attachment(one: Any) -> Attachment:
    if not isinstance(one, dict):
        raise BadRequest("Unexpected type for Attachments", "SerializationException")
    filename = member(one, "FileName", str, required=True)
    content_id = member(one, "ContentId", str) or ""
    disposition = member(one, "ContentDisposition", str) or "ATTACHMENT"
    if not 1 <= len(filename) <= 255 or len(content_id) > 78:
        raise BadRequest("Invalid attachment: FileName or ContentId is too long.")
    if disposition not in ("ATTACHMENT", "INLINE"):
        raise BadRequest("Invalid attachment: ContentDisposition is ATTACHMENT or INLINE.")
    return Attachment(
        filename=filename,
        content_type=member(one, "ContentType", str) or "application/octet-stream",
        content=_blob(member(one, "RawContent", str, required=True), "RawContent"),
        content_id=content_id.strip("<>"),
        inline=disposition == "INLINE",
    )


def _blob(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{name} is not base64.", "SerializationException") from None
