"""How a message is written in Redis: its record as a hash of texts, its body as JSON.

Times are integers, in milliseconds since 1970. Each attempt has a field of its own (`attempt:1`,
`attempt:2`, …), so that a write carries what has changed and not the history.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from app.core import ids
from app.core.models import (
    AttachedFile,
    Attempt,
    Body,
    Engagement,
    Envelope,
    Evidence,
    Finding,
    Happening,
    Lease,
    Message,
    MessageState,
    Outcome,
    Priority,
    Recipient,
    RecipientState,
    Report,
    Source,
    TemplateUsed,
    Track,
)
from providers.types import Address, Attachment, Bounce, EventType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ATTEMPT = "attempt:"
_EVIDENCE = "evidence:"


def to_ms(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def from_ms(ms: int | str) -> datetime:
    return _EPOCH + int(ms) * _MILLISECOND


def changes(before: Message, after: Message) -> tuple[dict[str, str], list[str]]:
    """The fields of the record that change, and the names of those that it has no longer."""
    written, deleted = {}, []
    for name, attribute, write in _FIELDS:
        was, is_now = getattr(before, attribute), getattr(after, attribute)
        if was is is_now or was == is_now:
            continue
        text = write(is_now)
        if text is not None:
            written[name] = text
        elif write(was) is not None:
            deleted.append(name)
    written |= _attempts(after, before.attempts)
    gone = range(len(after.attempts), len(before.attempts))
    return written, [*deleted, *(f"{_ATTEMPT}{number + 1}" for number in gone)]


def encode(message: Message) -> dict[str, str]:
    """The fields of a record, but for those that the scripts keep: version, token and lease."""
    texts = {name: write(getattr(message, attribute)) for name, attribute, write in _FIELDS}
    record = {name: text for name, text in texts.items() if text is not None}
    return record | _attempts(message)


def _attempts(message: Message, known: Sequence[Attempt] = ()) -> dict[str, str]:
    """The fields of the attempts that are not as they are known."""
    return {
        f"{_ATTEMPT}{number}": _json(_attempt_to_json(attempt))
        for number, attempt in enumerate(message.attempts, 1)
        if number > len(known) or attempt != known[number - 1]
    }


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
        attempts.append(attempt.settled_by(evidence.get(number)))
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
        priority=Priority(record.get("priority", Priority.NORMAL)),
        send_at=from_ms(record["send_at"]) if "send_at" in record else None,
        cancelled="cancelled" in record,
        opened=_engagement(orjson.loads(record.get("opened", "null"))),
        clicked=_engagement(orjson.loads(record.get("clicked", "null"))),
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
            **({"recipients": evidence.recipients} if evidence.recipients else {}),
        }
    )


def _evidence(record: Mapping[str, str]) -> dict[int, Evidence]:
    """The evidence of each attempt that has some.

    That of an acceptance counts before any other, and what says for whom it was before what does
    not.
    """
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
                recipients=tuple(value.get("recipients", ())),
            )
            known = found.get(evidence.attempt)
            if known is None or _tells_more(evidence) > _tells_more(known):
                found[evidence.attempt] = evidence
    return found


def _tells_more(evidence: Evidence) -> tuple[bool, bool]:
    return evidence.finding is Finding.ACCEPTED, bool(evidence.recipients)


def encode_commands(commands: Iterable[Sequence[str | int | float]]) -> str:
    """Redis commands as the scripts read them: every argument is a text."""
    return _json([[str(word) for word in command] for command in commands])


def encode_attachments(attachments: Sequence[Attachment]) -> bytes:
    """A line of JSON that says what they are, then their contents; empty where there are none."""
    if not attachments:
        return b""
    about = [[a.filename, a.content_type, a.content_id, len(a.content)] for a in attachments]
    return b"".join((orjson.dumps(about), b"\n", *(a.content for a in attachments)))


def decode_attachments(value: bytes) -> tuple[Attachment, ...]:
    at = value.find(b"\n") + 1
    attachments = []
    for filename, content_type, content_id, size in orjson.loads(value[: at or None] or b"[]"):
        attachments.append(Attachment(filename, content_type, value[at : at + size], content_id))
        at += size
    return tuple(attachments)


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
    used, files = envelope.template, envelope.attachments
    override = envelope.override_suppression
    return {
        "from": _address_to_json(envelope.sender),
        "reply_to": [_address_to_json(a) for a in envelope.reply_to],
        "subject": envelope.subject,
        "headers": envelope.headers,
        "tags": envelope.tags,
        "metadata": dict(envelope.metadata),
        "providers": envelope.providers,
        "on_unknown": envelope.on_unknown,
        "expires_at": None if envelope.expires_at is None else to_ms(envelope.expires_at),
        **({} if used is None else {"template": [used.name, used.version]}),
        **({"attachments": [_file_to_json(f) for f in files]} if files else {}),
        **({"unsubscribe": True} if envelope.unsubscribe else {}),
        **({"override": override} if override is not None else {}),
        **({"track": [envelope.track.opens, envelope.track.clicks]} if envelope.track else {}),
        **({"callback": envelope.callback_url} if envelope.callback_url else {}),
        **({"failover_on_block": True} if envelope.failover_on_block else {}),
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
        template=TemplateUsed(*value["template"]) if "template" in value else None,
        expires_at=None if value.get("expires_at") is None else from_ms(value["expires_at"]),
        attachments=tuple(AttachedFile(*file) for file in value.get("attachments", ())),
        unsubscribe=value.get("unsubscribe", False),
        override_suppression=value.get("override"),
        track=Track(*value.get("track", ())),
        callback_url=value.get("callback"),
        failover_on_block=value.get("failover_on_block", False),
    )


def _file_to_json(file: AttachedFile) -> list[str | int | None]:
    return [file.filename, file.content_type, file.size, file.content_id]


def _recipient_to_json(recipient: Recipient) -> list[Any]:
    told = {
        "bounce": recipient.bounce,
        "code": recipient.code,
        "opened": _engagement_to_json(recipient.opened),
        "clicked": _engagement_to_json(recipient.clicked),
        "unsubscribed": _moment_to_json(recipient.unsubscribed_at),
        "reports": [
            [report.attempt, report.state, report.bounce, report.code, report.reason]
            for report in recipient.reports
        ],
        "passed_on": recipient.passed_on,
    }
    told = {name: item for name, item in told.items() if item}
    return [
        recipient.email,
        recipient.name,
        recipient.kind,
        recipient.state.value,
        recipient.reason,
        *([told] if told else ()),
    ]


def _recipient_from_json(value: list[Any]) -> Recipient:
    email, name, kind, state, reason, *rest = value
    told = rest[0] if rest else {}
    return Recipient(
        email,
        name,
        kind,
        RecipientState(state),
        reason,
        bounce=_bounce(told.get("bounce")),
        code=told.get("code"),
        opened=_engagement(told.get("opened")),
        clicked=_engagement(told.get("clicked")),
        unsubscribed_at=_moment(told.get("unsubscribed")),
        reports=tuple(
            Report(attempt, RecipientState(state), _bounce(bounce), code, reason)
            for attempt, state, bounce, code, reason in told.get("reports", ())
        ),
        passed_on=told.get("passed_on", 0),
    )


def _bounce(value: str | None) -> Bounce | None:
    return None if value is None else Bounce(value)


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _moment_to_json(at: datetime | None) -> int | None:
    return None if at is None else to_ms(at)


def _engagement_to_json(engagement: Engagement | None) -> list[int] | None:
    if engagement is None:
        return None
    return [engagement.count, to_ms(engagement.first_at), to_ms(engagement.last_at)]


def _engagement(value: list[int] | None) -> Engagement | None:
    return None if value is None else Engagement(value[0], from_ms(value[1]), from_ms(value[2]))


def encode_happening(happening: Happening) -> str:
    value = {
        "type": happening.type,
        "at": to_ms(happening.at),
        "provider": happening.provider,
        "attempt": happening.attempt,
        "recipient": happening.recipient,
        "bounce": happening.bounce,
        "code": happening.code,
        "reason": happening.reason,
        "url": happening.url,
        "automatic": happening.automatic or None,
    }
    return _json({name: item for name, item in value.items() if item is not None})


def decode_happening(happening_id: str, text: str) -> Happening:
    value = orjson.loads(text)
    return Happening(
        id=happening_id,
        type=EventType(value["type"]),
        at=from_ms(value["at"]),
        provider=value["provider"],
        attempt=value["attempt"],
        recipient=value["recipient"],
        bounce=_bounce(value.get("bounce")),
        code=value.get("code"),
        reason=value.get("reason"),
        url=value.get("url"),
        automatic=value.get("automatic", False),
    )


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
        "repeats": attempt.repeats or None,
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
        repeats=value.get("repeats", 0),
    )


def _moment_text(at: datetime | None) -> str | None:
    return None if at is None else str(to_ms(at))


def _flag(value: bool) -> str | None:
    return "1" if value else None


def _engagement_text(engagement: Engagement | None) -> str | None:
    return None if engagement is None else _json(_engagement_to_json(engagement))


_FIELDS: tuple[tuple[str, str, Callable[[Any], str | None]], ...] = (
    ("key", "key", str),
    ("state", "state", lambda state: state.value),
    ("created", "created_at", _moment_text),
    ("updated", "updated_at", _moment_text),
    ("expires", "expires_at", _moment_text),
    ("round", "round", str),
    ("envelope", "envelope", lambda envelope: _json(_envelope_to_json(envelope))),
    ("recipients", "recipients", lambda known: _json([_recipient_to_json(r) for r in known])),
    ("priority", "priority", lambda p: None if p is Priority.NORMAL else p.value),
    ("send_at", "send_at", _moment_text),
    ("cancelled", "cancelled", _flag),
    ("opened", "opened", _engagement_text),
    ("clicked", "clicked", _engagement_text),
    ("first_round", "first_round", lambda first: None if first == 1 else str(first)),
    ("order", "order", lambda names: _json(names) if names else None),
    ("possible_duplicate", "possible_duplicate", _flag),
    ("reason", "reason", lambda reason: reason),
    ("next", "next_attempt_at", _moment_text),
    ("grace", "grace_until", _moment_text),
)
"""The fields of a record: each with the attribute of the message that it holds, and how that is
written; None where there is nothing to write."""
