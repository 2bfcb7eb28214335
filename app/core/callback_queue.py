"""Deliveries of callbacks: waiting in lanes for their time, being tried, and what became of them.

A lane is where one callback leads, or one host that messages name: however slow or broken it is,
others do not wait for it. A delivery is taken for the length of a lease, so that one whose worker
dies comes back by itself, and is made at least once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, cast

import orjson

from app.core import callback_book, keys
from app.core.callback_book import Endpoint
from app.core.callback_events import CallbackEvent
from app.core.records import from_ms, to_ms
from app.core.scripting import Scripts

KEPT = timedelta(days=8)
"""So long a delivery can be looked at and replayed, counted from when it began."""
MOST_WAITING = 100_000
"""So many may wait in a lane; what comes then is left out, and counted."""
MOST_OVER = 1000
"""So many that are over are kept of each callback."""
MOST_TRIES_KEPT = 24

_AT_ONCE = 8
_AT_ONCE_FAILING = 1
_KEPT_MS = KEPT // timedelta(milliseconds=1)


class DeliveryState(StrEnum):
    """What became of a delivery; `failed` where it is given up."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Try:
    """One request to an application; `status_code` is None, and `error` says why, where no answer
    came. `answer` is how that begins."""

    at: datetime
    duration_ms: int
    status_code: int | None = None
    error: str | None = None
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event that one callback is told of; `count` is the tries since it was last asked for."""

    id: str
    event: CallbackEvent
    message_id: str
    url: str
    body: str
    created_at: datetime
    state: DeliveryState = DeliveryState.WAITING
    tries: tuple[Try, ...] = ()
    count: int = 0
    next_try_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that is the taker's until `lease_end`; `failing` if the last one there failed."""

    delivery: Delivery
    endpoint: Endpoint
    lane: str
    failing: bool
    lease_end: datetime


@dataclass(frozen=True, slots=True)
class Condition:
    """How it went with a callback lately; `left_out` counts what there was no room for."""

    last_try_at: datetime | None = None
    last_fault: str | None = None
    failing_since: datetime | None = None
    left_out: int = 0


