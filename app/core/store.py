"""Where messages live: Redis, through scripts that each move them in one atomic step.

No command is sent twice by itself. Repeating a move is safe: it carries a token of its own.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import structlog
from msgspec import Struct, field
from msgspec.structs import replace
from redis import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import OutOfMemoryError, ResponseError

from app.core import keys, queue, records
from app.core.models import Body, Evidence, Happening, Message, MessageState
from app.core.scripting import PURGE_SLACK_MS, Scripts, StoreUnavailable, WriteInDoubt
from app.core.steps import Command, Observer, Step
from providers.types import Attachment

log = structlog.get_logger(__name__)


class Claim(Struct, frozen=True):
    """A message that is ours to work on, with its body.

    `suppressed` are those of its recipients who are on the list, by bare address, with the words
    for it; None where nobody has looked yet.
    """

    message: Message
    body: Body
    suppressed: Mapping[str, str] | None = None


class Change(Struct, frozen=True):
    """A message as it was seen and as it is to be.

    `ring` puts it into the queue, `lease_until` extends its lease and refuses the move where that
    has run out, `lease_over` refuses the move where somebody's lease holds, and `keep` is set where
    the message has ended: how long its record stays. Of the content, `drop_body` deletes it,
    `body_lasts` says how long it stays at most, and `needs_body` refuses the move where it is gone.
    `happenings` are what providers have reported, for the timeline; `also` is done with it. With
    `lease_until` or `promised`, the change is in doubt until a replica has confirmed it, where one
    has to. The same change may be written again where an answer was lost: it is known by its
    `token`.
    """

    before: Message
    after: Message
    ring: bool = False
    lease_until: datetime | None = None
    lease_over: bool = False
    promised: bool = False
    drop_body: bool = False
    body_lasts: timedelta | None = None
    needs_body: bool = False
    keep: timedelta | None = None
    happenings: tuple[Happening, ...] = ()
    also: tuple[Command, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def to_be_confirmed(self) -> bool:
        return self.promised or self.lease_until is not None


Moved = Message | None | WriteInDoubt | ResponseError
"""What a change among others came to: the message as it now is, None, or what `move` raises."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key: the hash of its text, the request's fingerprint, and its end.

    `answer` is what the answer says besides ids.
    """

    key_hash: str
    fingerprint: str
    until: datetime
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that the server uses, and that it may use at most; 0 where it has no limit."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class AcceptResult:
    """What became of a request to accept; if replayed, `ids` and `answer` are the first ones.

    If `listed`, nothing was written: somebody may be on the list of suppressions.
    """

    kind: Literal["accepted", "replayed", "mismatch", "full", "listed"]
    ids: tuple[str, ...]
    answer: str = ""


class MessageStore:
    """The messages in Redis. Safe to use from several threads at once.

    Given `replica_within`, accepting messages, promising to send one again and opening an attempt
    are in doubt until a replica has confirmed them, which is waited for this long. What `observers`
    say is written together with every step: see `steps`.
    """

    def __init__(
        self,
        redis: Redis,
        replica_within: timedelta | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._scripts = Scripts(redis, replica_within)
        self._observers = tuple(observers)

    def accept(
        self,
        messages: Sequence[tuple[Message, Body]],
        idempotency: Idempotency | None,
        room: int | None = None,
        keep: timedelta | None = None,
        unless: Sequence[str] = (),
    ) -> AcceptResult:
        """Writes new messages of one API key, with their jobs and the Idempotency-Key, or none.

        None are written where there would be more than `room` unfinished messages then, or where
        one of the members `unless` is on the list of suppressions. The records of those that go to
        nobody are kept for `keep`.
        """
        first = messages[0][0]
        arguments: list[str | int | bytes] = [
            idempotency.fingerprint if idempotency else "",
            records.to_ms(idempotency.until) if idempotency else "",
            queue.rq_time(first.created_at),
            first.key,
            len(messages),
            "" if room is None else room,
            self._also(
                *(Step(None, message) for message, _ in messages),
                more=_over_at_once([message for message, _ in messages], keep),
            ),
            idempotency.answer if idempotency else "",
            len(unless),
            *unless,
        ]
        for message, body in messages:
            record = {"version": str(message.version), **records.encode(message)}
            due = message.next_attempt_at
            arguments += [message.id, message.state, message.priority, records.encode_body(body)]
            arguments.append(records.encode_attachments(body.attachments))
            arguments += ["" if due is None else records.to_ms(due), len(record)]
            arguments += [text for item in record.items() for text in item]
        key = keys.idempotency(first.key, idempotency.key_hash) if idempotency else ""
        answer, confirmed = self._scripts.exchange("accept", [key], arguments, confirm=True)
        kind, *rest = cast("list[str]", answer)
        if kind in ("accepted", "replayed") and not confirmed:
            raise WriteInDoubt("no replica has confirmed the write")
        if kind == "replayed":
            first_answer, *ids = rest
            return AcceptResult("replayed", tuple(ids), first_answer)
        if kind == "accepted" and any(rest):
            log.error("not written with the messages", message=first.id, failed=rest)
        return AcceptResult(cast("Any", kind), tuple(m.id for m, _ in messages))

    def replay(self, api_key: str, idempotency: Idempotency) -> AcceptResult | None:
        """What was answered to an equal request with the same key; None if there was none."""
        key = keys.idempotency(api_key, idempotency.key_hash)
        arguments: list[str | int] = [idempotency.fingerprint, "", "", api_key, 0, "", "", "", 0]
        answer, confirmed = self._scripts.exchange("accept", [key], arguments, confirm=True)
        kind, *rest = cast("list[str]", answer)
        if kind != "replayed":
            return None
        if not confirmed:
            raise WriteInDoubt("no replica has confirmed the write")
        first_answer, *ids = rest
        return AcceptResult("replayed", tuple(ids), first_answer)

    def take(
        self,
        count: int,
        owner: str,
        now: datetime,
        lease: timedelta,
        *,
        lower: int | None = None,
        bulk: int | None = None,
    ) -> tuple[int, list[Claim]]:
        """Answers up to `count` rings: how many there were, and what was claimed by them.

        `lower` of them may be of less than high priority, and `bulk` may be bulk (None: all). Those
        of high priority come first.
        """
        return self._take(count, owner, now, lease, "", lower, bulk)

    def claim(self, message_id: str, owner: str, now: datetime, lease: timedelta) -> Claim | None:
        """Claims one message by its id, if it is queued."""
        _, claims = self._take(1, owner, now, lease, message_id)
        return claims[0] if claims else None

    def _take(
        self,
        count: int,
        owner: str,
        now: datetime,
        lease: timedelta,
        message_id: str,
        lower: int | None = None,
        bulk: int | None = None,
    ) -> tuple[int, list[Claim]]:
        until = now + lease
        popped, *found = self._scripts.run(
            "take",
            [],
            [
                count,
                owner,
                records.to_ms(now),
                records.to_ms(until),
                queue.rq_time(now),
                queue.STARTED_TTL,
                message_id,
                count if lower is None else lower,
                count if bulk is None else bulk,
            ],
        )
        claims = []
        for claimed_id, fields, body in found:
            record = dict(zip(fields[::2], fields[1::2], strict=True))
            claims.append(
                Claim(records.decode(claimed_id, record, until), records.decode_body(body))
            )
        return popped, claims

    def wait_for_ring(self, seconds: float) -> None:
        """Returns as soon as a ring has come since the queues were found empty, or after the time.

        All queues ring one bell, since one command can wait for one list. Moving its head onto
        itself waits without taking anything, so every worker that waits hears it.
        """
        bell = keys.BELL
        self._scripts.read(lambda r: r.blmove(bell, bell, cast("int", seconds), "LEFT", "LEFT"))

    def move(self, change: Change) -> Message | None:
        """Writes the change if the message still is as it was seen.

        Returns the message as it now is, or None if somebody else has moved it or its lease has run
        out. Raises StoreUnavailable; the same change may be written again then.
        """
        (moved,) = self.move_many([change])
        if isinstance(moved, Exception):
            raise moved
        return moved

    def move_many(self, changes: Sequence[Change]) -> list[Moved]:
        """Writes changes of different messages in one round trip, each by itself as `move` does.

        Returns for each what `move` would return or raise. Raises StoreUnavailable for all of them.
        """
        if not changes:
            return []
        try:
            moved = self._move_many(changes)
        except WriteInDoubt:
            return self._move_many(changes)
        again = [place for place, answer in enumerate(moved) if isinstance(answer, WriteInDoubt)]
        if again:
            answers = self._move_many([changes[place] for place in again])
            for place, answer in zip(again, answers, strict=True):
                moved[place] = answer
        return moved

    def _move_many(self, changes: Sequence[Change]) -> list[Moved]:
        arguments: list[str | int] = []
        for change in changes:
            step = Step(change.before, change.after, change.happenings)
            also = self._also(step, more=change.also)
            arguments += _move_arguments(change, also)
        confirm = any(change.to_be_confirmed for change in changes)
        answers, confirmed = self._scripts.exchange("move", [], arguments, confirm=confirm)
        return [
            _moved(change, answer, confirmed)
            for change, answer in zip(changes, answers, strict=True)
        ]

    def _also(self, *steps: Step, more: Iterable[Command] = ()) -> str:
        """What is written together with the steps, as the scripts read it."""
        commands: list[Command] = list(more)
        for step in steps:
            commands += _timeline(step)
            for observer in self._observers:
                commands += observer(step)
        return records.encode_commands(commands) if commands else ""

    def append(self, message_id: str, evidence: Evidence) -> bool:
        """Adds evidence to a message, whoever has it; whether it is new. Safe to repeat."""
        field, text = records.evidence_field(evidence), records.encode_evidence(evidence)
        return bool(self._scripts.run("evidence", [], [message_id, field, text]) == 1)

    def attachments(self, message_id: str) -> tuple[Attachment, ...]:
        """The files of a message; none where it has none, or they are no longer kept."""
        name = keys.attachments(message_id)
        # They are no text, whatever the client makes of everything else.
        value = self._scripts.read(lambda r: r.execute_command("GET", name, **{NEVER_DECODE: []}))  # type: ignore[no-untyped-call]
        return records.decode_attachments(value or b"")

    def has_body(self, message_id: str) -> bool:
        """Whether the content of the message is still kept."""
        return bool(self._scripts.read(lambda r: r.exists(keys.body(message_id))))

    def renew(self, leases: Iterable[tuple[str, int]], owner: str, until: datetime) -> set[str]:
        """Renews leases, given as pairs of message id and fence; returns the ids of those lost."""
        pairs = [part for pair in leases for part in pair]
        if not pairs:
            return set()
        return set(self._scripts.run("renew", [], [owner, records.to_ms(until), *pairs]))

    def get(self, message_id: str) -> Message | None:
        """The message, or None if there is none, or no longer."""
        return self.get_many([message_id])[0]

    def get_many(self, message_ids: Sequence[str]) -> list[Message | None]:
        """The messages in the order of the ids, in one round trip."""

        def read(redis: Redis) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for message_id in message_ids:
                pipeline.hgetall(keys.message(message_id))
                pipeline.zscore(keys.LEASED, message_id)
            return pipeline.execute()

        answers = self._scripts.read(read) if message_ids else []
        found: list[Message | None] = []
        for message_id, record, until in zip(message_ids, answers[::2], answers[1::2], strict=True):
            lease_until = None if until is None else records.from_ms(int(until))
            found.append(records.decode(message_id, record, lease_until) if record else None)
        return found

    def timeline(self, message_id: str) -> tuple[Happening, ...]:
        """What providers have reported of a message, oldest first."""
        found = self._scripts.read(lambda r: r.hgetall(keys.timeline(message_id)))
        happenings = (records.decode_happening(name, text) for name, text in found.items())
        return tuple(sorted(happenings, key=lambda happening: happening.at))

    def known_happenings(
        self, asked: Sequence[tuple[str, Sequence[str]]]
    ) -> list[tuple[set[str], int]]:
        """For each message: which of these reports are in its timeline, and how many it has."""

        def read(redis: Redis) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for message_id, names in asked:
                pipeline.hmget(keys.timeline(message_id), list(names))
                pipeline.hlen(keys.timeline(message_id))
            return pipeline.execute()

        answers = self._scripts.read(read) if asked else []
        return [
            ({name for name, text in zip(names, texts, strict=True) if text is not None}, length)
            for (_, names), texts, length in zip(asked, answers[::2], answers[1::2], strict=True)
        ]

    def page(
        self, api_key: str, state: str | None, before: str | None, since: str | None, limit: int
    ) -> list[str]:
        """Ids of an API key's messages, newest first: from `since` to less than `before`."""
        upper = "+" if before is None else f"({before}"
        lower = "-" if since is None else f"[{since}"
        name = keys.messages(api_key, state)
        return cast(
            "list[str]",
            self._scripts.read(lambda r: r.zrevrangebylex(name, upper, lower, 0, limit)),
        )

    def ring_due(self, now: datetime, limit: int) -> tuple[int, list[str]]:
        """Puts those whose time has come into their queues: how many, and the ids of the others.

        Those of high priority come first, and bulk last. The others are held for an answer, and
        their time is over.
        """
        rung, *others = self._scripts.run(
            "due", [], [records.to_ms(now), limit, queue.rq_time(now)]
        )
        return rung, others

    def keep_idempotency(self, message_id: str, until: datetime) -> None:
        """Keeps the Idempotency-Key of a waiting message, where it has one, at least so long."""
        self._scripts.run("prolong", [], [message_id, records.to_ms(until)])

    def abandoned(self, now: datetime, limit: int) -> list[str]:
        """Ids of messages whose lease has run out."""
        ms = records.to_ms(now)
        return cast(
            "list[str]",
            self._scripts.read(
                lambda r: r.zrangebyscore(keys.LEASED, "-inf", ms, start=0, num=limit)
            ),
        )

    def ring_again(self, now: datetime, limit: int) -> list[str]:
        """Rings for queued messages whose job is gone; returns their ids."""
        return cast("list[str]", self._scripts.run("ring_again", [], [limit, queue.rq_time(now)]))

    def purge(self, now: datetime, limit: int) -> int:
        """Removes ended messages that have been kept long enough; returns how many."""
        return cast("int", self._scripts.run("purge", [], [records.to_ms(now), limit]))

    def lock_sweeping(self, owner: str, seconds: float) -> bool:
        """Whether the owner is the one who sweeps for the next seconds."""
        return self._lock(keys.SWEEPER, owner, seconds)

    def lock_polling(self, owner: str, seconds: float) -> bool:
        """Whether the owner is the one who asks providers for events for the next seconds."""
        return self._lock(keys.POLLER, owner, seconds)

    def _lock(self, name: str, owner: str, seconds: float) -> bool:
        def lock(redis: Redis) -> bool:
            try:
                return bool(redis.set(name, owner, nx=True, px=int(seconds * 1000)))
            except OutOfMemoryError:
                # What sweeping does makes room, and does no harm if several do it.
                return True

        return cast("bool", self._scripts.read(lock))

    def fitness(self) -> tuple[dict[str, str], int]:
        """What is known of each provider, as text, and how many refused senders are remembered."""

        def read(redis: Redis) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            pipeline.hgetall(keys.FITNESS)
            pipeline.zcard(keys.REFUSED_SENDERS)
            return pipeline.execute()

        texts, refused_senders = self._scripts.read(read)
        return texts, refused_senders

    def write_fitness(self, name: str, version: int, text: str) -> bool:
        """Writes what is known of a provider, if nobody has since that version."""
        return bool(self._scripts.run("fitness", [], [name, version, text]))

    def sender_refused_until(self, name: str, domain: str) -> datetime | None:
        """Until when a provider's refusal of a From domain is remembered."""
        until = self._scripts.read(lambda r: r.zscore(keys.REFUSED_SENDERS, f"{name} {domain}"))
        return None if until is None else records.from_ms(int(until))

    def remember_refused_sender(self, name: str, domain: str, until: datetime) -> None:
        member = {f"{name} {domain}": records.to_ms(until)}
        self._scripts.read(lambda r: r.zadd(keys.REFUSED_SENDERS, member))

    def forget_refused_senders(self, now: datetime) -> None:
        """Drops what was remembered for long enough."""
        ms = records.to_ms(now)
        self._scripts.read(lambda r: r.zremrangebyscore(keys.REFUSED_SENDERS, "-inf", ms))

    def unfinished(self) -> dict[str, int]:
        """How many messages wait for their time, for a worker, and are in a worker's hands."""

        def read(redis: Redis) -> list[int]:
            pipeline = redis.pipeline(transaction=False)
            for name in (*keys.WAITING_BY_PRIORITY, keys.QUEUED, keys.LEASED):
                pipeline.zcard(name)
            return pipeline.execute()

        *waiting, queued, sending = self._scripts.read(read)
        return {"waiting": sum(waiting), "queued": queued, "sending": sending}

    def memory(self) -> Memory | None:
        """The server's memory; None where it does not say."""
        try:
            info = self._scripts.read(lambda r: r.info("memory"))
            return Memory(int(info["used_memory"]), int(info["maxmemory"]))
        except (ResponseError, KeyError):
            return None

    def ping(self) -> None:
        """Raises StoreUnavailable if Redis does not answer."""
        self._scripts.read(lambda r: r.ping())

    def check_ready(self) -> None:
        """Raises StoreUnavailable if Redis does not take writes now, or no replica has them."""
        # It writes nothing, and is refused like any write that needs memory.
        self._scripts.read(lambda r: r.setrange(keys.NOTHING, 0, ""))
        if not self._scripts.replicated():
            raise StoreUnavailable("Redis has no replica that keeps up with it")


