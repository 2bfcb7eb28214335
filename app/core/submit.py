"""Accepting messages: what an application asked for becomes a record and a job at once."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

import orjson
import structlog
from msgspec import Struct
from msgspec.structs import asdict

from app.core import ids, lifecycle
from app.core.backlog import Backlog
from app.core.models import (
    UNTRACKED,
    AttachedFile,
    Body,
    Clock,
    Envelope,
    Message,
    MessageState,
    OnUnknown,
    Priority,
    Recipient,
    RecipientKind,
    TemplateUsed,
    Track,
)
from app.core.plain_text import text_of
from app.core.records import to_ms
from app.core.rendering import TemplateFaults
from app.core.scripting import StoreUnavailable, WriteInDoubt
from app.core.store import AcceptResult, Idempotency, MessageStore
from app.core.suppression import Suppression, Suppressions, members
from app.core.templates import Templates
from providers.types import Address, Attachment

log = structlog.get_logger(__name__)

_MOST_LOOKED_UP = 10_000
"""Places in the list of suppressions that the step looks at which accepts."""

IDEMPOTENCY_KEPT = timedelta(hours=24)
"""Counted from when the mail was due."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid request to send one message; None stands for what was not given.

    It has a subject and content, or a template; then it gets `template_version` with its content.
    """

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
    failover_on_block: bool | None = None
    expires_at: datetime | None = None
    send_at: datetime | None = None
    priority: Priority = Priority.NORMAL
    template: str | None = None
    variables: Mapping[str, Any] | None = None
    template_version: int | None = None
    attachments: tuple[Attachment, ...] = ()
    unsubscribe: bool = False
    override_suppression: str | None = None
    track: Track = UNTRACKED
    callback_url: str | None = None


Faults = Mapping[str, list[str]]
"""Why a request was not accepted: texts by the path of the field."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission; `replayed` if it is that of an earlier, equal request."""

    message_id: str
    replayed: bool = False
    state: MessageState = MessageState.QUEUED


@dataclass(frozen=True, slots=True)
class Batch:
    """The answer to several requests in one, in their order: what was accepted, or why not."""

    entries: tuple[Submitted | Faults, ...]
    replayed: bool = False


class IdempotencyMismatch(Exception):
    """The Idempotency-Key was used before, with another request."""


class BacklogFull(StoreUnavailable):
    """There is too much unfinished mail, or too little memory for more. Nothing has been kept."""


class AcceptInDoubt(Exception):
    """Messages were written or not: the answer was lost. The same Idempotency-Key settles it."""

    def __init__(self, *message_ids: str) -> None:
        super().__init__(f"{' '.join(message_ids)} may or may not have been accepted")
        self.message_ids = message_ids


class _Listed(Exception):
    """Somebody may be suppressed, so that nothing was written."""


