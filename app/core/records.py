"""How a message is written in Redis: its record as a hash of texts, its body as JSON.

Times are integers, in milliseconds since 1970. Each attempt has a field of its own (`attempt:1`,
`attempt:2`, …), so that a write carries what has changed and not the history.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from app.core import ids
from app.core.models import (
    Attempt,
    Body,
    Envelope,
    Evidence,
    Finding,
    Lease,
    Message,
    MessageState,
    Outcome,
    Recipient,
    RecipientState,
    Source,
)
from providers.types import Address

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ATTEMPT = "attempt:"
_EVIDENCE = "evidence:"


def to_ms(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def from_ms(ms: int | str) -> datetime:
    return _EPOCH + int(ms) * _MILLISECOND


def encode(message: Message) -> dict[str, str]:
    """The fields of a record, but for those that the scripts keep: version, token and lease."""
    record = {
        "key": message.key,
        "state": message.state.value,
        "created": str(to_ms(message.created_at)),
        "updated": str(to_ms(message.updated_at)),
        "expires": str(to_ms(message.expires_at)),
        "round": str(message.round),
        "envelope": _json(_envelope_to_json(message.envelope)),
        "recipients": _json([_recipient_to_json(r) for r in message.recipients]),
    }
    if message.first_round != 1:
        record["first_round"] = str(message.first_round)
    if message.order:
        record["order"] = _json(message.order)
    if message.possible_duplicate:
        record["possible_duplicate"] = "1"
    if message.reason is not None:
        record["reason"] = message.reason
    if message.next_attempt_at is not None:
        record["next"] = str(to_ms(message.next_attempt_at))
    if message.grace_until is not None:
        record["grace"] = str(to_ms(message.grace_until))
    for number, attempt in enumerate(message.attempts, 1):
        record[f"{_ATTEMPT}{number}"] = _json(_attempt_to_json(attempt))
    return record


def decode(message_id: str, record: Mapping[str, str], lease_until: datetime | None) -> Message:
    """The message in a record; `lease_until` is the end of its lease, where it is being sent."""
    lease = None
    if record["state"] == MessageState.SENDING and lease_until is not None:
        lease = Lease(record["owner"], int(record["fence"]), lease_until)
    evidence = _evidence(record)
    attempts: list[Attempt] = []
    while (text := record.get(f"{_ATTEMPT}{len(attempts) + 1}")) is not None:
        number = len(attempts) + 1
        attempt = _attempt_from_json(ids.attempt_id(message_id, number), orjson.loads(text))
        attempts.append(replace(attempt, evidence=evidence.get(number)))
    return Message(
        id=message_id,
        key=record["key"],
        envelope=_envelope_from_json(orjson.loads(record["envelope"])),
        recipients=tuple(_recipient_from_json(r) for r in orjson.loads(record["recipients"])),
        state=MessageState(record["state"]),
        created_at=from_ms(record["created"]),
        updated_at=from_ms(record["updated"]),
        expires_at=from_ms(record["expires"]),
        version=int(record["version"]),
        round=int(record["round"]),
        first_round=int(record.get("first_round", 1)),
        order=tuple(orjson.loads(record.get("order", "[]"))),
        possible_duplicate="possible_duplicate" in record,
        reason=record.get("reason"),
        next_attempt_at=from_ms(record["next"]) if "next" in record else None,
        grace_until=from_ms(record["grace"]) if "grace" in record else None,
        lease=lease,
        attempts=tuple(attempts),
        evidence=int(record.get("evidence", 0)),
    )


def evidence_field(evidence: Evidence) -> str:
    """Where a piece of evidence stands: there is one from each source for each attempt."""
    return f"{_EVIDENCE}{evidence.attempt}:{evidence.source}"


def encode_evidence(evidence: Evidence) -> str:
    return _json(
        {
            "finding": evidence.finding,
            "at": to_ms(evidence.at),
            "reason": evidence.reason,
            "provider_message_id": evidence.provider_message_id,
        }
    )


def _evidence(record: Mapping[str, str]) -> dict[int, Evidence]:
    """The evidence of each attempt that has some; that of an acceptance counts before any other."""
    found: dict[int, Evidence] = {}
    if "evidence" not in record:
        return found
    for field, text in record.items():
        if field.startswith(_EVIDENCE):
            number, _, source = field.removeprefix(_EVIDENCE).partition(":")
            value = orjson.loads(text)
            evidence = Evidence(
                attempt=int(number),
                source=Source(source),
                finding=Finding(value["finding"]),
                at=from_ms(value["at"]),
                reason=value["reason"],
                provider_message_id=value["provider_message_id"],
            )
            if evidence.finding is Finding.ACCEPTED or evidence.attempt not in found:
                found[evidence.attempt] = evidence
    return found


def encode_body(body: Body) -> str:
    return _json({"text": body.text, "html": body.html})


def decode_body(text: str) -> Body:
    value = orjson.loads(text)
    return Body(value["text"], value["html"])


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _address_to_json(address: Address) -> list[str]:
    return [address.email, address.name]


def _envelope_to_json(envelope: Envelope) -> dict[str, Any]:
    return {
        "from": _address_to_json(envelope.sender),
        "reply_to": [_address_to_json(a) for a in envelope.reply_to],
        "subject": envelope.subject,
        "headers": envelope.headers,
        "tags": envelope.tags,
        "metadata": dict(envelope.metadata),
        "providers": envelope.providers,
        "on_unknown": envelope.on_unknown,
    }


def _envelope_from_json(value: Mapping[str, Any]) -> Envelope:
    return Envelope(
        sender=Address(*value["from"]),
        reply_to=tuple(Address(*a) for a in value["reply_to"]),
        subject=value["subject"],
        headers=tuple((name, text) for name, text in value["headers"]),
        tags=tuple(value["tags"]),
        metadata=value["metadata"],
        providers=tuple(value["providers"]),
        on_unknown=value["on_unknown"],
    )


def _recipient_to_json(recipient: Recipient) -> list[str | None]:
    return [
        recipient.email,
        recipient.name,
        recipient.kind,
        recipient.state.value,
        recipient.reason,
    ]


def _recipient_from_json(value: list[Any]) -> Recipient:
    email, name, kind, state, reason = value
    return Recipient(email, name, kind, RecipientState(state), reason)


def _attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    value = {
        "provider": attempt.provider,
        "why": attempt.why,
        "round": attempt.round,
        "started": to_ms(attempt.started_at),
        "outcome": attempt.outcome,
        "scope": attempt.scope,
        "reason": attempt.reason,
        "status_code": attempt.status_code,
        "provider_message_id": attempt.provider_message_id,
        "duration_ms": attempt.duration_ms,
        "recipients": attempt.recipients or None,
    }
    return {name: item for name, item in value.items() if item is not None}


def _attempt_from_json(attempt_id: str, value: Mapping[str, Any]) -> Attempt:
    outcome = value.get("outcome")
    return Attempt(
        id=attempt_id,
        provider=value["provider"],
        why=value["why"],
        round=value["round"],
        started_at=from_ms(value["started"]),
        outcome=None if outcome is None else Outcome(outcome),
        scope=value.get("scope"),
        reason=value.get("reason"),
        status_code=value.get("status_code"),
        provider_message_id=value.get("provider_message_id"),
        duration_ms=value.get("duration_ms"),
        recipients=tuple(value.get("recipients", ())),
    )
