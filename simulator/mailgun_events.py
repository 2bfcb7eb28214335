"""Mailgun's events: filters, and pages that end with an empty one."""

import base64
import hashlib
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from simulator.http import Call
from simulator.journal import DELIVERY, Journal, Record
from simulator.mail import Fate
from simulator.switches import Provider

MOST_ITEMS = 300

_FILTERS = ("event", "from", "subject", "tags", "message-id", "severity")
_START = "start"
_KNOWN = {"begin", "end", "ascending", "limit", "pretty", "recipient", *_FILTERS}
_ACCEPTED = {"event": "accepted", "log-level": "info", "method": "HTTP"}
_OUTCOMES: dict[Fate, tuple[dict[str, str], ...]] = {
    Fate.DELIVERED: ({"event": "delivered", "log-level": "info"},),
    Fate.COMPLAINT: (
        {"event": "delivered", "log-level": "info"},
        {"event": "complained", "log-level": "warn"},
    ),
    Fate.BOUNCE: (
        {"event": "failed", "severity": "permanent", "reason": "bounce", "log-level": "error"},
    ),
    Fate.BLOCK: (
        {"event": "failed", "severity": "permanent", "reason": "espblock", "log-level": "error"},
    ),
    Fate.DEFER: (
        {"event": "failed", "severity": "temporary", "reason": "generic", "log-level": "warn"},
    ),
}


class _Event(NamedTuple):
    at: float
    record: Record
    recipient: str
    what: dict[str, str]


def items(record: Record) -> list[dict[str, Any]]:
    """Everything that happens to a mail, as webhooks tell it."""
    return [_item(event) for event in _events_of(record, None)]


class BadQuery(ValueError):
    """The query breaks a rule; the text is the one that the caller gets."""


def page(call: Call, token: str | None, journal: Journal, until: float) -> dict[str, Any]:
    """The page that a call asks for; `token` is what stands in the links to the other ones."""
    query, start = _resumed(token) if token else (dict(parse_qsl(call.query)), 0)
    if unknown := set(query) - _KNOWN:
        raise BadQuery(f"{sorted(unknown)[0]} is not a valid filter")
    limit = query.get("limit", "100")
    if not re.fullmatch(r"[0-9]{1,3}", limit) or not 1 <= int(limit) <= MOST_ITEMS:
        raise BadQuery(f"limit must be from 1 to {MOST_ITEMS}")
    found = _events(query, journal, until)
    items = [_item(event) for event in found[start : start + int(limit)]]
    base = f"http://{call.headers.get('host', '')}{call.path.partition('/events')[0]}/events"
    starts = {
        "first": 0,
        "previous": max(start - int(limit), 0),
        "next": start + len(items),
        "last": len(found),
    }
    links = {name: f"{base}/{_token(query, number)}" for name, number in starts.items()}
    return {"items": items, "paging": links}


def _events(query: dict[str, str], journal: Journal, until: float) -> list[_Event]:
    since, end, ascending = _range(query)
    wanted = {name: _alternatives(query[name]) for name in _FILTERS if name in query}
    recipients = _alternatives(query["recipient"]) if "recipient" in query else None
    found = [
        event
        for record in reversed(list(journal.newest(Provider.MAILGUN, since - DELIVERY, until)))
        for event in _events_of(record, recipients)
        if since <= event.at <= min(end, until)
        and all(_fits(event, name, texts) for name, texts in wanted.items())
    ]
    found.sort(key=lambda event: event.at, reverse=not ascending)
    return found


def _range(query: dict[str, str]) -> tuple[float, float, bool]:
    begin, end = (_moment(name, query.get(name)) for name in ("begin", "end"))
    ascending = query.get("ascending", "").lower()
    if ascending not in ("", "yes", "no", "true", "false"):
        raise BadQuery("ascending must be yes or no")
    if begin is not None and end is None and not ascending:
        raise BadQuery("ascending must be given where end is not")
    forward = ascending in ("yes", "true")
    if begin is not None and end is not None:
        forward = forward or (not ascending and begin <= end)
        begin, end = min(begin, end), max(begin, end)
    elif begin is not None and not forward:
        begin, end = None, begin
    return (0.0 if begin is None else begin), (float("inf") if end is None else end), forward


def _moment(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        raise BadQuery(f"{name} is not a valid time") from None


def _alternatives(expression: str) -> set[str]:
    """The values that a filter lets through; of its language, `OR` and quotes are known here."""
    values = re.split(r"\s+OR\s+", expression.strip())
    if any(re.search(r"(^|\s)(AND|NOT)\s|[<>()]", value) for value in values):
        raise BadQuery("this filter expression is not played here")
    return {value.strip().strip('"').lower() for value in values}


def _fits(event: _Event, name: str, texts: set[str]) -> bool:
    if name == "tags":
        return any(tag.lower() in texts for tag in event.record.tags)
    headers = _headers(event.record)
    return str(headers.get(name) or event.what.get(name) or "").lower() in texts


def _events_of(record: Record, recipients: set[str] | None) -> Iterator[_Event]:
    for recipient in record.recipients:
        # Looked at first: the mails of one recipient are few among many.
        if recipients is not None and recipient.lower() not in recipients:
            continue
        yield _Event(record.accepted_at, record, recipient, _ACCEPTED)
        for outcome in _OUTCOMES[record.fate_of(recipient)]:
            yield _Event(record.accepted_at + DELIVERY, record, recipient, outcome)


def _headers(record: Record) -> dict[str, str]:
    message_id = record.message_id.strip("<>")
    return {"message-id": message_id, "from": record.sender, "subject": record.subject}


def _item(event: _Event) -> dict[str, Any]:
    record, recipient = event.record, event.recipient
    named = f"{record.message_id} {recipient} {event.what['event']}"
    digest = hashlib.sha256(named.encode()).digest()
    return {
        **event.what,
        "id": base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode(),
        "timestamp": round(event.at, 6),
        "recipient": recipient,
        "recipient-domain": recipient.rpartition("@")[2],
        "tags": list(record.tags),
        "user-variables": record.variables,
        "flags": {"is-routed": False, "is-authenticated": True, "is-test-mode": False},
        "message": {"headers": _headers(record), "attachments": []},
    }


def _token(query: dict[str, str], start: int) -> str:
    text = urlencode({**query, _START: str(start)})
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _resumed(token: str) -> tuple[dict[str, str], int]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        raise BadQuery("the page is not valid") from None
    query = dict(parse_qsl(text))
    start = query.pop(_START, "")
    if not re.fullmatch(r"[0-9]{1,9}", start):
        raise BadQuery("the page is not valid")
    return query, int(start)
