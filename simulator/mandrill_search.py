"""Mandrill's messages: by query, and one by its id."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from simulator.journal import DELIVERY, Journal, Record
from simulator.mail import Fate
from simulator.mandrill_events import id_of
from simulator.switches import Provider

MOST_MESSAGES = 1_000
WEEK = 7 * 86400.0

_CLAUSE = re.compile(r'\s*(u_\w+|email|full_email|sender|subject|tags):(?:"([^"]*)"|(\S+))\s*')
_STATES = {
    Fate.DELIVERED: "sent",
    Fate.BOUNCE: "bounced",
    Fate.COMPLAINT: "spam",
    Fate.DEFER: "deferred",
    Fate.BLOCK: "soft-bounced",
}


class BadQuery(ValueError):
    """The query breaks a rule; the text is the one that the caller gets."""


def search(body: dict[str, Any], journal: Journal, until: float) -> list[dict[str, Any]]:
    """What a query of the last seven days asks for, newest first."""
    limit = body.get("limit", 100)
    if type(limit) is not int or not 1 <= limit <= MOST_MESSAGES:
        raise BadQuery(f"limit must be from 1 to {MOST_MESSAGES}")
    wanted = _clauses(str(body.get("query") or ""))
    found = (
        message
        for message in _messages(journal, until)
        if all(_fits(message, name, text) for name, text in wanted)
    )
    return list(islice(found, limit))


def one_message(id_: object, journal: Journal, until: float) -> dict[str, Any] | None:
    """The message of an id, None if there is none."""
    return next((one for one in _messages(journal, until) if one["_id"] == id_), None)


def _clauses(query: str) -> list[tuple[str, str]]:
    """Fields and their values in lower case, all of which must fit; there is AND alone here."""
    found, position = [], 0
    query = re.sub(r"\sAND\s", " ", query)
    while position < len(query):
        match = _CLAUSE.match(query, position)
        if match is None:
            raise BadQuery("this query is not played here")
        name, quoted, word = match.groups()
        found.append((name, (word if quoted is None else quoted).lower()))
        position = match.end()
    return found


def _fits(message: dict[str, Any], name: str, text: str) -> bool:
    if name.startswith("u_"):
        return str(message["metadata"].get(name[2:], "")).lower() == text
    if name == "tags":
        return text in (tag.lower() for tag in message["tags"])
    return str(message[name.removeprefix("full_")]).lower() == text


def _messages(journal: Journal, until: float) -> Iterator[dict[str, Any]]:
    for record in journal.newest(Provider.MANDRILL, until - WEEK, until):
        for place, recipient in enumerate(record.recipients):
            yield _message(record, place, recipient, until)


def _message(record: Record, place: int, recipient: str, until: float) -> dict[str, Any]:
    decided = record.accepted_at + DELIVERY <= until
    return {
        "ts": int(record.accepted_at),
        "_id": id_of(record.message_id, place),
        "sender": record.sender,
        "subject": record.subject,
        "email": recipient,
        "tags": list(record.tags),
        "metadata": record.variables,
        "state": _STATES[record.fate_of(recipient)] if decided else "sent",
        "opens": 0,
        "clicks": 0,
    }
