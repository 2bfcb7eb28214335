"""What Mandrill tells of a mail, and the ids that it has there."""

import hashlib
from collections.abc import Iterator
from typing import Any

from simulator.journal import DELIVERY, Record
from simulator.mail import Fate
from simulator.webhook_bodies import Told


def events(record: Record) -> Iterator[Told]:
    """The members of batches; each recipient has a message of their own there."""
    for place, recipient in enumerate(record.recipients):
        message = {
            "_id": id_of(record.message_id, place),
            "ts": int(record.accepted_at),
            "email": recipient,
            "sender": record.sender,
            "subject": record.subject,
            "tags": list(record.tags),
            "metadata": record.variables,
        }
        for after, kind, details in _mandrill_events(record.fate_of(recipient)):
            at = int(record.accepted_at + after)
            yield (
                after,
                {"event": kind, "_id": message["_id"], "ts": at, "msg": {**message, **details}},
            )


def _mandrill_events(fate: Fate) -> Iterator[tuple[float, str, dict[str, Any]]]:
    yield 0.0, "send", {"state": "sent"}
    if fate is Fate.BOUNCE:
        diagnosis = {"bounce_description": "bad_mailbox", "diag": "smtp;550 5.1.1 no such user"}
        yield DELIVERY, "hard_bounce", {"state": "bounced", "bgtools_code": 10, **diagnosis}
    elif fate is Fate.BLOCK:
        diagnosis = {"bounce_description": "spam", "diag": "smtp;550 5.7.1 listed at bl.example"}
        yield DELIVERY, "soft_bounce", {"state": "soft-bounced", "bgtools_code": 51, **diagnosis}
    elif fate is Fate.DEFER:
        for attempt in (1, 2):
            tried = {"type": "deferral", "diag": "451 4.7.1 try again later"}
            yield attempt * DELIVERY, "deferral", {"state": "deferred", "smtp_events": [tried]}
    else:
        yield DELIVERY, "delivered", {"state": "sent", "diag": "250 OK"}
    if fate is Fate.COMPLAINT:
        yield 2 * DELIVERY, "spam", {"state": "spam"}


def id_of(message_id: str, place: int) -> str:
    """The id that the recipient at a place has; that of the first is the one of the mail."""
    if place == 0:
        return message_id
    return hashlib.sha256(f"{message_id} {place}".encode()).hexdigest()[:32]
