"""The rules of Mailgun's form fields, and how it says that one is broken."""

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

import orjson

from simulator.forms import FilePart, Form
from simulator.mail import Attachment, Mailbox, decoded, mailbox, mailboxes
from simulator.mime import Content

MOST_TAGS = 10
PARAMETER_BYTES = 16 * 1024

_HEADER = re.compile(r"h:[!-9;-~]+")
_BODIES = ("text", "html", "amp-html", "template")
_CHOICES = ("yes", "no", "true", "false")


class BadParameter(Exception):
    """A field breaks a rule; the text is the one that the caller gets."""


def bad_address(name: str) -> str:
    return f"'{name}' parameter is not a valid address. please check documentation"


def sender(form: Form) -> Mailbox:
    text = form.first("from")
    if not text:
        raise BadParameter("from parameter is missing")
    try:
        found = mailbox(text)
    except ValueError:
        raise BadParameter(bad_address("from")) from None
    # Internationalised addresses may receive, but not send.
    if not found.email.isascii():
        raise BadParameter(bad_address("from"))
    return found


def recipients(form: Form, kind: str) -> tuple[Mailbox, ...]:
    """Everybody in a field, who comes twice once only."""
    texts = form.fields.get(kind, [])
    if kind == "to" and not any(texts):
        raise BadParameter("to parameter is missing")
    try:
        found = [one for text in texts for one in mailboxes(text)]
    except ValueError:
        raise BadParameter(bad_address(kind)) from None
    unique = {one.email.lower(): one for one in reversed(found)}
    return tuple(reversed(unique.values()))


def content(form: Form) -> Content:
    """Everything but the addresses."""
    template = form.first("template")
    if not form.first("subject") and not template:
        raise BadParameter("subject parameter is missing")
    if not any(form.first(name) for name in _BODIES):
        raise BadParameter(
            "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"
        )
    check_parameters(form)
    if template:
        # Nobody can store a template here, so that none exists.
        raise BadParameter(f"template {template} not found")
    return Content(
        subject=decoded(form.first("subject") or ""),
        text=form.first("text"),
        html=form.first("html"),
        reply_to=_reply_to(form),
        headers=_headers(form),
        attachments=tuple(
            _attachment(file) for file in form.files if file.name in ("attachment", "inline")
        ),
    )


def check_parameters(form: Form) -> None:
    """Check what steers the sending and is not part of the mail."""
    size = 0
    for name, values in form.fields.items():
        if name[:2] in ("o:", "h:", "v:", "t:"):
            size += sum(len(name) + len(value.encode()) for value in values)
        if check := _CHECKS.get(name):
            check(name, values)
    if size > PARAMETER_BYTES:
        raise BadParameter("The o:, h:, v: and t: parameters together exceed 16 KB")


def _headers(form: Form) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for name, values in form.fields.items():
        if name[:2] != "h:":
            continue
        for value in values:
            if not value.isascii():
                raise BadParameter(f"{name} parameter is not valid: headers must be ASCII")
            if "\r" in value or "\n" in value or not _HEADER.fullmatch(name):
                raise BadParameter(f"{name} parameter is not a valid header")
            headers.append((name[2:], decoded(value)))
    return tuple(headers)


def _reply_to(form: Form) -> tuple[Mailbox, ...]:
    texts = [values for name, values in form.fields.items() if name.lower() == "h:reply-to"]
    try:
        # Before they are decoded: a name may have commas then.
        return tuple(one for values in texts for text in values for one in mailboxes(text))
    except ValueError:
        return ()


def _attachment(file: FilePart) -> Attachment:
    inline = file.name == "inline"
    # An inline file is known within the HTML by its name.
    content_id = file.filename if inline else ""
    return Attachment(file.filename, file.content_type, file.content, content_id, inline)


def _check_choice(name: str, values: list[str]) -> None:
    more = ("htmlonly",) if name in ("o:tracking", "o:tracking-clicks") else ()
    choices = (*_CHOICES, *more)
    if any(value.lower() not in choices for value in values):
        raise BadParameter(f"{name} parameter is not valid: use one of {', '.join(choices)}")


def _check_tags(name: str, tags: list[str]) -> None:
    if len(tags) > MOST_TAGS or any(len(tag) > 128 or not tag.isascii() for tag in tags):
        raise BadParameter(f"{name} parameter is not valid: at most 10 ASCII tags of 128 letters")


def _check_date(name: str, dates: list[str]) -> None:
    try:
        for date in dates:
            parsedate_to_datetime(date)
    except ValueError:
        raise BadParameter(f"{name} parameter is not a valid RFC 2822 date") from None


def _check_variables(name: str, values: list[str]) -> None:
    try:
        valid = all(isinstance(orjson.loads(value), dict) for value in values)
    except orjson.JSONDecodeError:
        valid = False
    if not valid:
        raise BadParameter(f"{name} parameter is not a valid JSON dictionary")


_CHECKS: Mapping[str, Callable[[str, list[str]], None]] = {
    "o:testmode": _check_choice,
    "o:tracking": _check_choice,
    "o:tracking-clicks": _check_choice,
    "o:tracking-opens": _check_choice,
    "o:dkim": _check_choice,
    "o:require-tls": _check_choice,
    "o:skip-verification": _check_choice,
    "o:tag": _check_tags,
    "o:deliverytime": _check_date,
    "recipient-variables": _check_variables,
}
