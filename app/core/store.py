"""Where messages live: Redis, through scripts that each move them in one atomic step.

No command is sent twice by itself. Repeating a move is safe: it carries a token of its own.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from redis import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from app.core import keys, queue, records
from app.core.models import Body, Evidence, Message
from app.core.scripting import Scripts, StoreUnavailable, WriteInDoubt


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that is ours to work on, with its body."""

    message: Message
    body: Body


@dataclass(frozen=True, slots=True)
class Change:
    """A message as it was seen and as it is to be.

    `ring` puts it into the queue, `lease_until` extends its lease and refuses the move where that
    has run out, `lease_over` refuses the move where somebody's lease holds, `drop_body` deletes the
    content, and `keep` is set where the message has ended: how long its record stays. With
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
    keep: timedelta | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key: the hash of its text, the request's fingerprint, and its end."""

    key_hash: str
    fingerprint: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that the server uses, and that it may use at most; 0 where it has no limit."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class AcceptResult:
    """What became of a request to accept; `ids` are those of the first answer if replayed."""

    kind: Literal["accepted", "replayed", "mismatch", "full"]
    ids: tuple[str, ...]


class MessageStore:
    """The messages in Redis. Safe to use from several threads at once.

    Given `replica_within`, accepting messages, promising to send one again and opening an attempt
    are in doubt until a replica has confirmed them, which is waited for this long.
    """

    def __init__(self, redis: Redis, replica_within: timedelta | None = None) -> None:
        self._scripts = Scripts(redis, replica_within)

    def accept(
        self,
        messages: Sequence[tuple[Message, Body]],
        idempotency: Idempotency | None,
        room: int | None = None,
    ) -> AcceptResult:
        """Writes new messages of one API key, with their jobs and the Idempotency-Key, or none.

        None are written where there would be more than `room` unfinished messages then.
        """
        first = messages[0][0]
        arguments: list[str | int] = [
            idempotency.fingerprint if idempotency else "",
            records.to_ms(idempotency.until) if idempotency else "",
            queue.rq_time(first.created_at),
            first.key,
            len(messages),
            "" if room is None else room,
        ]
        for message, body in messages:
            record = {"version": str(message.version), **records.encode(message)}
            due = message.next_attempt_at
            arguments += [message.id, message.state, records.encode_body(body)]
            arguments += ["" if due is None else records.to_ms(due), len(record)]
            arguments += [text for item in record.items() for text in item]
        key = keys.idempotency(first.key, idempotency.key_hash) if idempotency else ""
        answer, confirmed = self._scripts.exchange("accept", [key], arguments, confirm=True)
        kind, *ids = cast("list[str]", answer)
        if kind in ("accepted", "replayed") and not confirmed:
            raise WriteInDoubt("no replica has confirmed the write")
        known = tuple(ids) if kind == "replayed" else tuple(m.id for m, _ in messages)
        return AcceptResult(cast("Any", kind), known)

    def take(
        self, count: int, owner: str, now: datetime, lease: timedelta
    ) -> tuple[int, list[Claim]]:
        """Answers up to `count` rings: how many there were, and what was claimed by them."""
        return self._take(count, owner, now, lease, "")

    def claim(self, message_id: str, owner: str, now: datetime, lease: timedelta) -> Claim | None:
        """Claims one message by its id, if it is queued."""
        _, claims = self._take(1, owner, now, lease, message_id)
        return claims[0] if claims else None

    def _take(
        self, count: int, owner: str, now: datetime, lease: timedelta, message_id: str
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
        """Returns as soon as the queue holds something, or after the time.

        Moving the head of the queue onto itself waits without taking anything, so nothing is lost
        with a worker that dies here.
        """
        name = keys.RQ_QUEUE + queue.QUEUE
        self._scripts.read(lambda r: r.blmove(name, name, cast("int", seconds), "LEFT", "LEFT"))

    def move(self, change: Change) -> Message | None:
        """Writes the change if the message still is as it was seen.

        Returns the message as it now is, or None if somebody else has moved it or its lease has run
        out. Raises StoreUnavailable; the same change may be written again then.
        """
        try:
            return self._move(change)
        except WriteInDoubt:
            return self._move(change)

    def _move(self, change: Change) -> Message | None:
        before, after = records.encode(change.before), records.encode(change.after)
        written = {name: text for name, text in after.items() if before.get(name) != text}
        now = change.after.updated_at
        answer, confirmed = self._scripts.exchange(
            "move",
            [],
            [
                change.after.id,
                change.before.version,
                change.token,
                records.to_ms(now),
                queue.rq_time(now),
                _lease_argument(change),
                "1" if change.ring else "0",
                "drop" if change.drop_body else "keep",
                change.before.evidence,
                "" if change.keep is None else change.keep // timedelta(milliseconds=1),
                change.before.lease.owner if change.before.lease is not None else "",
                len(written),
                *[text for item in written.items() for text in item],
                *[name for name in before if name not in after],
            ],
            confirm=change.promised or change.lease_until is not None,
        )
        if answer != "moved":
            return None
        if not confirmed:
            raise WriteInDoubt("no replica has confirmed the write")
        return replace(change.after, version=change.before.version + 1)

    def append(self, message_id: str, evidence: Evidence) -> bool:
        """Adds evidence to a message, whoever has it; whether it is new. Safe to repeat."""
        field, text = records.evidence_field(evidence), records.encode_evidence(evidence)
        return bool(self._scripts.run("evidence", [], [message_id, field, text]) == 1)

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

    def due(self, now: datetime, limit: int) -> list[str]:
        """Ids of waiting messages whose time has come."""
        return self._up_to(keys.WAITING, now, limit)

    def abandoned(self, now: datetime, limit: int) -> list[str]:
        """Ids of messages whose lease has run out."""
        return self._up_to(keys.LEASED, now, limit)

    def _up_to(self, name: str, now: datetime, limit: int) -> list[str]:
        ms = records.to_ms(now)
        return cast(
            "list[str]",
            self._scripts.read(lambda r: r.zrangebyscore(name, "-inf", ms, start=0, num=limit)),
        )

    def ring_again(self, now: datetime, limit: int) -> list[str]:
        """Rings for queued messages whose job is gone; returns their ids."""
        return cast("list[str]", self._scripts.run("ring_again", [], [limit, queue.rq_time(now)]))

    def purge(self, now: datetime, limit: int) -> int:
        """Removes ended messages that have been kept long enough; returns how many."""
        return cast("int", self._scripts.run("purge", [], [records.to_ms(now), limit]))

    def lock_sweeping(self, owner: str, seconds: float) -> bool:
        """Whether the owner is the one who sweeps for the next seconds."""

        def lock(redis: Redis) -> bool:
            try:
                return bool(redis.set(keys.SWEEPER, owner, nx=True, px=int(seconds * 1000)))
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


def _lease_argument(change: Change) -> str | int:
    if change.lease_over:
        return "over"
    return "" if change.lease_until is None else records.to_ms(change.lease_until)
