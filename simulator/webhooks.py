"""Sending webhooks: at their time, again until they are taken, and with troubles at a switch."""

import asyncio
import contextlib
import heapq
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import structlog

from simulator.http import Answer, Call
from simulator.journal import Record
from simulator.signing import Signed, Signer
from simulator.switches import LONGEST_SECONDS, Provider
from simulator.telling import TELLINGS
from simulator.webhook_connection import WebhookConnection

log = structlog.get_logger()

#: Seconds between tries; the real ones take hours.
_RETRIES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 60.0)
_MOST_PENDING = 200_000
_SENDERS = 4
_BATCH = 100
_ASK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Troubles:
    """How webhooks behave; shares are from 0 to 1.

    `delay` is seconds for all of them, `spread` the most that one may be held back beyond that, so
    that they come out of order; `duplicates` come twice, and of `forged` there is one with another
    fate, signed by somebody else.
    """

    on: bool = True
    delay: float = 0.2
    spread: float = 0.0
    duplicates: float = 0.0
    forged: float = 0.0


def changed(troubles: Troubles, wanted: object) -> Troubles:
    """The troubles with some of them set. Raises ValueError, its text for the one who asked."""
    if not isinstance(wanted, dict) or set(wanted) - {f.name for f in fields(Troubles)}:
        names = ", ".join(f.name for f in fields(Troubles))
        raise ValueError(f"Give an object with some of {names}.")
    for name, value in wanted.items():
        if isinstance(value, bool) is not (name == "on") or not isinstance(value, int | float):
            raise ValueError(f"{name} must be {'true or false' if name == 'on' else 'a number'}.")
        most = 1.0 if name in ("on", "duplicates", "forged") else LONGEST_SECONDS
        if not 0 <= value <= most:
            raise ValueError(f"{name} must be from 0 to {most:g}.")
    return replace(troubles, **wanted)


@dataclass(order=True, slots=True)
class _Due:
    """An event, or a whole request that is sent again, and when its turn is."""

    at: float
    number: int
    provider: Provider = field(compare=False)
    event: dict[str, Any] = field(compare=False)
    genuine: bool = field(compare=False, default=True)
    request: Signed | None = field(compare=False, default=None)
    events: int = field(compare=False, default=1)
    tries: int = field(compare=False, default=0)


class Webhooks:
    """Tells the receiver at `url` what becomes of mails."""

    def __init__(self, url: str, signer: Signer, clock: Callable[[], float] = time.time) -> None:
        self.troubles = Troubles()
        self.counts: Counter[str] = Counter()
        self._url = url
        self._signer = signer
        self._clock = clock
        self._random = random.Random(0)  # noqa: S311
        self._pending: list[_Due] = []
        self._numbers = count()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._under_way = 0
        self._topic_in_use = asyncio.Event()
        self._subscription = os.urandom(16).hex()
        self.confirmed = False

    def open(self) -> None:
        """Begin to send, from within a running loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._send_all()) for _ in range(_SENDERS)]
        self._tasks.append(loop.create_task(self._ask_for_confirmation()))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    def on_mail(self, record: Record) -> None:
        """Plans what is told of a mail."""
        troubles = self.troubles
        if not troubles.on:
            return
        if record.provider is Provider.SES:
            self._topic_in_use.set()
        telling = TELLINGS[record.provider]
        for after, event in telling.tell(record):
            due = record.accepted_at + after + troubles.delay
            self._plan(due + self._random.random() * troubles.spread, record.provider, event)
            if self._random.random() < troubles.duplicates:
                late = self._random.random() * (troubles.spread + 0.5)
                self._plan(due + late, record.provider, event)
            if self._random.random() < troubles.forged:
                forged = telling.forge(event)
                self._plan(due, record.provider, forged, genuine=False)

    def answer(self, call: Call) -> Answer | None:
        """What SNS itself answers: its certificate, and a confirmation; None for other paths."""
        if not call.path.startswith("/sns/"):
            return None
        if call.path == f"/sns{self._signer.certificate_path}":
            return Answer(200, self._signer.certificate, "application/x-pem-file")
        query = parse_qs(call.query)
        if call.path == "/sns/" and query.get("Token") == [self._subscription]:
            self.confirmed = True
            return Answer(200, b"<ConfirmSubscriptionResponse/>", "text/xml")
        return Answer(404, b"", "text/plain")

    @property
    def pending(self) -> int:
        """How many events wait for their time, or for an answer."""
        return len(self._pending) + self._under_way

    def state(self) -> dict[str, Any]:
        return {
            **asdict(self.troubles),
            "url": self._url,
            "pending": self.pending,
            "confirmed": self.confirmed,
            "counts": dict(self.counts),
        }

    def _plan(
        self, at: float, provider: Provider, event: dict[str, Any], genuine: bool = True
    ) -> None:
        if len(self._pending) >= _MOST_PENDING:
            self.counts["dropped"] += 1
            return
        heapq.heappush(self._pending, _Due(at, next(self._numbers), provider, event, genuine))
        self._changed.set()

    async def _send_all(self) -> None:
        connection = WebhookConnection(self._url)
        try:
            while True:
                batch = await self._next()
                self._under_way += len(batch)
                try:
                    await self._send(batch, connection)
                finally:
                    self._under_way -= len(batch)
        finally:
            connection.close()

    async def _next(self) -> list[_Due]:
        """What is sent next, in one request: some have batches."""
        while True:
            now = self._clock()
            if self._pending and self._pending[0].at <= now:
                first = heapq.heappop(self._pending)
                if first.provider is Provider.SES and not (self.confirmed or first.request):
                    first.at = now + 0.2
                    heapq.heappush(self._pending, first)
                    continue
                batch = [first]
                while first.request is None and len(batch) < _BATCH and self._joins(first, now):
                    batch.append(heapq.heappop(self._pending))
                return batch
            wait = min(self._pending[0].at - now, 1.0) if self._pending else 1.0
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    def _joins(self, first: _Due, now: float) -> bool:
        following = self._pending[0] if self._pending else None
        return (
            following is not None
            and TELLINGS[first.provider].batches
            and following.provider is first.provider
            and following.at <= now
            and following.request is None
            and following.genuine == first.genuine
        )

    async def _send(self, batch: list[_Due], connection: WebhookConnection) -> None:
        first, now = batch[0], self._clock()
        request = first.request
        if request is None:
            events = [one.event for one in batch]
            request = self._signer.signed(first.provider, events, now, first.genuine)
        status = await connection.post(f"/webhooks/{first.provider}", request)
        kind = "genuine" if first.genuine else "forged"
        told = sum(due.events for due in batch)
        if 200 <= status < 300:
            self.counts[f"{kind}_taken"] += told
        elif not first.genuine or TELLINGS[first.provider].gives_up(status):
            self.counts[f"{kind}_refused"] += told
        elif first.tries < len(_RETRIES):
            self.counts["retried"] += 1
            at = now + _RETRIES[first.tries]
            again = _Due(at, next(self._numbers), first.provider, first.event, True, request)
            again.events, again.tries = told, first.tries + 1
            heapq.heappush(self._pending, again)
        else:
            self.counts["given_up"] += told

    async def _ask_for_confirmation(self) -> None:
        # Who never has a mail from SES knows nothing of its topic.
        await self._topic_in_use.wait()
        connection = WebhookConnection(self._url)
        try:
            while not self.confirmed:
                question = self._signer.confirmation(self._subscription, self._clock())
                await connection.post("/webhooks/ses", question)
                await asyncio.sleep(_ASK_EVERY)
        finally:
            connection.close()
