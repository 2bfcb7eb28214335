"""Breakers, rests and refused senders as they stand in Redis, for all workers alike."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog

from app.core import breaker
from app.core.breaker import BreakerPolicy, BreakerState, Fitness, Report
from app.core.models import Clock
from app.core.records import from_ms, to_ms
from app.core.scripting import StoreUnavailable
from app.core.store import MessageStore

log = structlog.get_logger(__name__)

_TRIES = 5
_SENDER_REMEMBERED = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Seen:
    fitness: Mapping[str, Fitness]
    refused_senders: int
    at: float


_NOTHING = _Seen({}, 0, float("-inf"))


class Breakers:
    """What is known of the providers. Safe to use from several threads at once.

    What was read is used for `freshness` seconds, so that an attempt costs no round trip here. What
    delivery calls raises nothing for a Redis that is away: a mail that can be sent is sent.
    """

    def __init__(
        self,
        store: MessageStore,
        policy: BreakerPolicy,
        clock: Clock,
        freshness: float = 0.2,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self._store = store
        self._clock = clock
        self._freshness = freshness
        self._monotonic = monotonic
        self._seen = _NOTHING
        self._lock = threading.Lock()
        self._reports: dict[str, list[Report]] = {}

    def of(self, name: str) -> Fitness:
        """What is known of a provider."""
        return self._look().fitness.get(name, Fitness())

    def refuses_sender(self, name: str, domain: str) -> bool:
        """Whether the provider has refused the From domain a short while ago."""
        if not self._look().refused_senders:
            return False
        try:
            until = self._store.sender_refused_until(name, domain)
        except StoreUnavailable:
            return False
        return until is not None and until > self._clock()

    def remember_sender(self, name: str, domain: str) -> None:
        """Notes that the provider refused a From domain."""
        try:
            self._store.remember_refused_sender(name, domain, self._clock() + _SENDER_REMEMBERED)
        except StoreUnavailable as error:
            log.warning("refused sender not noted", provider=name, error=str(error))
        self._forget()

    def begin_probe(self, name: str, now: datetime) -> bool:
        """Whether the attempt that begins now is the one that finds out about the provider."""
        fitness = self._read().get(name, Fitness())
        allowed_from = fitness.fit_from(now)
        if allowed_from is None or allowed_from > now:
            return False
        if not fitness.needs_probe:
            return True
        return self._write(name, fitness, breaker.probing(fitness, now, self.policy))

    def report(self, name: str, report: Report) -> None:
        """Takes in what an attempt says about its provider."""
        seen = self.of(name)
        if breaker.learned(seen, report, self._clock(), self.policy) == seen:
            return
        with self._lock:
            writes = name not in self._reports
            self._reports.setdefault(name, []).append(report)
        if writes:
            self._write_reports(name)

    def _write_reports(self, name: str) -> None:
        """Writes what was reported, and what others report meanwhile: they need not wait for it."""

        def learned(seen: Fitness) -> Fitness:
            now = self._clock()
            for report in reports:
                seen = breaker.learned(seen, report, now, self.policy)
            return seen

        done = 0
        while True:
            with self._lock:
                reports = self._reports[name][done:]
                done += len(reports)
                if not reports:
                    del self._reports[name]
                    return
            try:
                self._change(name, learned)
            except StoreUnavailable as error:
                log.warning("breaker not written", provider=name, error=str(error))
            except BaseException:
                with self._lock:
                    del self._reports[name]
                raise

    def pause(self, name: str) -> Fitness:
        """Keeps a provider from being asked until `resume`. Raises StoreUnavailable."""
        return self._change(name, lambda seen: replace(seen, paused=True))

    def resume(self, name: str) -> Fitness:
        """Lets a provider be asked again, with a closed breaker. Raises StoreUnavailable."""
        fresh = Fitness(changed_at=self._clock())
        return self._change(name, lambda seen: replace(fresh, version=seen.version))

    def all(self) -> Mapping[str, Fitness]:
        """What Redis holds now. Raises StoreUnavailable."""
        return _decode_all(self._store.fitness()[0])

    def _change(self, name: str, decide: Callable[[Fitness], Fitness]) -> Fitness:
        for _ in range(_TRIES):
            seen = self.all().get(name, Fitness())
            after = decide(seen)
            if after == seen or self._store.write_fitness(name, seen.version, _encode(after)):
                if after.breaker is not seen.breaker or after.paused is not seen.paused:
                    log.info(
                        "provider",
                        provider=name,
                        breaker=after.breaker.value,
                        paused=after.paused,
                        reason=after.reason,
                    )
                self._forget()
                return after
        # Others are writing what they have learned at the same moment; theirs is as good as ours.
        return self.all().get(name, Fitness())

    def _write(self, name: str, seen: Fitness, after: Fitness) -> bool:
        try:
            return self._store.write_fitness(name, seen.version, _encode(after))
        except StoreUnavailable:
            return False
        finally:
            self._forget()

    def _look(self) -> _Seen:
        now = self._monotonic()
        if now - self._seen.at >= self._freshness:
            if self._seen is not _NOTHING:
                # While one looks, the others go by what was seen last.
                self._seen = replace(self._seen, at=now)
            self._read()
        return self._seen

    def _read(self) -> Mapping[str, Fitness]:
        try:
            texts, refused_senders = self._store.fitness()
            self._seen = _Seen(_decode_all(texts), refused_senders, self._monotonic())
        except StoreUnavailable:
            self._seen = replace(self._seen, at=self._monotonic())
        return self._seen.fitness

    def _forget(self) -> None:
        self._seen = replace(self._seen, at=float("-inf"))


def _decode_all(texts: Mapping[str, str]) -> Mapping[str, Fitness]:
    return {name: _decode(text) for name, text in texts.items()}


def _encode(fitness: Fitness) -> str:
    def ms(at: datetime | None) -> int | None:
        return None if at is None else to_ms(at)

    return orjson.dumps(
        {
            "breaker": fitness.breaker,
            "failures": fitness.failures,
            "changed": ms(fitness.changed_at),
            "until": ms(fitness.until),
            "rest": ms(fitness.rest_until),
            "paused": fitness.paused,
            "reason": fitness.reason,
        }
    ).decode()


def _decode(text: str) -> Fitness:
    def at(ms: int | None) -> datetime | None:
        return None if ms is None else from_ms(ms)

    version, _, rest = text.partition(" ")
    value: dict[str, Any] = orjson.loads(rest)
    return Fitness(
        breaker=BreakerState(value["breaker"]),
        failures=value["failures"],
        changed_at=at(value["changed"]),
        until=at(value["until"]),
        rest_until=at(value["rest"]),
        paused=value["paused"],
        reason=value["reason"],
        version=int(version),
    )
