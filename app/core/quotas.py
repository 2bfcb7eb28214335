"""Quotas: how much mail each provider is given within a second and within a day, by all together.

The counts are in Redis, by its clock. Whoever asks takes tokens for the moment that follows, as
many as it used in the moment before or a few more, so that one round trip serves many mails.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from app.core import keys
from app.core.scripting import Scripts, StoreUnavailable
from app.core.tokens import Account, Grant, Shortage, Window

log = structlog.get_logger(__name__)

_TRIES = 3
_STORE_AWAY = 1.0


class Quotas:
    """Gives mail its place within the quotas. Safe to use from several threads at once.

    A provider without windows is always given more. While Redis is away, no others are.
    """

    def __init__(
        self,
        windows: Mapping[str, Sequence[Window]],
        scripts: Scripts,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._windows = {name: tuple(of) for name, of in windows.items() if of}
        self._accounts = {name: Account(of) for name, of in self._windows.items()}
        self._scripts = scripts
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._away_until = float("-inf")

    def of(self, name: str) -> tuple[Window, ...]:
        return self._windows.get(name, ())

    def obstacle(self, name: str, recipients: int) -> str | None:
        """Why a mail to so many will never have a place.

        More than is given in a second has one where nothing else was given, and waits after it.
        """
        for window in self.of(name):
            if window.name != "second" and window.cost(recipients) > window.limit:
                return f"it is given {window}"
        return None

    def take(self, name: str, recipients: int, others: Sequence[str] = ()) -> Grant | Shortage:
        """Takes a place with a provider for a mail to so many, or says why there is none.

        `others` are those who are asked then, in their order: what the mail will want of the first
        of them is taken in the same round trip.
        """
        account = self._accounts.get(name)
        if account is None:
            return Grant(name, recipients)
        with self._lock:
            now = self._monotonic()
            if account.use(recipients, now):
                return Grant(name, recipients, account.batch)
            shortage = account.short(recipients, now)
            if shortage is not None:
                return shortage
            tries = _TRIES
            while tries and now >= self._away_until:
                self._ask([name, *self._worth_asking(others, recipients, now)], recipients, now)
                # What took long to come is for a moment that is over.
                now = self._monotonic()
                if account.use(recipients, now):
                    return Grant(name, recipients, account.batch)
                shortage = account.short(recipients, now)
                if shortage is not None:
                    return shortage
                tries -= 1
            return Shortage("has a quota that cannot be looked at now", _STORE_AWAY)

    def give_back(self, grant: Grant) -> None:
        """The mail was not given to the provider after all: another one may have its place.

        Where its tokens are of an earlier batch, its place stays taken until it is old.
        """
        account = self._accounts.get(grant.provider)
        if account is not None:
            with self._lock:
                account.put_back(grant.recipients, grant.batch)

    def _worth_asking(self, names: Sequence[str], recipients: int, now: float) -> list[str]:
        """Those before the first that has no quota, or has tokens at hand."""
        worth = []
        for name in names:
            account = self._accounts.get(name)
            if account is None or account.has(recipients, now):
                break
            if account.short(recipients, now) is None:
                worth.append(name)
        return worth

    def _ask(self, names: Sequence[str], recipients: int, now: float) -> None:
        accounts = [self._accounts[name] for name in names]
        arguments = [
            argument
            for name, account in zip(names, accounts, strict=True)
            for argument in account.arguments(name, recipients, now)
        ]
        try:
            place, waits, given = self._scripts.run("quota", [], arguments)
        except StoreUnavailable as error:
            log.warning("quota not looked at", providers=names, error=str(error))
            self._away_until = now + _STORE_AWAY
            for account in accounts:
                account.clear()
            return
        for account, milliseconds, full in zip(accounts, waits[::2], waits[1::2], strict=False):
            account.refused(recipients, self._monotonic(), milliseconds, full)
        if place:
            accounts[place - 1].given(now, given[::2], given[1::2])

    def line_up(self, name: str, recipients: int) -> float:
        """The seconds after which a mail that found no place is to ask again: one after another.

        Each process has a line of its own, which moves as fast as the provider is given mail.
        """
        account = self._accounts[name]
        with self._lock:
            now = self._monotonic()
            turn = max(account.short_until, account.line_ends, now)
            paces = [
                window.cost(recipients) / window.limit
                for window in self._windows[name]
                if window.name == "second"
            ]
            account.line_ends = turn + sum(paces)
            return turn - now

    def used(self) -> dict[str, tuple[int, ...]]:
        """By provider, what of each window is used, or set aside. Raises StoreUnavailable."""
        asked = [(name, window) for name, of in self._windows.items() for window in of]
        if not asked:
            return {}

        def read(redis: Any) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            pipeline.time()
            for name, window in asked:
                pipeline.hgetall(keys.quota(name, window.name))
            return list(pipeline.execute())

        (seconds, microseconds), *counts = self._scripts.read(read)
        now = seconds * 1000 + microseconds // 1000
        used: dict[str, tuple[int, ...]] = {}
        for (name, window), slots in zip(asked, counts, strict=True):
            oldest = (now - window.length) // window.slot
            count = sum(int(n) for s, n in slots.items() if s.isdigit() and int(s) >= oldest)
            used[name] = (*used.get(name, ()), count)
        return used
