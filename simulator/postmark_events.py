"""What Postmark tells of a mail."""

import hashlib
from collections.abc import Iterator
from typing import Any

from simulator.journal import DELIVERY, Record
from simulator.mail import Fate
from simulator.webhook_bodies import Told, iso


def events(record: Record) -> Iterator[Told]:
    """One webhook each; none says that a mail was accepted."""
    for recipient in record.recipients:
        common = {
            "MessageID": record.message_id,
            "ServerID": 23,
            "MessageStream": "outbound",
            "Tag": record.tags[0] if record.tags else "",
            "Metadata": record.variables,
        }
        for after, event in _postmark_events(record.fate_of(recipient)):
            at = iso(record.accepted_at + after)
            if event["RecordType"] == "Delivery":
                about: dict[str, Any] = {"Recipient": recipient, "DeliveredAt": at}
            else:
                named = f"{record.message_id} {recipient} {event['Type']}".encode()
                about = {
                    "ID": int.from_bytes(hashlib.sha256(named).digest()[:5]),
                    "Email": recipient,
                    "From": record.sender,
                    "Subject": record.subject,
                    "BouncedAt": at,
                }
            yield after, {**event, **common, **about}


def _postmark_events(fate: Fate) -> Iterator[Told]:
    if fate is Fate.BOUNCE:
        yield (
            DELIVERY,
            {
                "RecordType": "Bounce",
                "Type": "HardBounce",
                "TypeCode": 1,
                "Name": "Hard bounce",
                "Description": "The server was unable to deliver your message.",
                "Details": "smtp;550 5.1.1 no such user",
                "Inactive": True,
                "CanActivate": True,
            },
        )
    elif fate is Fate.BLOCK:
        yield (
            DELIVERY,
            {
                "RecordType": "Bounce",
                "Type": "Blocked",
                "TypeCode": 100006,
                "Name": "ISP block",
                "Description": "Blocked by the recipient's provider for content or reputation.",
                "Details": "smtp;550 5.7.1 listed at bl.example",
                "Inactive": False,
                "CanActivate": False,
            },
        )
    elif fate is Fate.DEFER:
        yield (
            DELIVERY,
            {
                "RecordType": "Bounce",
                "Type": "Transient",
                "TypeCode": 2,
                "Name": "Message delayed",
                "Description": "The server could not temporarily deliver your message.",
                "Details": "smtp;451 4.7.1 try again later",
                "Inactive": False,
                "CanActivate": False,
            },
        )
    else:
        yield DELIVERY, {"RecordType": "Delivery", "Details": "smtp;250 OK"}
    if fate is Fate.COMPLAINT:
        yield (
            2 * DELIVERY,
            {
                "RecordType": "SpamComplaint",
                "Type": "SpamComplaint",
                "TypeCode": 512,
                "Name": "Spam complaint",
                "Description": "The subscriber explicitly marked this message as spam.",
                "Details": "",
                "Inactive": True,
                "CanActivate": False,
            },
        )
