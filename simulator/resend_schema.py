"""The rules of Resend's emails, and how it says that one is broken."""

import base64
import re
from typing import Any

from simulator.api import Refused, json_answer
from simulator.http import Answer
from simulator.mail import Attachment, Mailbox, decoded, mailbox
from simulator.shape import NAMES, STRINGS, misfits

MOST_RECIPIENTS = 50
LONGEST_KEY = 256
LONGEST_TAG = 256
FILES_BYTES = 40 * 1024 * 1024

_TEXTS = (str, [str])
_EMAIL = {
    **dict.fromkeys(("from", "subject", "text", "html", "scheduled_at"), str),
    **dict.fromkeys(("to", "cc", "bcc", "reply_to"), _TEXTS),
    "headers": STRINGS,
    "tags": [{"name": str, "value": str}],
    "attachments": [
        {
            "filename": str,
            "content": (str, [int]),
            "content_type": str,
            "content_id": str,
            "path": str,
        }
    ],
}


def error(status: int, name: str, message: str, *headers: tuple[str, str]) -> Answer:
    content = {"statusCode": status, "name": name, "message": message}
    return json_answer(status, content, *headers)


def _invalid(message: str, name: str = "validation_error") -> Refused:
    return Refused(error(422, name, message))


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """The fields that are given; null counts as none. Raises `Refused` for those of other types."""
    email = {name: value for name, value in body.items() if value is not None}
    for misfit in misfits(email, _EMAIL):
        kind = NAMES[misfit.expected or dict]
        raise _invalid(f"The `{misfit.dotted}` field must be a `{kind}`.")
    for field in ("from", "to", "subject"):
        if not email.get(field):
            raise _invalid(f"Missing `{field}` field.", "missing_required_field")
    if not (email.get("html") or email.get("text")):
        raise _invalid("Missing `html` or `text` field.", "missing_required_field")
    return email


def check_key(key: str | None) -> None:
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        reason = f"The idempotency key must be between 1-{LONGEST_KEY} characters."
        raise Refused(error(400, "invalid_idempotency_key", reason))


def bad_address(field: str) -> str:
    return (
        f"Invalid `{field}` field. The email address needs to follow the `email@example.com` or "
        "`Name <email@example.com>` format."
    )


def sender(email: dict[str, Any]) -> Mailbox:
    try:
        return mailbox(email["from"])
    except ValueError:
        raise _invalid(bad_address("from"), "invalid_from_address") from None


def people(email: dict[str, Any], field: str) -> tuple[Mailbox, ...]:
    """The addresses of to, cc, bcc or reply_to."""
    given = email.get(field, ())
    texts = [given] if isinstance(given, str) else given
    if len(texts) > MOST_RECIPIENTS:
        raise _invalid(f"The `{field}` field may have {MOST_RECIPIENTS} items.")
    try:
        return tuple(mailbox(text) for text in texts)
    except ValueError:
        raise _invalid(bad_address(field)) from None


def tags(email: dict[str, Any]) -> dict[str, str]:
    found = {tag.get("name", ""): tag.get("value", "") for tag in email.get("tags", ())}
    for text in (*found, *found.values()):
        if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{LONGEST_TAG}}}", text):
            raise _invalid(
                "Tags should only contain ASCII letters, numbers, underscores, or dashes.",
                "invalid_parameter",
            )
    return found


def headers(email: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    found = email.get("headers", {})
    for name, value in found.items():
        if not re.fullmatch(r"[!-9;-~]+", name) or re.search(r"[\r\n]", value):
            raise _invalid(f"The header `{name}` is not valid.", "invalid_parameter")
    return tuple((name, decoded(value)) for name, value in found.items())


def attachments(email: dict[str, Any]) -> tuple[Attachment, ...]:
    files = email.get("attachments", ())
    if sum(len(file.get("content", "")) for file in files) > FILES_BYTES:
        raise Refused(error(413, "invalid_attachment", "The files of an email may have 40 MB."))
    return tuple(map(_attachment, files))


def _attachment(file: dict[str, Any]) -> Attachment:
    name, content = file.get("filename", ""), file.get("content", "")
    if not name or re.search(r"[\r\n]", name):
        raise _invalid("Attachment must have a `filename`.", "invalid_attachment")
    if "path" in file:
        raise _invalid("Files are not fetched from a `path` here.", "invalid_attachment")
    try:
        found = (
            bytes(content) if type(content) is list else base64.b64decode(content, validate=True)
        )
    except ValueError:
        raise _invalid("Attachment `content` must be base64.", "invalid_attachment") from None
    return Attachment(
        filename=name,
        content_type=file.get("content_type", "application/octet-stream"),
        content=found,
        content_id=file.get("content_id", ""),
        inline=bool(file.get("content_id")),
    )
