"""How a message is written in Redis: its record as a hash of texts, its body as JSON.

Times are integers, in milliseconds since 1970. Each attempt has a field of its own (`attempt:1`,
`attempt:2`, …), so that a write carries what has changed and not the history.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from app.core import ids
from app.core.models import (
    Attempt,
    Body,
    Envelope,
    Lease,
    Message,
    MessageState,
    Outcome,
    Recipient,
    RecipientState,
)
from providers.types import Address

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ATTEMPT = "attempt:"


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
    if message.possible_duplicate:
        record["possible_duplicate"] = "1"
    if message.reason is not None:
        record["reason"] = message.reason
    if message.next_attempt_at is not None:
        record["next"] = str(to_ms(message.next_attempt_at))
    for number, attempt in enumerate(message.attempts, 1):
        record[f"{_ATTEMPT}{number}"] = _json(_attempt_to_json(attempt))
    return record


def decode(message_id: str, record: Mapping[str, str], lease_until: datetime | None) -> Message:
    """The message in a record; `lease_until` is the end of its lease, where it is being sent."""
    lease = None
    if record["state"] == MessageState.SENDING and lease_until is not None:
        lease = Lease(record["owner"], int(record["fence"]), lease_until)
    attempts: list[Attempt] = []
    while (text := record.get(f"{_ATTEMPT}{len(attempts) + 1}")) is not None:
        number = len(attempts) + 1
        attempts.append(_attempt_from_json(ids.attempt_id(message_id, number), orjson.loads(text)))
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
        possible_duplicate="possible_duplicate" in record,
        reason=record.get("reason"),
        next_attempt_at=from_ms(record["next"]) if "next" in record else None,
        lease=lease,
        attempts=tuple(attempts),
    )


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
    )
