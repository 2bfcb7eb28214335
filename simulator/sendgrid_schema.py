"""The rules of SendGrid's v3/mail/send, and how it says that one is broken."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator.mail import mailbox
from simulator.sendgrid_shape import misfits

MOST_RECIPIENTS = 1_000
MOST_CATEGORIES = 10
CUSTOM_ARGS_BYTES = 10_000
LONGEST_DELAY = 72 * 3600

_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_MIME_TYPE = re.compile(r"[^\s;/]+/[^\s;/]+")
_ORDER = {"text/plain": 0, "text/html": 1}
_RESERVED = {
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
    "bcc",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of `errors` in an answer; a field is a path such as personalizations.0.to."""

    message: str
    field: str | None = None
    help: str | None = None


BAD_REQUEST = Fault("Bad Request")


def bad_address(path: str) -> Fault:
    """The address at `path` is none, or is known to be bad."""
    return Fault("Does not contain a valid address.", f"{path}.email", _HELP + "personalizations")


def is_address(value: object) -> bool:
    """Whether it is a bare address with an ASCII local part, as SendGrid wants them."""
    try:
        bare = isinstance(value, str) and mailbox(value).email == value
    except ValueError:
        return False
    return bare and str(value).rpartition("@")[0].isascii()


def faults(body: dict[str, Any], now: float) -> list[Fault]:
    """Everything that is wrong with a request's body; wrong types are not looked behind."""
    if wrong := misfits(body):
        return [_fault(text, path) if text else BAD_REQUEST for path, text in wrong]
    return [
        *_sender(body),
        *_personalizations(body, now),
        *_content(body),
        *_headers(body.get("headers", {}), "headers"),
        *_attachments(body),
        *_labels(body),
        *_send_at(body, "send_at", now),
    ]


def _fault(message: str, field: str, anchor: str = "") -> Fault:
    return Fault(message, field, _HELP + (anchor or re.sub(r"\.\d+", "", field)))


def _sender(body: dict[str, Any]) -> Iterator[Fault]:
    sender = body.get("from", {})
    if not sender.get("email"):
        yield _fault(
            "The from object must be provided for every email send. It is an object that requires "
            "the email parameter, but may also contain a name parameter.  e.g. "
            '{"email" : "example@example.com"}  or '
            '{"email" : "example@example.com", "name" : "Example Recipient"}.',
            "from.email",
            "from",
        )
    elif not is_address(sender["email"]):
        yield _fault("The from email does not contain a valid address.", "from.email", "from")
    if "reply_to" in body and "reply_to_list" in body:
        yield _fault("Only one of reply_to and reply_to_list can be provided.", "reply_to_list")
    elif "reply_to" in body and not is_address(body["reply_to"].get("email")):
        yield _fault(
            "The reply_to email does not contain a valid address.", "reply_to.email", "reply_to"
        )
    for place, one in enumerate(body.get("reply_to_list", ())):
        if not is_address(one.get("email")):
            yield bad_address(f"reply_to_list.{place}")


def _personalizations(body: dict[str, Any], now: float) -> Iterator[Fault]:
    personalizations = body.get("personalizations")
    if not personalizations:
        yield _fault(
            "The personalizations field is required and must have at least one personalization.",
            "personalizations",
        )
        return
    total = 0
    for number, envelope in enumerate(personalizations):
        path = f"personalizations.{number}"
        if not envelope.get("to"):
            yield _fault(
                "The to array is required for all personalization objects, and must have at least "
                "one email object with a valid email address.",
                f"{path}.to",
            )
        if "from" in envelope and not is_address(envelope["from"].get("email")):
            yield bad_address(f"{path}.from")
        seen: set[str] = set()
        for kind in ("to", "cc", "bcc"):
            for place, one in enumerate(envelope.get(kind, ())):
                total += 1
                address = one.get("email")
                if not is_address(address):
                    yield bad_address(f"{path}.{kind}.{place}")
                elif address.lower() in seen:
                    yield _fault(
                        "Each email address in the personalization block should be unique between "
                        f"to, cc, and bcc. We found the first duplicate instance of [{address}] in "
                        f"the {path}.{kind} field.",
                        f"{path}.{kind}",
                    )
                else:
                    seen.add(address.lower())
        yield from _headers(envelope.get("headers", {}), f"{path}.headers")
        yield from _send_at(envelope, f"{path}.send_at", now)
    if len(personalizations) > MOST_RECIPIENTS or total > MOST_RECIPIENTS:
        yield _fault(
            f"The total number of recipients must be no more than {MOST_RECIPIENTS}.",
            "personalizations",
        )


