"""What the providers tell of a mail, in their own words: what, and how long after it came."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from simulator.journal import DELIVERY, Record
from simulator.mail import Fate
from simulator.mailgun_events import items

Told = tuple[float, dict[str, Any]]
"""Seconds from a mail's acceptance, and one event."""

_FAILED = {"code": 550, "message": "5.1.1 no such user", "description": ""}
_LATER = {"code": 451, "message": "4.7.1 try again later", "description": ""}
_BLOCKED = {"code": 550, "message": "5.7.1 listed at bl.example", "description": ""}
_STATUSES = {"bounce": _FAILED, "generic": _LATER, "espblock": _BLOCKED}


def mailgun(record: Record) -> Iterator[Told]:
    """The `event-data` of each webhook."""
    for item in items(record):
        status = _STATUSES.get(item.get("reason", ""))
        told = item if status is None else {**item, "delivery-status": status}
        yield item["timestamp"] - record.accepted_at, told


def sendgrid(record: Record) -> Iterator[Told]:
    """The members of batches."""
    for place, recipient in enumerate(record.recipients):
        common = {
            **record.variables,
            "email": recipient,
            "sg_message_id": f"{record.message_id}.recvd-7c-1-{place}.0",
            "smtp-id": f"<{record.message_id}@ismtpd0006.sendgrid.net>",
            "category": list(record.tags),
        }
        for number, (after, event) in enumerate(_sendgrid_events(record.fate_of(recipient))):
            named = f"{record.message_id} {recipient} {number}".encode()
            yield (
                after,
                {
                    **common,
                    **event,
                    "sg_event_id": hashlib.sha256(named).hexdigest()[:22],
                    "timestamp": int(record.accepted_at + after),
                },
            )


def _sendgrid_events(fate: Fate) -> Iterator[Told]:
    yield 0.0, {"event": "processed"}
    if fate is Fate.BOUNCE:
        yield (
            DELIVERY,
            {
                "event": "bounce",
                "type": "bounce",
                "status": "5.1.1",
                "reason": "550 5.1.1 no such user",
                "bounce_classification": "Invalid Address",
            },
        )
    elif fate is Fate.BLOCK:
        blocked = {"status": "5.7.1", "reason": "550 5.7.1 listed at bl.example"}
        yield DELIVERY, {"event": "bounce", "type": "blocked", **blocked}
    elif fate is Fate.DEFER:
        for attempt in (1, 2):
            response = "451 4.7.1 try again later"
            yield (
                attempt * DELIVERY,
                {"event": "deferred", "response": response, "attempt": str(attempt)},
            )
    else:
        yield DELIVERY, {"event": "delivered", "response": "250 OK", "tls": 1}
    if fate is Fate.COMPLAINT:
        yield 2 * DELIVERY, {"event": "spamreport"}


def ses(record: Record) -> Iterator[Told]:
    """The events that SNS carries; one is about all recipients who fare the same."""
    mail = {
        "timestamp": iso(record.accepted_at),
        "source": record.sender,
        "messageId": record.message_id,
        "destination": list(record.recipients),
        "commonHeaders": {"subject": record.subject, "messageId": record.message_id},
        "tags": {name: [value] for name, value in record.variables.items()},
    }
    yield 0.0, {"eventType": "Send", "mail": mail, "send": {}}
    for fate, group in groupby(sorted(record.recipients, key=record.fate_of), key=record.fate_of):
        recipients = list(group)
        for after, name, key, details in _ses_events(fate, recipients):
            stamped = {**details, "timestamp": iso(record.accepted_at + after)}
            yield after, {"eventType": name, "mail": mail, key: stamped}


def _ses_events(
    fate: Fate, recipients: list[str]
) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
    if fate is Fate.BOUNCE:
        about = {
            "action": "failed",
            "status": "5.1.1",
            "diagnosticCode": "smtp; 550 5.1.1 user unknown",
        }
        bounced = [{"emailAddress": email, **about} for email in recipients]
        kind = {"bounceType": "Permanent", "bounceSubType": "General"}
        yield DELIVERY, "Bounce", "bounce", {**kind, "bouncedRecipients": bounced}
    elif fate is Fate.BLOCK:
        about = {"status": "5.7.1", "diagnosticCode": "smtp; 550 5.7.1 listed at bl.example"}
        bounced = [{"emailAddress": email, **about} for email in recipients]
        kind = {"bounceType": "Transient", "bounceSubType": "ContentRejected"}
        yield DELIVERY, "Bounce", "bounce", {**kind, "bouncedRecipients": bounced}
    elif fate is Fate.DEFER:
        about = {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 cannot connect"}
        delayed = [{"emailAddress": email, **about} for email in recipients]
        details = {"delayType": "TransientCommunicationFailure", "delayedRecipients": delayed}
        for attempt in (1, 2):
            yield attempt * DELIVERY, "DeliveryDelay", "deliveryDelay", details
    else:
        delivered = {"recipients": recipients, "smtpResponse": "250 2.6.0 Message received"}
        yield DELIVERY, "Delivery", "delivery", delivered
    if fate is Fate.COMPLAINT:
        complained = [{"emailAddress": email} for email in recipients]
        kind = {"complaintFeedbackType": "abuse"}
        yield 2 * DELIVERY, "Complaint", "complaint", {**kind, "complainedRecipients": complained}


def iso(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
