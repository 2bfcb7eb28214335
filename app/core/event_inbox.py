"""Where events rest between the webhook that brought them and the worker that applies them.

A webhook is answered with 2xx only when its events are written here; they leave when a worker has
applied them. Events that a worker took and did not finish come back by themselves.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson
import structlog

from app.core import keys, records
from app.core.models import OURS
from app.core.scripting import Scripts, StoreUnavailable
from app.core.steps import Command
from providers.types import Bounce, DeliveryEvent, EventType
from providers.webhooks import WebhookContent

log = structlog.get_logger(__name__)

MOST_EVENTS = 1_000_000
"""So many may wait to be applied; providers keep what comes then, and send it again."""

_KIND = re.compile(r"[\w .:-]{1,40}", re.ASCII)


class InboxFull(StoreUnavailable):
    """Too many events wait: they should be sent again later."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that is to be applied; `text` is how it is kept."""

    provider: str
    event: DeliveryEvent
    received_at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What a provider has told us so far, by webhooks or when it was asked, and when last.

    `strays` are events of mail that is not ours or no longer kept, `given_up` those that could not
    be applied, `repeated` are webhooks that came before, and `ignored` those that mean nothing to
    us, by their kind. What a provider tells again when it is asked counts again.
    """

    last_at: datetime | None = None
    events: int = 0
    repeated: int = 0
    strays: int = 0
    given_up: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)


class EventInbox:
    """The events that wait; safe to use from several threads at once."""

    def __init__(self, scripts: Scripts, most: int = MOST_EVENTS) -> None:
        self._scripts = scripts
        self._most = most

    def receive(self, provider: str, content: WebhookContent, now: datetime) -> bool:
        """Keeps what a webhook told; False if it is a repetition. Raises StoreUnavailable."""
        token = ""
        if content.token is not None:
            named = f"{provider} {content.token}".encode()
            token = keys.webhook_token(hashlib.sha256(named).hexdigest()[:32])
        # Names that no provider of ours has would fill the counters with anything.
        ignored = [kind if _KIND.fullmatch(kind) else "other" for kind in content.ignored]
        answer = self._scripts.run(
            "events_in",
            [],
            [
                provider,
                records.to_ms(now),
                token,
                content.token_lasts // timedelta(milliseconds=1),
                self._most,
                len(ignored),
                *ignored,
                *(_encode(provider, event, now) for event in content.events),
            ],
        )
        if answer == "full":
            raise InboxFull("too many events wait to be applied")
        return bool(answer == "kept")

    def note(self, event: DeliveryEvent) -> None:
        """Keeps what we have seen ourselves. Where that cannot be, it is lost: nobody waits for it,
        and nobody tells it again."""
        try:
            self.receive(OURS, WebhookContent((event,)), event.occurred_at)
        except StoreUnavailable as error:
            log.warning("event lost", type=event.type, attempt=event.attempt_id, reason=str(error))

    def take(self, now: datetime, lease: timedelta, count: int) -> list[Pending]:
        """Takes events whose turn it is; they are the caller's for the length of the lease."""
        arguments = [records.to_ms(now), records.to_ms(now + lease), count]
        return [_decode(text) for text in self._scripts.run("events_take", [], arguments)]

    def still_has(self, pending: Sequence[Pending]) -> set[str]:
        """The texts of those events that nobody has finished with."""
        if not pending:
            return set()
        texts = [one.text for one in pending]
        found = self._scripts.read(lambda r: r.zmscore(keys.EVENTS, texts))
        return {text for text, due in zip(texts, found, strict=True) if due is not None}

    def postpone(self, pending: Iterable[Pending], until: datetime) -> None:
        """Has events come again at this time."""
        due = {one.text: records.to_ms(until) for one in pending}
        if due:
            self._scripts.read(lambda r: r.zadd(keys.EVENTS, due, xx=True))

    def done(self, finished: Sequence[tuple[Pending, Sequence[Command]]]) -> str:
        """Forgets events; the commands of each are done once. Returns what failed of those."""
        if not finished:
            return ""
        arguments: list[str | int] = []
        for pending, commands in finished:
            arguments += [pending.text, records.encode_commands(commands) if commands else ""]
        return str(self._scripts.run("events_done", [], arguments))

    def waiting(self) -> int:
        """How many events wait to be applied."""
        return int(self._scripts.read(lambda r: r.zcard(keys.EVENTS)))

    def counts(self) -> dict[str, dict[str, int]]:
        """By provider: how many `events` came, of which kinds some were ignored, and so on.

        `last` is when the last webhook came, in milliseconds since 1970.
        """
        found: dict[str, dict[str, int]] = {}
        for name, number in self._scripts.read(lambda r: r.hgetall(keys.WEBHOOKS)).items():
            provider, _, what = name.partition(" ")
            found.setdefault(provider, {})[what] = int(number)
        return found

    def heard(self) -> dict[str, Heard]:
        """What those who have told us anything have told us, by provider."""
        return {provider: _heard(found) for provider, found in self.counts().items()}

    def polled_until(self, provider: str) -> datetime | None:
        """Up to when the events that a provider keeps have been read."""
        ms = self._scripts.read(lambda r: r.get(keys.polled(provider)))
        return None if ms is None else records.from_ms(ms)

    def set_polled(self, provider: str, until: datetime, keep: timedelta) -> None:
        value = records.to_ms(until)
        self._scripts.read(lambda r: r.set(keys.polled(provider), value, px=keep))


def finished_with(pending: Pending) -> Command:
    """The command that takes an event out of the inbox."""
    return ("ZREM", keys.EVENTS, pending.text)


def count(provider: str, what: str) -> Command:
    """The command that counts one more of something."""
    return ("HINCRBY", keys.WEBHOOKS, f"{provider} {what}", 1)


def _heard(counts: Mapping[str, int]) -> Heard:
    last = counts.get("last")
    kinds = ((what.partition(" "), number) for what, number in counts.items())
    return Heard(
        None if last is None else records.from_ms(last),
        counts.get("events", 0),
        counts.get("repeated", 0),
        counts.get("strays", 0),
        counts.get("given up", 0),
        {kind: number for (what, _, kind), number in sorted(kinds) if what == "ignored"},
    )


def _encode(provider: str, event: DeliveryEvent, now: datetime) -> str:
    value = {
        "provider": provider,
        "received": records.to_ms(now),
        "id": event.id,
        "type": event.type,
        "at": records.to_ms(event.occurred_at),
        "recipient": event.recipient or None,
        "attempt_id": event.attempt_id,
        "message_id": event.provider_message_id,
        "bounce": event.bounce,
        "code": event.code,
        "reason": event.reason,
        "url": event.url,
        "automatic": event.automatic or None,
    }
    # Lone surrogates, which JSON can bring, have no place in UTF-8.
    kept = {n: _clean(v) if isinstance(v, str) else v for n, v in value.items() if v is not None}
    return orjson.dumps(kept).decode()


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _decode(text: str) -> Pending:
    value = orjson.loads(text)
    bounce = value.get("bounce")
    event = DeliveryEvent(
        id=value["id"],
        type=EventType(value["type"]),
        occurred_at=records.from_ms(value["at"]),
        recipient=value.get("recipient", ""),
        attempt_id=value.get("attempt_id"),
        provider_message_id=value.get("message_id"),
        bounce=None if bounce is None else Bounce(bounce),
        code=value.get("code"),
        reason=value.get("reason"),
        url=value.get("url"),
        automatic=value.get("automatic", False),
    )
    return Pending(value["provider"], event, records.from_ms(value["received"]), text)
