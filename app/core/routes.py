"""Routes: whom a message is offered to, by its tags and its recipients' domains. Pure decisions."""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from app.core import lifecycle
from app.core.models import Message
from app.core.router import Order

SHARE = r"(?!0+(?:\.0+)?%)[0-9]{1,2}(?:\.[0-9]{1,2})?%"
"""The share of a provider as a pattern: more than nothing, less than all."""

WHOLE = 10_000
"""All messages, in the unit in which shares are counted: hundredths of a per cent."""

_PLACE = re.compile(rf"([^:]+)(?::({SHARE}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A provider in a route, and which share of the route's messages it is asked for first."""

    provider: str
    share: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `ses` or `ses:10%` means. Raises ValueError."""
        match = _PLACE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is neither a provider nor one with a share")
        name, share = match.groups()
        return cls(name, None if share is None else round(float(share[:-1]) * WHOLE / 100))

    def __str__(self) -> str:
        return self.provider if self.share is None else f"{self.provider}:{_percent(self.share)}%"


@dataclass(frozen=True, slots=True)
class Route:
    """An order of providers for the messages that it is for.

    It is for a message that has one of its `tags`, and of whose outstanding recipients every domain
    is one of its `domains`; what is empty asks for nothing. `*.example.net` stands for every domain
    below `example.net`.
    """

    name: str
    providers: tuple[Place, ...]
    tags: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def is_for_all(self) -> bool:
        return not self.tags and not self.domains

    def is_for(self, tags: Collection[str], domains: Collection[str]) -> bool:
        return (not self.tags or any(tag in tags for tag in self.tags)) and (
            not self.domains or all(self._covers(domain) for domain in domains)
        )

    def _covers(self, domain: str) -> bool:
        return any(
            domain.endswith(pattern[1:]) if pattern.startswith("*.") else domain == pattern
            for pattern in self.domains
        )

    def order(self, message_id: str, known: Collection[str]) -> Order | None:
        """The order for a message; None where none of the route's providers is known any more.

        Whom the message is drawn for comes first. The others with a share come last: a provider
        that is being tried out is asked for more than its share only where nobody else is left.
        """
        places = [place for place in self.providers if place.provider in known]
        if not places:
            return None
        drawn = _drawn(places, message_id)
        steady = [place for place in places if place.share is None]
        shared = [place for place in places if place.share is not None and place is not drawn]
        name = f"the route '{self.name}'"
        return Order(
            tuple(p.provider for p in ([drawn] if drawn else []) + steady + shared),
            name,
            drawn=f"by its share of {_percent(drawn.share)} % in {name}"
            if drawn is not None and drawn.share is not None
            else None,
            left_out=tuple(
                f"{p.provider} is in {name} and not set up"
                for p in self.providers
                if p.provider not in known
            ),
        )


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The routes, of which the first that is for a message counts; `version` counts the changes."""

    routes: tuple[Route, ...] = ()
    version: int = 0


def order_of(message: Message, configured: Sequence[str], table: RouteTable | None = None) -> Order:
    """The order in which a message is offered: its own, its route's, or that of the settings.

    What it was sent again with goes before what it came with.
    """
    own = message.order or message.envelope.providers
    if own:
        return Order(own, "the message's own order")
    if table is None or not table.routes:
        return Order(tuple(configured))
    tags = frozenset(message.envelope.tags)
    domains = frozenset(r.address.domain for r in lifecycle.outstanding(message))
    passed_over = []
    for route in table.routes:
        if route.is_for(tags, domains):
            order = route.order(message.id, configured)
            if order is not None:
                return order
            passed_over.append(f"no provider of the route '{route.name}' is set up")
    return Order(tuple(configured), left_out=tuple(passed_over))


def _drawn(places: Sequence[Place], message_id: str) -> Place | None:
    """Whose share the message falls into: always the same, in every round and after every crash."""
    lot = int.from_bytes(hashlib.sha256(message_id.encode()).digest()[:8]) * WHOLE >> 64
    for place in places:
        lot -= place.share or 0
        if lot < 0:
            return place
    return None


def _percent(share: int | None) -> str:
    return f"{(share or 0) * 100 / WHOLE:.2f}".rstrip("0").rstrip(".")
