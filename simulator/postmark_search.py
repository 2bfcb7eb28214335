"""Postmark's outbound messages: by query, and one by its id."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from simulator.http import Call
from simulator.journal import DELIVERY, Journal, Record
from simulator.postmark_events import events
from simulator.switches import Provider
from simulator.webhook_bodies import iso

MOST_MESSAGES = 500
FURTHEST = 10_000

_METADATA = "metadata_"
_KNOWN = {"count", "offset", "recipient", "fromemail", "tag", "subject", "status", "messagestream"}
_EVENTS = {
    "Delivery": ("Delivered", "DeliveredAt"),
    "Bounce": ("Bounced", "BouncedAt"),
    "SpamComplaint": ("SpamComplaint", "BouncedAt"),
}


class BadQuery(ValueError):
    """The query breaks a rule; `code` is Postmark's for it."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def search(call: Call, journal: Journal, until: float) -> dict[str, Any]:
    """The messages that a call asks for, newest first."""
    query = dict(parse_qsl(call.query))
    count, offset = _number(query, "count"), _number(query, "offset")
    if not 1 <= count <= MOST_MESSAGES or count + offset > FURTHEST:
        limits = f"count is from 1 to {MOST_MESSAGES}, and count + offset up to {FURTHEST}"
        raise BadQuery(f"Invalid 'count' or 'offset': {limits}.", 600)
    if unknown := {name for name in query if not name.startswith(_METADATA)} - _KNOWN:
        raise BadQuery(f"The parameter '{sorted(unknown)[0]}' is not played here.", 600)
    found = [
        record
        for record in journal.newest(Provider.POSTMARK, 0.0, until)
        if all(_fits(record, name, text.lower()) for name, text in query.items())
    ]
    page = islice(found, offset, offset + count)
    return {"TotalCount": len(found), "Messages": [_message(record) for record in page]}


def details(message_id: str, journal: Journal, until: float) -> dict[str, Any]:
    """One message with what happened to it."""
    for record in journal.newest(Provider.POSTMARK, 0.0, until):
        if record.message_id == message_id:
            return {**_message(record), "MessageEvents": list(_events(record, until))}
    raise BadQuery("This message was not found.", 701)


def _number(query: dict[str, str], name: str) -> int:
    text = query.get(name, "")
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise BadQuery(f"The '{name}' parameter is required, and a number.", 600)
    return int(text)


def _fits(record: Record, name: str, text: str) -> bool:
    if name in ("count", "offset"):
        return True
    if name.startswith(_METADATA):
        key = name.removeprefix(_METADATA).lower()
        return any(k.lower() == key and v.lower() == text for k, v in record.variables.items())
    values = {
        "recipient": record.recipients,
        "fromemail": (record.sender,),
        "tag": record.tags,
        "subject": (record.subject,),
        "status": ("sent",),
        "messagestream": ("outbound",),
    }
    return any(text == value.lower() for value in values[name])


def _message(record: Record) -> dict[str, Any]:
    return {
        "Tag": record.tags[0] if record.tags else "",
        "MessageID": record.message_id,
        "MessageStream": "outbound",
        "To": [{"Email": email, "Name": None} for email in record.to],
        "Recipients": list(record.recipients),
        "ReceivedAt": iso(record.accepted_at),
        "From": record.sender,
        "Subject": record.subject,
        "Status": "Sent",
        "Metadata": record.variables,
    }


def _events(record: Record, until: float) -> Iterator[dict[str, Any]]:
    if record.accepted_at + DELIVERY > until:
        return
    for _, told in events(record):
        kind, when = _EVENTS[told["RecordType"]]
        yield {
            "Recipient": told.get("Recipient") or told.get("Email"),
            "Type": "Transient" if told.get("Type") == "Transient" else kind,
            "ReceivedAt": told[when],
            "Details": {"Summary": told.get("Details", "")},
        }
