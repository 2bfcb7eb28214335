"""Accepting messages: what an application asked for becomes a record and a job at once."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from html2text import HTML2Text

from app.core import ids
from app.core.backlog import Backlog
from app.core.models import (
    Body,
    Clock,
    Envelope,
    Message,
    MessageState,
    OnUnknown,
    Recipient,
    RecipientKind,
)
from app.core.records import to_ms
from app.core.scripting import StoreUnavailable, WriteInDoubt
from app.core.store import Idempotency, MessageStore
from providers.types import Address

_IDEMPOTENCY_KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid request to send one message; None stands for what was not given."""

    sender: Address
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None
    providers: tuple[str, ...] = ()
    on_unknown: OnUnknown | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission; `replayed` if it is that of an earlier, equal request."""

    message_id: str
    replayed: bool = False


class IdempotencyMismatch(Exception):
    """The Idempotency-Key was used before, with another request."""


class BacklogFull(StoreUnavailable):
    """There is too much unfinished mail, or too little memory for more. Nothing has been kept."""


class AcceptInDoubt(Exception):
    """The message was written or not: the answer was lost. The same Idempotency-Key settles it."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"message {message_id} may or may not have been accepted")
        self.message_id = message_id


class Submitter:
    """Accepts messages; `on_unknown` and `expiry` are for those that do not say.

    Without a `backlog`, there may be any number of them.
    """

    def __init__(
        self,
        store: MessageStore,
        on_unknown: OnUnknown,
        expiry: timedelta,
        clock: Clock,
        backlog: Backlog | None = None,
    ) -> None:
        self._store = store
        self._backlog = backlog
        self._on_unknown = on_unknown
        self._expiry = expiry
        self._clock = clock

    def submit(
        self, api_key: str, submission: Submission, idempotency_key: str | None, fingerprint: str
    ) -> Submitted:
        """Writes the message and rings for it, in one step.

        `fingerprint` stands for the parsed request. Raises IdempotencyMismatch, AcceptInDoubt,
        BacklogFull and StoreUnavailable; nothing is kept then, but for what is in doubt. A message
        whose time is over already is accepted like any other, and expires.
        """
        now = self._clock()
        message = self._message(api_key, submission, now)
        idempotency = None
        if idempotency_key is not None:
            key_hash = _sha256(idempotency_key)
            idempotency = Idempotency(key_hash, fingerprint, now + _IDEMPOTENCY_KEPT)
        room = None if self._backlog is None else self._backlog.room()
        try:
            result = self._store.accept([(message, _body(submission))], idempotency, room)
        except WriteInDoubt as error:
            raise AcceptInDoubt(message.id) from error
        if result.kind == "mismatch":
            raise IdempotencyMismatch
        if result.kind == "full":
            raise BacklogFull
        return Submitted(result.ids[0], result.kind == "replayed")

    def _message(self, api_key: str, submission: Submission, now: datetime) -> Message:
        return Message(
            id=ids.new_message_id(to_ms(now)),
            key=api_key,
            envelope=Envelope(
                sender=submission.sender,
                reply_to=submission.reply_to,
                subject=submission.subject,
                headers=submission.headers,
                tags=submission.tags,
                metadata=submission.metadata or {},
                providers=submission.providers,
                on_unknown=submission.on_unknown or self._on_unknown,
            ),
            recipients=_recipients(submission),
            state=MessageState.QUEUED,
            created_at=now,
            updated_at=now,
            expires_at=submission.expires_at or now + self._expiry,
        )


def fingerprint(request: Any) -> str:
    """What tells one parsed request from another: the SHA-256 of its JSON with sorted keys."""
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _recipients(submission: Submission) -> tuple[Recipient, ...]:
    """Everybody once: to before cc before bcc."""
    kinds: tuple[tuple[RecipientKind, tuple[Address, ...]], ...] = (
        ("to", submission.to),
        ("cc", submission.cc),
        ("bcc", submission.bcc),
    )
    unique: dict[str, Recipient] = {}
    for kind, addresses in kinds:
        for address in addresses:
            recipient = Recipient(address.email, address.name, kind)
            unique.setdefault(address.email.casefold(), recipient)
    return tuple(unique.values())


def _body(submission: Submission) -> Body:
    """The content; where only HTML was given, a text is made from it."""
    text = submission.text
    if text is None and submission.html is not None:
        converter = HTML2Text(bodywidth=0)
        converter.ignore_images = True
        text = converter.handle(submission.html).strip() or None
    return Body(text, submission.html)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