class CallbackQueue:
    """The deliveries in Redis. Safe to use from several threads at once.

    Every method raises StoreUnavailable; what writes may raise WriteInDoubt, and may be repeated.
    """

    def __init__(self, scripts: Scripts, most_over: int = MOST_OVER) -> None:
        self._scripts = scripts
        self._most_over = most_over

    def take(
        self, now: datetime, lease: timedelta, room: int, room_for_failing: int
    ) -> list[Taken]:
        """Takes what is due, as far as there is room; a part of which is for lanes that fail."""
        lease_end = now + lease
        found = self._scripts.run(
            "callback_take",
            [],
            [
                to_ms(now),
                to_ms(lease_end),
                room,
                room_for_failing,
                _AT_ONCE,
                _AT_ONCE_FAILING,
            ],
        )
        return [
            Taken(
                _decode(delivery_id, dict(zip(record[::2], record[1::2], strict=True))),
                _endpoint(lane, text),
                lane,
                failing == "1",
                from_ms(to_ms(lease_end)),
            )
            for lane, delivery_id, failing, text, record in found
        ]

    def done(
        self,
        taken: Taken,
        last: Try,
        now: datetime,
        state: DeliveryState,
        next_try_at: datetime | None = None,
        rest_until: datetime | None = None,
    ) -> bool:
        """Writes down how a try went; False where the delivery is no longer the caller's."""
        delivery = taken.delivery
        tries = (*delivery.tries, last)[-MOST_TRIES_KEPT:]
        fault = ""
        if not is_taken(last):
            fault = last.error or f"answered {last.status_code}"
        answer = self._scripts.run(
            "callback_done",
            [],
            [
                taken.lane,
                f"{taken.endpoint.key}:{taken.endpoint.id}",
                delivery.id,
                to_ms(taken.lease_end),
                to_ms(now),
                state,
                "" if next_try_at is None else to_ms(next_try_at),
                orjson.dumps([_try_to_json(one) for one in tries]).decode(),
                delivery.count + 1,
                fault,
                "" if rest_until is None else to_ms(rest_until),
                _KEPT_MS,
                self._most_over,
            ],
        )
        return bool(answer == "written")

    def replay(
        self, endpoint: Endpoint, delivery_id: str, now: datetime
    ) -> Literal["planned", "busy", "gone"]:
        """Has a delivery tried again at once, under the same id."""
        scope = f"{endpoint.key}:{endpoint.id}"
        answer = self._scripts.run(
            "callback_replay", [], [scope, delivery_id, to_ms(now), _KEPT_MS]
        )
        return cast("Literal['planned', 'busy', 'gone']", answer)

    def page(
        self, endpoint: Endpoint, after: str | None, limit: int
    ) -> tuple[list[Delivery], str | None]:
        """Deliveries of a callback, the latest first, and where the next page begins."""
        log = keys.callback_log(endpoint.key, endpoint.id)
        start = 0
        if after is not None:
            place = self._scripts.read(lambda r: r.zrevrank(log, after))
            if place is None:
                return [], None
            start = place + 1
        ids = self._scripts.read(lambda r: r.zrevrange(log, start, start + limit))
        found = self._read(endpoint, ids[:limit])
        return found, ids[limit - 1] if len(ids) > limit else None

    def _read(self, endpoint: Endpoint, ids: Sequence[str]) -> list[Delivery]:
        scope = (endpoint.key, endpoint.id)

        def read(redis: Any) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for delivery_id in ids:
                pipeline.hgetall(keys.callback_delivery(*scope, delivery_id))
            return cast("list[Any]", pipeline.execute())

        records = self._scripts.read(read) if ids else []
        return [
            _decode(delivery_id, record)
            for delivery_id, record in zip(ids, records, strict=True)
            if record
        ]

    def conditions(self, endpoints: Sequence[Endpoint]) -> list[Condition]:
        """How it went lately, in the order of the callbacks."""

        def read(redis: Any) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for endpoint in endpoints:
                pipeline.hgetall(keys.callback_lane(endpoint.key, endpoint.id))
            return cast("list[Any]", pipeline.execute())

        return [
            Condition(
                from_ms(known["last_at"]) if "last_at" in known else None,
                known.get("last_fault") or None,
                from_ms(known["failing_since"]) if "failing_since" in known else None,
                int(known.get("left_out", 0)),
            )
            for known in self._scripts.read(read)
        ]


def is_taken(one: Try) -> bool:
    """Whether the application took what it was told."""
    return one.status_code is not None and 200 <= one.status_code < 300


def _endpoint(lane: str, text: str) -> Endpoint:
    api_key, endpoint_id, *_ = lane.split(":")
    return callback_book.decode(api_key, endpoint_id, text)


def encode(delivery: Delivery, lane: str) -> dict[str, str]:
    """A new delivery as it is kept."""
    return {
        "event": delivery.event.value,
        "message": delivery.message_id,
        "url": delivery.url,
        "body": delivery.body,
        "created": str(to_ms(delivery.created_at)),
        "state": delivery.state.value,
        "lane": lane,
    }


def _decode(delivery_id: str, record: Mapping[str, str]) -> Delivery:
    return Delivery(
        id=delivery_id,
        event=CallbackEvent(record["event"]),
        message_id=record["message"],
        url=record["url"],
        body=record["body"],
        created_at=from_ms(record["created"]),
        state=DeliveryState(record["state"]),
        tries=tuple(_try_from_json(value) for value in orjson.loads(record.get("tries", "[]"))),
        count=int(record.get("count", 0)),
        next_try_at=from_ms(record["next"]) if record.get("next") else None,
    )


def _try_to_json(one: Try) -> list[Any]:
    return [to_ms(one.at), one.duration_ms, one.status_code, one.error, one.answer]


def _try_from_json(value: list[Any]) -> Try:
    at, duration_ms, status_code, error, answer = value
    return Try(from_ms(at), duration_ms, status_code, error, answer)