def _over_at_once(messages: Sequence[Message], keep: timedelta | None) -> Iterator[Command]:
    """What the end of messages takes that go to nobody: their record goes, and no content stays."""
    for message in messages:
        if message.state is MessageState.SUPPRESSED:
            yield ("DEL", keys.body(message.id), keys.attachments(message.id))
            if keep is not None:
                kept = keep // timedelta(milliseconds=1)
                yield ("ZADD", keys.ENDED, records.to_ms(message.created_at) + kept, message.id)
                yield ("PEXPIRE", keys.message(message.id), kept + PURGE_SLACK_MS)


def _timeline(step: Step) -> list[Command]:
    if not step.happenings:
        return []
    pairs = [part for h in step.happenings for part in (h.id, records.encode_happening(h))]
    return [("HSET", keys.timeline(step.after.id), *pairs)]


def _move_arguments(change: Change, also: str) -> list[str | int]:
    """What the script that moves is told of one message."""
    written, deleted = records.changes(change.before, change.after)
    now, due = change.after.updated_at, change.after.next_attempt_at
    return [
        change.after.id,
        change.before.version,
        change.token,
        records.to_ms(now),
        queue.rq_time(now),
        _lease_argument(change),
        "1" if change.ring else "0",
        _body_argument(change),
        change.before.evidence,
        "" if change.keep is None else change.keep // timedelta(milliseconds=1),
        change.before.lease.owner if change.before.lease is not None else "",
        change.after.state,
        "" if due is None else records.to_ms(due),
        len(written),
        len(deleted),
        also,
        *[text for item in written.items() for text in item],
        *deleted,
    ]


def _lease_argument(change: Change) -> str | int:
    if change.lease_over:
        return "over"
    return "" if change.lease_until is None else records.to_ms(change.lease_until)


def _body_argument(change: Change) -> str | int:
    if change.needs_body:
        return "need"
    lasts = change.body_lasts
    if change.drop_body or (lasts is not None and lasts <= timedelta(0)):
        return "drop"
    return "keep" if lasts is None else lasts // timedelta(milliseconds=1)


def _moved(change: Change, answer: str, confirmed: bool) -> Moved:
    if answer.startswith("failed"):
        return ResponseError(answer)
    if not answer.startswith("moved"):
        return None
    if answer != "moved":
        log.error("left out of a step", message=change.after.id, error=answer)
    if change.to_be_confirmed and not confirmed:
        return WriteInDoubt("no replica has confirmed the write")
    return replace(change.after, version=change.before.version + 1)
