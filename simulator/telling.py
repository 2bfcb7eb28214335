"""How each provider tells what becomes of mails: its events, their forgeries, and its patience."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simulator import mandrill_events, postmark_events, resend_events
from simulator.journal import Record
from simulator.switches import Provider
from simulator.webhook_bodies import Told, mailgun, sendgrid, ses

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told of a mail, and `forge`, which makes an event of it that was never told.

    `gives_up` says whether an answer with a status is taken for the last one, and `batches` whether
    one request holds several events.
    """

    tell: Callable[[Record], Iterator[Told]]
    forge: Callable[[Event], Event]
    gives_up: Callable[[int], bool] = lambda status: False
    batches: bool = False


def _forged_mailgun(event: Event) -> Event:
    return {**event, "event": "complained", "id": os.urandom(8).hex()}


def _forged_sendgrid(event: Event) -> Event:
    return {**event, "event": "spamreport", "sg_event_id": os.urandom(8).hex()}


def _forged_ses(event: Event) -> Event:
    everybody = [{"emailAddress": email} for email in event["mail"]["destination"]]
    complaint = {"complainedRecipients": everybody, "timestamp": event["mail"]["timestamp"]}
    return {"eventType": "Complaint", "mail": event["mail"], "complaint": complaint}


def _forged_postmark(event: Event) -> Event:
    recipient = event.get("Recipient") or event["Email"]
    at = event.get("DeliveredAt") or event["BouncedAt"]
    kind = {"RecordType": "SpamComplaint", "Type": "SpamComplaint", "TypeCode": 512}
    number = int.from_bytes(os.urandom(5))
    return {**event, **kind, "ID": number, "Email": recipient, "BouncedAt": at}


def _forged_resend(event: Event) -> Event:
    return {**event, "type": "email.complained", "svix-id": f"msg_{os.urandom(13).hex()}"}


def _forged_mandrill(event: Event) -> Event:
    return {**event, "event": "spam", "msg": {**event["msg"], "state": "spam"}}


TELLINGS: Mapping[Provider, Telling] = {
    Provider.MAILGUN: Telling(mailgun, _forged_mailgun, lambda status: status == 406),
    Provider.SENDGRID: Telling(sendgrid, _forged_sendgrid, batches=True),
    Provider.SES: Telling(ses, _forged_ses, lambda status: 400 <= status < 500 and status != 429),
    Provider.POSTMARK: Telling(
        postmark_events.events, _forged_postmark, lambda status: status == 403
    ),
    Provider.RESEND: Telling(resend_events.events, _forged_resend),
    Provider.MANDRILL: Telling(mandrill_events.events, _forged_mandrill, batches=True),
}
