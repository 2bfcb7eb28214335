"""From what happened to what is delivered: each entry, for each callback that wants to know.

Entries are read, and taken from their list in the same step that writes the deliveries: whoever
dies in between leaves them to the next reader.
"""

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog

from app.core.callback_book import DEFAULT, CallbackBook, Endpoint
from app.core.callback_events import CallbackEvent, Listeners
from app.core.callback_queue import KEPT, MOST_WAITING, Delivery, encode
from app.core.callback_targets import BadTarget, parse
from app.core.models import Clock
from app.core.records import from_ms, to_ms
from app.core.scripting import Scripts

log = structlog.get_logger(__name__)

_BATCH = 200
_READER_MS = 1000
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class _Planned:
    lane: str
    endpoint: Endpoint
    delivery: Delivery


class CallbackFeed:
    """Puts what happened into the lanes of callbacks. One process at a time finds work to do."""

    def __init__(
        self,
        scripts: Scripts,
        book: CallbackBook,
        clock: Clock,
        listeners: Listeners | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._scripts = scripts
        self._most_waiting = most_waiting
        self._book = book
        self._clock = clock
        self._listeners = listeners
        self._reader = secrets.token_hex(8)

    def work(self) -> bool:
        """Handles what there is; whether there may be more. Raises StoreUnavailable."""
        asked_at = time.monotonic()
        api_keys, found = self._scripts.run("callback_feed", [], [self._reader, _READER_MS, _BATCH])
        if self._listeners is not None:
            self._listeners.note(api_keys, asked_at)
        for feed, before, entries in found:
            self._spread(feed, before, entries)
        return any(len(entries) == _BATCH for _, _, entries in found)

    def _spread(self, feed: str, before: int, entries: list[str]) -> None:
        now, known = self._clock(), dict[str, list[Endpoint]]()
        planned: list[_Planned] = []
        for text in entries:
            try:
                planned += self._planned(orjson.loads(text), known, now)
            except (KeyError, TypeError, ValueError):
                # A defect of ours: what it is about is not told, the others need not wait for it.
                log.exception("not told to applications", entry=text[:100])
        arguments: list[str | int] = [
            before,
            len(entries),
            entries[-1],
            to_ms(now),
            KEPT // _MILLISECOND,
            self._most_waiting,
        ]
        for each in planned:
            record = encode(each.delivery, each.lane)
            scope = f"{each.endpoint.key}:{each.endpoint.id}"
            arguments += [each.lane, scope, each.delivery.id, len(record)]
            arguments += [part for item in record.items() for part in item]
        left_out = self._scripts.run("callback_spread", [feed], arguments)
        if left_out != "stale" and int(left_out) > 0:
            log.error("callbacks left out: too many wait already", count=left_out)

    def _planned(
        self, entry: Mapping[str, Any], known: dict[str, list[Endpoint]], now: datetime
    ) -> Iterator[_Planned]:
        key, url = entry["key"], entry.get("url")
        if key not in known:
            known[key] = self._book.all(key)
        if url is None:
            wanted = [endpoint for endpoint in known[key] if endpoint.id != DEFAULT]
        else:
            wanted = [self._default(known[key])]
        for number, told in enumerate(entry["told"], 1):
            event, body = CallbackEvent(told["event"]), _body(entry, told)
            for endpoint in wanted:
                if endpoint.enabled and event in endpoint.events:
                    to = url or endpoint.url or ""
                    delivery = Delivery(
                        f"{entry['id']}-{number}", event, entry["message"], to, body, now
                    )
                    yield _Planned(_lane(endpoint, url), endpoint, delivery)

    def _default(self, endpoints: list[Endpoint]) -> Endpoint:
        """The default callback, which is the first of them; kept from now on, with a secret."""
        if not endpoints[0].secret:
            endpoints[0] = self._book.with_secret(endpoints[0]) or endpoints[0]
        return endpoints[0]


def _lane(endpoint: Endpoint, url: str | None) -> str:
    """One for each registered callback, and for each host that messages name."""
    if url is None:
        return f"{endpoint.key}:{endpoint.id}"
    try:
        origin = parse(url, allow_private=True).origin
    except BadTarget:
        origin = url
    return f"{endpoint.key}:{endpoint.id}:{hashlib.sha256(origin.encode()).hexdigest()[:16]}"


def _body(entry: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    at = from_ms(told["at"]).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {
        "message_id": entry["message"],
        **{name: value for name, value in told.items() if name not in ("event", "at")},
        "message_status": entry["message_status"],
        "possible_duplicate": entry["possible_duplicate"],
        "tags": entry["tags"],
        "metadata": entry["metadata"],
    }
    return orjson.dumps(
        {"type": f"message.{told['event']}", "timestamp": at, "data": data}
    ).decode()
