"""The callbacks that applications have registered: each of an API key, and seen by that key only.

Besides those there is one for each key, `default`, which is always there and has no URL: what it
says is for the messages that name a `callback_url` themselves.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import orjson

from app.core import callback_signing, keys
from app.core.callback_events import CallbackEvent
from app.core.models import Clock
from app.core.records import from_ms, to_ms
from app.core.scripting import Scripts, StoreUnavailable

DEFAULT = "default"
MOST_ENDPOINTS = 50
"""So many may be registered for a key."""
OLD_SECRET_KEPT = timedelta(hours=24)

_ALL = frozenset(CallbackEvent)
_TRIES = 5


class TooManyCallbacks(Exception):
    """There are as many for this key as there may be."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an API key's callbacks go; without a `url` where each message says so itself.

    `old_secret` signs as well until `old_until`. `disabled_because` is set where it was not the
    application that disabled it.
    """

    id: str
    key: str
    url: str | None
    created_at: datetime
    events: frozenset[CallbackEvent] = _ALL
    description: str = ""
    enabled: bool = True
    disabled_because: str | None = None
    secret: str = ""
    old_secret: str = ""
    old_until: datetime | None = None

    def secrets_at(self, now: datetime) -> tuple[str, ...]:
        """The secrets that callbacks are signed with, the newest first."""
        if self.old_until is None or self.old_until <= now:
            return (self.secret,)
        return (self.secret, self.old_secret)

    def rotated(self, now: datetime) -> "Endpoint":
        """With another secret; the one before goes on to sign for a day."""
        return replace(
            self,
            secret=callback_signing.new_secret(),
            old_secret=self.secret,
            old_until=now + OLD_SECRET_KEPT if self.secret else None,
        )


class CallbackBook:
    """What is registered, in Redis. Safe to use from several threads at once.

    Every method raises StoreUnavailable; what writes may raise WriteInDoubt.
    """

    def __init__(self, scripts: Scripts, clock: Clock) -> None:
        self._scripts = scripts
        self._clock = clock

    def all(self, api_key: str) -> list[Endpoint]:
        """The callbacks of a key, the oldest first; `default` stands before all others."""
        texts = self._scripts.read(lambda r: r.hgetall(keys.callbacks(api_key)))
        found = [decode(api_key, name, text) for name, text in texts.items() if name != DEFAULT]
        first = self._default(api_key, texts.get(DEFAULT))
        return [first, *sorted(found, key=lambda endpoint: (endpoint.created_at, endpoint.id))]

    def get(self, api_key: str, endpoint_id: str) -> Endpoint | None:
        """One of the callbacks of a key; None if it has none such."""
        return self._seen(api_key, endpoint_id)[1]

    def add(
        self,
        api_key: str,
        url: str,
        events: frozenset[CallbackEvent] = _ALL,
        description: str = "",
        enabled: bool = True,
    ) -> Endpoint:
        """Registers a callback: it is told of all that happens from now on.

        Raises TooManyCallbacks.
        """
        endpoint = Endpoint(
            id=f"cb_{secrets.token_hex(12)}",
            key=api_key,
            url=url,
            created_at=self._clock(),
            events=events,
            description=description,
            enabled=enabled,
            secret=callback_signing.new_secret(),
        )
        if self._write(endpoint, "") == "full":
            raise TooManyCallbacks
        return endpoint

    def change(
        self, api_key: str, endpoint_id: str, changed: Callable[[Endpoint], Endpoint]
    ) -> Endpoint | None:
        """Changes a callback; None if there is none such."""
        for _ in range(_TRIES):
            seen, endpoint = self._seen(api_key, endpoint_id)
            if endpoint is None:
                return None
            wanted = changed(endpoint)
            if self._write(wanted, seen) == "written":
                return wanted
        raise StoreUnavailable("others change the same callback all the time")

    def remove(self, api_key: str, endpoint_id: str) -> bool:
        """Forgets a callback, with what it was still to be told; whether there was one."""
        arguments: list[str | int] = [api_key, endpoint_id, "", "", MOST_ENDPOINTS]
        return bool(self._scripts.run("callback_write", [], arguments) == "removed")

    def with_secret(self, endpoint: Endpoint) -> Endpoint | None:
        """The callback with a secret; a `default` that nobody has asked for yet is given one."""
        if endpoint.secret:
            return endpoint
        now = self._clock()
        return self.change(
            endpoint.key, endpoint.id, lambda seen: seen if seen.secret else seen.rotated(now)
        )

    def disable(self, endpoint: Endpoint, why: str) -> None:
        """Sends nothing more there until the application enables it again."""
        self.change(
            endpoint.key,
            endpoint.id,
            lambda seen: (
                replace(seen, enabled=False, disabled_because=why)
                if seen.url == endpoint.url and seen.enabled
                else seen
            ),
        )

    def _seen(self, api_key: str, endpoint_id: str) -> tuple[str, Endpoint | None]:
        text = self._scripts.read(lambda r: r.hget(keys.callbacks(api_key), endpoint_id))
        if endpoint_id == DEFAULT:
            return text or "", self._default(api_key, text)
        return text or "", None if text is None else decode(api_key, endpoint_id, text)

    def _default(self, api_key: str, text: str | None) -> Endpoint:
        if text is None:
            return Endpoint(DEFAULT, api_key, None, from_ms(0))
        return decode(api_key, DEFAULT, text)

    def _write(self, endpoint: Endpoint, seen: str) -> str:
        text = encode(endpoint)
        if text == seen:
            return "written"
        arguments: list[str | int] = [endpoint.key, endpoint.id, seen, text, MOST_ENDPOINTS]
        return str(self._scripts.run("callback_write", [], arguments))


def encode(endpoint: Endpoint) -> str:
    """A callback as it is kept."""
    value = {
        "url": endpoint.url,
        "created": to_ms(endpoint.created_at),
        "events": sorted(endpoint.events),
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "disabled_because": endpoint.disabled_because,
        "secret": endpoint.secret,
        "old_secret": endpoint.old_secret,
        "old_until": None if endpoint.old_until is None else to_ms(endpoint.old_until),
    }
    return orjson.dumps(value).decode()


def decode(api_key: str, endpoint_id: str, text: str) -> Endpoint:
    """A callback as it was kept."""
    value = orjson.loads(text)
    until = value["old_until"]
    return Endpoint(
        id=endpoint_id,
        key=api_key,
        url=value["url"],
        created_at=from_ms(value["created"]),
        events=frozenset(map(CallbackEvent, value["events"])),
        description=value["description"],
        enabled=value["enabled"],
        disabled_because=value["disabled_because"],
        secret=value["secret"],
        old_secret=value["old_secret"],
        old_until=None if until is None else from_ms(until),
    )
