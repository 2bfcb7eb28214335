"""SendGrid's Email Activity: messages by query, and one by its id."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from simulator.journal import DELIVERY, Journal, Record
from simulator.mail import Fate
from simulator.switches import Provider

MOST_MESSAGES = 1_000

# A value in quotes, as the part of a clause after its name.
_TEXT = r'"([^"]*)"'
_CLAUSE = re.compile(
    rf"\s*(?:(to_email|from_email|subject|status|msg_id)\s*=\s*{_TEXT}"
    rf"|last_event_time\s+BETWEEN\s+TIMESTAMP\s+{_TEXT}\s+AND\s+TIMESTAMP\s+{_TEXT})"
    r"\s*(?:AND\b|$)"
)
_STATUSES = {
    Fate.DEFER: "processed",
    Fate.BOUNCE: "not_delivered",
    Fate.BLOCK: "not_delivered",
    Fate.DELIVERED: "delivered",
    Fate.COMPLAINT: "delivered",
}


class BadQuery(ValueError):
    """The query breaks a rule; `field` is the parameter that does."""

    def __init__(self, text: str, field: str) -> None:
        super().__init__(text)
        self.field = field


def messages(query: str, journal: Journal, until: float) -> list[dict[str, Any]]:
    """What a query string asks for, newest first."""
    given = dict(parse_qsl(query))
    limit = given.get("limit", "10")
    if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= MOST_MESSAGES:
        raise BadQuery(f"limit must be from 1 to {MOST_MESSAGES}", "limit")
    wanted, since, end = _clauses(given.get("query", ""))
    found = (
        message
        for record in journal.newest(Provider.SENDGRID, since - 1, until)
        for message in _messages_of(record, until)
        if _time(since) <= message["last_event_time"] <= _time(end)
        and all(str(message[name]).lower() == text for name, text in wanted.items())
    )
    return list(islice(found, int(limit)))


def one_message(msg_id: str, journal: Journal, until: float) -> dict[str, Any] | None:
    """A message with what the list leaves out, None if there is none of this id."""
    message_id = msg_id.partition(".")[0]
    for record in journal.newest(Provider.SENDGRID, 0.0, until):
        if record.message_id == message_id:
            for message in _messages_of(record, until):
                if message["msg_id"] == msg_id:
                    return {
                        **{k: v for k, v in message.items() if k != "last_event_time"},
                        "categories": list(record.tags),
                        "unique_args": record.variables,
                        "events": [
                            {
                                "event_name": message["status"],
                                "processed": message["last_event_time"],
                            }
                        ],
                    }
    return None


def _clauses(query: str) -> tuple[dict[str, str], float, float]:
    """The fields and their values in lower case, and the time, from and to."""
    wanted: dict[str, str] = {}
    since, end = 0.0, 253_402_300_799.0
    position = 0
    while position < len(query):
        match = _CLAUSE.match(query, position)
        if match is None:
            raise BadQuery("invalid query", "query")
        name, text, first, last = match.groups()
        if name:
            wanted[name] = text.lower()
        else:
            since, end = max(since, _seconds(first)), min(end, _seconds(last))
        position = match.end()
    if not wanted:
        raise BadQuery("query is required", "query")
    return wanted, since, end


def _messages_of(record: Record, until: float) -> Iterator[dict[str, Any]]:
    for place, recipient in enumerate(record.recipients):
        decided = record.accepted_at + DELIVERY <= until
        yield {
            "from_email": record.sender,
            "msg_id": f"{record.message_id}.recvd-{record.number:x}-{place}.0",
            "subject": record.subject,
            "to_email": recipient,
            "status": _STATUSES[record.fate_of(recipient)] if decided else "processed",
            "opens_count": 0,
            "clicks_count": 0,
            "last_event_time": _time(record.accepted_at + (DELIVERY if decided else 0)),
        }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise BadQuery("invalid timestamp", "query") from None
