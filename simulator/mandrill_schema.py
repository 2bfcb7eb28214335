"""The rules of Mandrill's messages/send, and how it says that one is broken."""

import base64
import re
from typing import Any

import orjson

from simulator.api import Refused, json_answer
from simulator.http import Answer
from simulator.mail import Attachment, Mailbox, decoded, mailbox, mailboxes
from simulator.shape import NAMES, STRINGS, Misfit, misfits

KINDS = ("to", "cc", "bcc")
MESSAGE_BYTES = 25 * 1024 * 1024
MOST_TAGS, LONGEST_TAG = 100, 50

_FILE = {"type": str, "name": str, "content": str}
_MESSAGE = {
    **dict.fromkeys(("from_email", "from_name", "subject", "text", "html", "subaccount"), str),
    "to": [{"email": str, "name": str, "type": str}],
    "headers": STRINGS,
    "metadata": {},
    "tags": [str],
    "attachments": [_FILE],
    "images": [_FILE],
    **dict.fromkeys(("preserve_recipients", "track_opens", "track_clicks", "important"), bool),
}


def error(name: str, message: str, code: int = -1, status: int = 500) -> Answer:
    content = {"status": "error", "code": code, "name": name, "message": message}
    return json_answer(status, content)


def invalid(message: str) -> Answer:
    return error("ValidationError", message, -2)


def _fault(path: tuple[str | int, ...], why: str) -> Refused:
    """What is wrong at a path in a message, as they nest it."""
    nested: Any = why
    for name in reversed(path):
        nested = {str(name): nested}
    return Refused(invalid(f"Validation error: {orjson.dumps({'message': nested}).decode()}"))


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """The message's fields that are given; null counts as none.

    Raises `Refused` for those that have other types or break a rule.
    """
    given = body.get("message")
    if type(given) is not dict:
        raise _fault((), "Please enter an array")
    message = {name: value for name, value in given.items() if value is not None}
    for misfit in misfits(message, _MESSAGE):
        raise _fault(misfit.path, _described(misfit))
    if message.get("subaccount"):
        reason = f"No subaccount exists with the id '{message['subaccount']}'"
        raise Refused(error("Unknown_Subaccount", reason, 12))
    _check_tags(message.get("tags", ()))
    files = (*message.get("attachments", ()), *message.get("images", ()))
    bodies = (message.get(name, "") for name in ("text", "html"))
    size = sum(len(body.encode()) for body in bodies)
    if size + sum(len(file.get("content", "")) for file in files) > MESSAGE_BYTES:
        raise Refused(Answer(413, b"<html><body>Request Too Large</body></html>", "text/html"))
    return message


def _described(misfit: Misfit) -> str:
    return f"Please enter a value of type {NAMES[misfit.expected or dict]}"


def _check_tags(tags: list[str]) -> None:
    for place, tag in enumerate(tags):
        if not 0 < len(tag) <= LONGEST_TAG or tag.startswith("_"):
            reason = f"Tags have at most {LONGEST_TAG} characters and begin with no underscore"
            raise _fault(("tags", place), reason)


def sender(message: dict[str, Any]) -> Mailbox | None:
    """None where there is no From: they turn down every recipient then."""
    email = message.get("from_email", "")
    if not email:
        return None
    return Mailbox(_bare(email, ("from_email",)), message.get("from_name", ""))


def recipients(message: dict[str, Any]) -> list[tuple[str, Mailbox]]:
    """Kind and mailbox of each, in their order."""
    given = message.get("to") or ()
    if not given:
        raise _fault(("to",), "Please enter an array of recipients")
    found = []
    for place, one in enumerate(given):
        if one.get("type", "to") not in KINDS:
            raise _fault(("to", place, "type"), "The type is one of to, cc and bcc")
        email = _bare(one.get("email", ""), ("to", place, "email"))
        found.append((one.get("type", "to"), Mailbox(email, one.get("name", ""))))
    return found


def is_address(email: str) -> bool:
    """Whether it is an address; what is none and yet has an @ is turned down by itself."""
    try:
        return mailbox(email).email == email
    except ValueError:
        return False


def _bare(email: str, path: tuple[str | int, ...]) -> str:
    if email.count("@") != 1:
        raise _fault(path, "An email address must contain a single @")
    return email


def headers(message: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """All but Reply-To."""
    found = message.get("headers", {})
    for name, value in found.items():
        if not re.fullmatch(r"[!-9;-~]+", name) or re.search(r"[\r\n]", value):
            raise _fault(("headers", name), "This header is not valid")
    return tuple((k, decoded(v)) for k, v in found.items() if k.lower() != "reply-to")


def reply_to(message: dict[str, Any]) -> tuple[Mailbox, ...]:
    for name, value in message.get("headers", {}).items():
        if name.lower() == "reply-to":
            try:
                return mailboxes(value)
            except ValueError:
                return ()
    return ()


def metadata(message: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in message.get("metadata", {}).items()}


def attachments(message: dict[str, Any]) -> tuple[Attachment, ...]:
    """Files and images; the name of an image is its content id."""
    return tuple(
        _attachment(file, field, place)
        for field in ("attachments", "images")
        for place, file in enumerate(message.get(field, ()))
    )


def _attachment(file: dict[str, str], field: str, place: int) -> Attachment:
    kind, name = file.get("type", "application/octet-stream"), file.get("name", "")
    if field == "images" and not kind.startswith("image/"):
        raise _fault((field, place, "type"), "The type of an image must begin with image/")
    try:
        content = base64.b64decode(file.get("content", ""), validate=True)
    except ValueError:
        raise _fault((field, place, "content"), "The content must be base64") from None
    image = field == "images"
    return Attachment(name, kind, content, name if image else "", inline=image)