class Submitter:
    """Accepts messages.

    `on_unknown`, `failover_on_block` and `expiry` are for those that do not say themselves.

    Without a `backlog`, there may be any number of them. Those that go to nobody, as all of their
    recipients are among the `suppressions`, have ended then, and are kept for `retention`.
    """

    def __init__(
        self,
        store: MessageStore,
        on_unknown: OnUnknown,
        expiry: timedelta,
        clock: Clock,
        backlog: Backlog | None = None,
        templates: Templates | None = None,
        suppressions: Suppressions | None = None,
        retention: timedelta | None = None,
        failover_on_block: bool = False,
    ) -> None:
        self._failover_on_block = failover_on_block
        self._templates = templates
        self._suppressions = suppressions
        self._retention = retention
        self._store = store
        self._backlog = backlog
        self._on_unknown = on_unknown
        self._expiry = expiry
        self._clock = clock

    def submit(
        self, api_key: str, submission: Submission, idempotency_key: str | None, fingerprint: str
    ) -> Submitted:
        """Writes the message and rings for it when it is due, in one step.

        `fingerprint` stands for the parsed request. Raises IdempotencyMismatch, AcceptInDoubt,
        BacklogFull, StoreUnavailable, TemplateFaults and RenderingBusy; nothing is kept then, but
        for what is in doubt. A message whose time is over already is accepted like any other, and
        expires.
        """
        (request,) = self.rendered(api_key, [submission])
        if not isinstance(request, Submission):
            earlier = self.replay(api_key, idempotency_key, fingerprint)
            if earlier is None:
                raise TemplateFaults(request)
            return cast("Submitted", earlier.entries[0])
        (entry,) = self.submit_batch(api_key, [request], idempotency_key, fingerprint).entries
        return cast("Submitted", entry)

    def rendered(
        self, api_key: str, requests: Sequence[Submission | Faults]
    ) -> list[Submission | Faults]:
        """The requests with the content that their templates come to, or with their faults.

        Raises StoreUnavailable and RenderingBusy.
        """
        return [
            self._rendered(api_key, request) if isinstance(request, Submission) else request
            for request in requests
        ]

    def _rendered(self, api_key: str, request: Submission) -> Submission | Faults:
        if request.template is None or self._templates is None:
            return request
        try:
            template, content = self._templates.content(
                api_key, request.template, request.variables or {}
            )
        except TemplateFaults as faults:
            return faults.errors
        return replace(
            request,
            subject=content.subject,
            text=content.text,
            html=content.html,
            template_version=template.version,
        )

    def replay(self, api_key: str, idempotency_key: str | None, fingerprint: str) -> Batch | None:
        """The answer to an earlier, equal request, for one that would be refused now.

        What was accepted by a template that has changed since stays accepted.
        """
        if idempotency_key is None:
            return None
        idempotency = Idempotency(_sha256(idempotency_key), fingerprint, self._clock())
        result: AcceptResult | None = self._store.replay(api_key, idempotency)
        if result is None:
            return None
        return Batch(_entries(result.answer, result.ids, True), True)

    def submit_batch(
        self,
        api_key: str,
        requests: Sequence[Submission | Faults],
        idempotency_key: str | None,
        fingerprint: str,
    ) -> Batch:
        """Writes several messages, at least one, as `submit` does: all in the same step.

        They are `rendered` already.

        What has faults is not written; its faults are part of the answer.
        """
        submissions = [request for request in requests if isinstance(request, Submission)]
        # Mostly nobody is on the list, which the step that accepts finds out by itself.
        unless = [] if self._suppressions is None else members(_emails(submissions))
        if len(unless) <= _MOST_LOOKED_UP:
            with contextlib.suppress(_Listed):
                return self._written(api_key, requests, idempotency_key, fingerprint, {}, unless)
        listed = self._listed(submissions)
        return self._written(api_key, requests, idempotency_key, fingerprint, listed)

    def _written(
        self,
        api_key: str,
        requests: Sequence[Submission | Faults],
        idempotency_key: str | None,
        fingerprint: str,
        listed: Mapping[str, Suppression],
        unless: Sequence[str] = (),
    ) -> Batch:
        """The messages, written. Raises _Listed where one of `unless` is on the list."""
        now = self._clock()
        submissions = [request for request in requests if isinstance(request, Submission)]
        accepted = [
            (self._message(api_key, submission, now, listed), _body(submission))
            for submission in submissions
        ]
        messages = [message for message, _ in accepted]
        answer = _answer(requests, messages)
        idempotency = None
        if idempotency_key is not None:
            last_due = max(message.send_at or now for message in messages)
            idempotency = Idempotency(
                _sha256(idempotency_key),
                fingerprint,
                max(last_due, now) + IDEMPOTENCY_KEPT,
                answer,
            )
        priorities = {message.priority for message in messages}
        room = None if self._backlog is None else self._backlog.room(*priorities)
        try:
            result = self._store.accept(accepted, idempotency, room, self._retention, unless)
        except WriteInDoubt as error:
            raise AcceptInDoubt(*(message.id for message in messages)) from error
        if result.kind == "listed":
            raise _Listed
        if result.kind == "mismatch":
            raise IdempotencyMismatch
        if result.kind == "full":
            raise BacklogFull
        replayed = result.kind == "replayed"
        if not replayed:
            _log_overridden(messages, listed)
        return Batch(
            _entries(result.answer if replayed else answer, result.ids, replayed), replayed
        )

    def _listed(self, submissions: Sequence[Submission]) -> Mapping[str, Suppression]:
        """What stands against the recipients, by address."""
        if self._suppressions is None:
            return {}
        return self._suppressions.find(_emails(submissions))

    def _message(
        self,
        api_key: str,
        submission: Submission,
        now: datetime,
        listed: Mapping[str, Suppression],
    ) -> Message:
        due = max(submission.send_at or now, now)
        message = Message(
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
                failover_on_block=self._failover_on_block
                if submission.failover_on_block is None
                else submission.failover_on_block,
                expires_at=submission.expires_at,
                template=_template_used(submission),
                attachments=tuple(map(_attached, submission.attachments)),
                unsubscribe=submission.unsubscribe,
                override_suppression=submission.override_suppression,
                track=submission.track,
                callback_url=submission.callback_url,
            ),
            recipients=_recipients(submission),
            state=MessageState.QUEUED,
            created_at=now,
            updated_at=now,
            expires_at=submission.expires_at or due + self._expiry,
            priority=submission.priority,
            send_at=submission.send_at,
        )
        if listed and submission.override_suppression is None:
            reasons = {
                r.email: listed[r.email].in_words for r in message.recipients if r.email in listed
            }
            message = lifecycle.suppressed(message, reasons, now)
        if due == now or not lifecycle.outstanding(message):
            return message
        return lifecycle.scheduled(message, due, message.expires_at, now)


