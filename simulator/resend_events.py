"""What Resend tells of a mail."""

import hashlib
from collections.abc import Iterator
from typing import Any

from simulator.journal import DELIVERY, Record
from simulator.mail import Fate
from simulator.webhook_bodies import Told, iso


def events(record: Record) -> Iterator[Told]:
    """The events that Svix carries, each with the id that it has there.

    Every one names all that stand in To: whom of them it is about is not told.
    """
    data = {
        "email_id": record.message_id,
        "created_at": iso(record.accepted_at),
        "from": record.sender,
        "to": list(record.to),
        "subject": record.subject,
        "tags": record.variables,
    }
    told: list[tuple[float, str, dict[str, Any]]] = [(0.0, "email.sent", {})]
    for recipient in record.recipients:
        told += _resend_events(record.fate_of(recipient))
    for number, (after, kind, details) in enumerate(told):
        named = hashlib.sha256(f"{record.message_id} {number}".encode())
        yield (
            after,
            {
                "svix-id": f"msg_{named.hexdigest()[:27]}",
                "type": kind,
                "created_at": iso(record.accepted_at + after),
                "data": {**data, **details},
            },
        )


def _resend_events(fate: Fate) -> Iterator[tuple[float, str, dict[str, Any]]]:
    if fate is Fate.BOUNCE:
        bounce = {
            "type": "Permanent",
            "subType": "General",
            "message": "The recipient's email address does not exist.",
            "diagnosticCode": ["smtp; 550 5.1.1 no such user"],
        }
        yield DELIVERY, "email.bounced", {"bounce": bounce}
    elif fate is Fate.BLOCK:
        bounce = {
            "type": "Transient",
            "subType": "ContentRejected",
            "message": "The recipient's server did not want the content.",
            "diagnosticCode": ["smtp; 550 5.7.1 listed at bl.example"],
        }
        yield DELIVERY, "email.bounced", {"bounce": bounce}
    elif fate is Fate.DEFER:
        yield DELIVERY, "email.delivery_delayed", {}
    else:
        yield DELIVERY, "email.delivered", {}
    if fate is Fate.COMPLAINT:
        yield 2 * DELIVERY, "email.complained", {}
