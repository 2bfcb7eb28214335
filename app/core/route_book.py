"""Routes as they stand in Redis, for all workers alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from app.core import keys
from app.core.routes import Place, Route, RouteTable
from app.core.scripting import Scripts, StoreUnavailable


@dataclass(frozen=True, slots=True)
class _Seen:
    table: RouteTable
    at: float


class RouteBook:
    """Reads and writes the routes. Safe to use from several threads at once.

    What was read is used for `freshness` seconds, so that an attempt costs no round trip here.
    """

    def __init__(
        self,
        scripts: Scripts,
        freshness: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scripts = scripts
        self._freshness = freshness
        self._monotonic = monotonic
        self._seen = self._unseen = _Seen(RouteTable(), float("-inf"))

    def table(self) -> RouteTable:
        """The routes to send by: those seen last where Redis is away."""
        seen, now = self._seen, self._monotonic()
        if now - seen.at >= self._freshness:
            if seen is not self._unseen:
                # While one looks, the others go by what was seen last.
                self._seen = _Seen(seen.table, now)
            try:
                self._seen = seen = _Seen(self.current(), now)
            except StoreUnavailable:
                self._seen = seen = _Seen(seen.table, now)
        return seen.table

    def current(self) -> RouteTable:
        """What Redis holds now. Raises StoreUnavailable."""
        text = self._scripts.read(lambda r: r.get(keys.ROUTES))
        if text is None:
            return RouteTable()
        version, _, routes = text.partition(" ")
        if int(version) == self._seen.table.version:
            return self._seen.table
        return RouteTable(_decode(routes), int(version))

    def replace(self, routes: Sequence[Route], seen: int | None = None) -> RouteTable | None:
        """Writes the routes; None if somebody has since the version that was `seen`.

        Raises StoreUnavailable, and WriteInDoubt where nobody knows if they were written.
        """
        version = self._scripts.run(
            "routes", [], ["" if seen is None else seen, _encode(tuple(routes))]
        )
        return RouteTable(tuple(routes), version) if version else None


def _encode(routes: tuple[Route, ...]) -> str:
    return orjson.dumps(
        [
            {
                "name": route.name,
                "tags": route.tags,
                "domains": route.domains,
                "providers": [str(place) for place in route.providers],
            }
            for route in routes
        ]
    ).decode()


def _decode(text: str) -> tuple[Route, ...]:
    return tuple(
        Route(
            value["name"],
            tuple(Place.parse(place) for place in value["providers"]),
            tuple(value["tags"]),
            tuple(value["domains"]),
        )
        for value in orjson.loads(text)
    )