def _emails(submissions: Sequence[Submission]) -> Iterator[str]:
    return (address.email for s in submissions for address in (*s.to, *s.cc, *s.bcc))


def fingerprint(request: Any) -> str:
    """What tells one parsed request from another: the SHA-256 of its JSON with sorted keys."""
    text = orjson.dumps(request, default=_as_json, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def _as_json(value: Any) -> str | dict[str, Any]:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Struct):
        return asdict(value)
    raise TypeError


def _answer(requests: Sequence[Submission | Faults], messages: Sequence[Message]) -> str:
    """What the answer says besides ids: for each request its state, or its faults."""
    states = iter(message.state for message in messages)
    said = [next(states) if isinstance(r, Submission) else r for r in requests]
    return orjson.dumps(said).decode()


def _entries(
    answer: str, message_ids: Sequence[str], replayed: bool
) -> tuple[Submitted | Faults, ...]:
    ids_in_order = iter(message_ids)
    said_in_order = orjson.loads(answer) if answer else [MessageState.QUEUED] * len(message_ids)
    return tuple(
        Submitted(next(ids_in_order), replayed, MessageState(said))
        if isinstance(said, str)
        else said
        for said in said_in_order
    )


def _log_overridden(messages: Sequence[Message], listed: Mapping[str, Suppression]) -> None:
    for message in messages:
        why = message.envelope.override_suppression
        against = sorted({listed[r.email].reason for r in message.recipients if r.email in listed})
        if why is not None and against:
            log.warning(
                "suppression overridden",
                message=message.id,
                key=message.key,
                against=against,
                why=why,
            )


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
    # That of a template was made with it, within limits.
    if text is None and submission.html is not None and submission.template is None:
        text = text_of(submission.html)
    return Body(text, submission.html, submission.attachments)


def _attached(file: Attachment) -> AttachedFile:
    return AttachedFile(file.filename, file.content_type, len(file.content), file.content_id)


def _template_used(submission: Submission) -> TemplateUsed | None:
    if submission.template is None or submission.template_version is None:
        return None
    return TemplateUsed(submission.template, submission.template_version)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