def _content(body: dict[str, Any]) -> Iterator[Fault]:
    if body.get("template_id"):
        # Nobody can store a template here, so that none exists.
        yield _fault(
            f"The template_id must be a valid GUID, you provided '{body['template_id']}'.",
            "template_id",
        )
        return
    envelopes = body.get("personalizations") or [{}]
    if not body.get("subject") and not all(one.get("subject") for one in envelopes):
        yield _fault(
            "The subject is required. You can get around this requirement if you use a template "
            "with a subject defined or if every personalization has a subject defined.",
            "subject",
        )
    content = body.get("content")
    if not content:
        yield _fault(
            "Unless a valid template_id is provided, the content parameter is required. There must "
            "be at least one defined content block. We typically suggest both text/plain and "
            "text/html blocks are included, but only one block is required.",
            "content",
        )
        return
    for place, block in enumerate(content):
        if not block.get("value"):
            yield _fault(
                "The content value must be a string at least one character in length.",
                f"content.{place}.value",
            )
        if not _MIME_TYPE.fullmatch(block.get("type", "")):
            yield _fault("The content type must be a valid mime type.", f"content.{place}.type")
    kinds = [block.get("type", "").lower() for block in content]
    if kinds != sorted(kinds, key=lambda kind: _ORDER.get(kind, 2)):
        yield _fault(
            "If present, text/plain and text/html content must be provided first: text/plain, "
            "followed by text/html, followed by any other content.",
            "content",
        )


def _headers(headers: dict[str, str], path: str) -> Iterator[Fault]:
    for name, value in headers.items():
        if name.lower() in _RESERVED:
            yield _fault(f"The header {name} is reserved and cannot be set.", f"{path}.{name}")
        elif not _HEADER_NAME.fullmatch(name) or "\r" in value or "\n" in value:
            yield _fault("Invalid header name or value.", f"{path}.{name}")
        elif not value.isascii():
            yield _fault("Header values must be ASCII.", f"{path}.{name}")


def _attachments(body: dict[str, Any]) -> Iterator[Fault]:
    for place, one in enumerate(body.get("attachments", ())):
        path = f"attachments.{place}"
        try:
            if not base64.b64decode(one.get("content", ""), validate=True):
                yield _fault("The attachment content is required.", f"{path}.content")
        except ValueError:
            yield _fault("The attachment content must be base64 encoded.", f"{path}.content")
        if not re.fullmatch(r"[^\r\n]+", one.get("filename", "")):
            yield _fault("The attachment filename is required.", f"{path}.filename")
        if one.get("disposition", "attachment") not in ("attachment", "inline"):
            yield _fault(
                "The attachment disposition must be inline or attachment.", f"{path}.disposition"
            )


def _labels(body: dict[str, Any]) -> Iterator[Fault]:
    categories = body.get("categories", ())
    if len(categories) > MOST_CATEGORIES:
        yield _fault("The categories array must have no more than 10 items.", "categories")
    if len(set(categories)) < len(categories):
        yield _fault("The categories must be unique.", "categories")
    for place, category in enumerate(categories):
        if not category.isascii() or len(category) > 255:
            yield _fault(
                "A category must be an ASCII string of at most 255 characters.",
                f"categories.{place}",
            )
    for envelope in body.get("personalizations", ()):
        merged = {**body.get("custom_args", {}), **envelope.get("custom_args", {})}
        if sum(len((key + value).encode()) for key, value in merged.items()) > CUSTOM_ARGS_BYTES:
            yield _fault("The custom_args must be no more than 10000 bytes.", "custom_args")


def _send_at(holder: dict[str, Any], path: str, now: float) -> Iterator[Fault]:
    if holder.get("send_at", 0) > now + LONGEST_DELAY:
        yield _fault("The send_at parameter must be within the next 72 hours.", path)
