"""The rules of Postmark's email, and how it says that one is broken."""

import base64
import re
from typing import Any

from simulator.api import Refused, json_answer
from simulator.http import Answer
from simulator.mail import Attachment, Mailbox, decoded, mailbox, mailboxes
from simulator.shape import STRINGS, misfits

MOST_RECIPIENTS = 50
BODY_BYTES = 5 * 1024 * 1024
MESSAGE_BYTES = 10 * 1024 * 1024
LONGEST_TAG = 1_000
MOST_METADATA, LONGEST_KEY, LONGEST_VALUE = 10, 20, 80
STREAMS = ("outbound", "broadcast")
TRACKED_LINKS = ("None", "HtmlAndText", "HtmlOnly", "TextOnly")

_PAIR = {"Name": str, "Value": str}
_EMAIL = {
    **dict.fromkeys(
        ("From", "To", "Cc", "Bcc", "ReplyTo", "Subject", "TextBody", "HtmlBody", "Tag"), str
    ),
    "Headers": [_PAIR],
    "Metadata": STRINGS,
    "TrackOpens": bool,
    "TrackLinks": str,
    "MessageStream": str,
    "Attachments": [{"Name": str, "Content": str, "ContentType": str}],
}
_FORBIDDEN_FILES = frozenset(
    """
    vbs exe bat chm com cpl crt hlp hta inf ins isp jse lnk mdb pcd pif reg scr sct shs vbe vba wsf
    wsh wsl msc msi msp mst
    """.split()  # noqa: SIM905  (a hundred quotes would not make it easier to read)
)


def error(status: int, code: int, message: str) -> Answer:
    return json_answer(status, {"ErrorCode": code, "Message": message})


def _invalid(message: str) -> Refused:
    return Refused(error(422, 300, message))


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """The fields that are given; null counts as none. Raises `Refused` for those of other types."""
    email = {name: value for name, value in body.items() if value is not None}
    for misfit in misfits(email, _EMAIL):
        raise Refused(error(422, 403, f"Invalid request field(s): '{misfit.dotted}'."))
    return email


def sender(email: dict[str, Any]) -> Mailbox:
    try:
        return mailbox(email.get("From", ""))
    except ValueError:
        raise _invalid(f"Invalid 'From' address: '{email.get('From', '')}'.") from None


def people(email: dict[str, Any], field: str) -> tuple[Mailbox, ...]:
    """The addresses of To, Cc, Bcc or ReplyTo."""
    text = email.get(field, "")
    for word in text.split(",") if "@" not in text else ():
        reason = f"Illegal email address '{word.strip()}'. It must contain the '@' symbol."
        if word.strip():
            raise _invalid(f"Error parsing '{field}': {reason}")
    try:
        return mailboxes(text)
    except ValueError:
        raise _invalid(f"Invalid '{field}' address: '{text}'.") from None


def recipients(email: dict[str, Any]) -> tuple[tuple[Mailbox, ...], ...]:
    """To, Cc and Bcc."""
    kinds = tuple(people(email, field) for field in ("To", "Cc", "Bcc"))
    if not kinds[0]:
        raise _invalid("Zero recipients specified")
    if sum(map(len, kinds)) > MOST_RECIPIENTS:
        raise _invalid(f"Too many recipients: the limit is {MOST_RECIPIENTS} in To, Cc and Bcc.")
    return kinds


def check_content(email: dict[str, Any]) -> None:
    """Raises `Refused` for bodies, a tag, a choice or a stream that are not as they should be."""
    bodies = [email.get(field, "") for field in ("TextBody", "HtmlBody")]
    if not any(bodies):
        raise _invalid("Provide either email TextBody or HtmlBody or both.")
    sizes = [len(body.encode()) for body in bodies]
    if max(sizes) > BODY_BYTES:
        raise _invalid("The TextBody and HtmlBody may have 5 MB each.")
    files = sum(len(file.get("Content", "")) for file in email.get("Attachments", ()))
    if sum(sizes) + files > MESSAGE_BYTES:
        raise Refused(error(413, 413, "The message is larger than 10 MB."))
    if len(email.get("Tag", "")) > LONGEST_TAG:
        raise _invalid(f"A Tag may have {LONGEST_TAG} characters.")
    if email.get("TrackLinks", TRACKED_LINKS[0]) not in TRACKED_LINKS:
        raise _invalid(f"Invalid 'TrackLinks': use one of {', '.join(TRACKED_LINKS)}.")
    stream = email.get("MessageStream", STREAMS[0])
    if stream not in STREAMS:
        reason = f"The 'MessageStream' provided does not exist on this server: '{stream}'."
        raise Refused(error(422, 1235, reason))


def metadata(email: dict[str, Any]) -> dict[str, str]:
    found = email.get("Metadata", {})
    if len(found) > MOST_METADATA or len({key.lower() for key in found}) < len(found):
        raise _invalid(f"Metadata may have {MOST_METADATA} keys, no two of which are the same.")
    for key, value in found.items():
        if not 0 < len(key) <= LONGEST_KEY:
            raise _invalid(f"Metadata keys may have {LONGEST_KEY} characters.")
        if len(value) > LONGEST_VALUE:
            raise _invalid(f"Metadata values may have {LONGEST_VALUE} characters.")
    return dict(found)


def headers(email: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    found = [(one.get("Name", ""), one.get("Value", "")) for one in email.get("Headers", ())]
    for name, value in found:
        if not re.fullmatch(r"[!-9;-~]+", name) or re.search(r"[\r\n]", value):
            raise _invalid(f"Invalid header: '{name}'.")
    return tuple((name, decoded(value)) for name, value in found)


def attachments(email: dict[str, Any]) -> tuple[Attachment, ...]:
    return tuple(map(_attachment, email.get("Attachments", ())))


def _attachment(file: dict[str, Any]) -> Attachment:
    name, content_id = file.get("Name", ""), file.get("ContentID") or ""
    if not name or re.search(r"[\r\n]", name):
        raise _invalid("Every attachment must have a Name.")
    if name.rpartition(".")[2].lower() in _FORBIDDEN_FILES:
        raise Refused(error(422, 411, f"Forbidden attachment type: '{name}'."))
    try:
        content = base64.b64decode(file["Content"], validate=True)
    except (KeyError, ValueError):
        raise _invalid(f"The Content of the attachment '{name}' is not base64.") from None
    return Attachment(
        filename=name,
        content_type=file.get("ContentType", "application/octet-stream"),
        content=content,
        content_id=str(content_id).removeprefix("cid:"),
        inline=bool(content_id),
    )
