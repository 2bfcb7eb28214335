"""Delivering callbacks: one try of one delivery, and what follows from how it went."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

import structlog

from app.core import callback_signing, callback_targets
from app.core.callback_book import DEFAULT, CallbackBook
from app.core.callback_queue import CallbackQueue, DeliveryState, Taken, Try, is_taken
from app.core.callback_targets import BadTarget, Target
from app.core.callback_transport import Answered, NotDelivered
from app.core.models import Clock

log = structlog.get_logger(__name__)

SCHEDULE = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
"""Seconds after each try that failed until the next one: about a day in all."""
LONGEST_REST = timedelta(hours=1)
"""No application is left alone for longer, whatever its Retry-After says."""

LEASE = timedelta(seconds=60)
"""After this time a delivery is somebody else's; a try ends long before."""

_JITTER = 0.2
_GONE = 410
_LATER = (429, 503)


class _Transport(Protocol):
    def post(
        self, target: Target, headers: Mapping[str, str], body: bytes, failing: bool = False
    ) -> Answered: ...


class Callbacks:
    """Delivers callbacks; safe to use from several threads at once. `random` is from 0 to 1."""

    def __init__(
        self,
        book: CallbackBook,
        queue: CallbackQueue,
        transport: _Transport,
        allow_private: bool,
        clock: Clock,
        random: Callable[[], float],
        lease: timedelta = LEASE,
    ) -> None:
        self._book = book
        self._queue = queue
        self._transport = transport
        self._allow_private = allow_private
        self._clock = clock
        self._random = random
        self._lease = lease

    def take(self, room: int, room_for_failing: int) -> list[Taken]:
        """Takes deliveries that are due. Raises StoreUnavailable."""
        return self._queue.take(self._clock(), self._lease, room, room_for_failing)

    def deliver(self, taken: Taken) -> None:
        """Tries a delivery once, and writes down how it went. Raises StoreUnavailable."""
        last, retry_after = self._tried(taken)
        now, endpoint, count = self._clock(), taken.endpoint, taken.delivery.count
        gone = last.status_code == _GONE
        state, next_try_at, rest_until = DeliveryState.DELIVERED, None, None
        if not is_taken(last):
            state = DeliveryState.FAILED
            if retry_after is not None and last.status_code in _LATER:
                rest_until = now + min(timedelta(seconds=retry_after), LONGEST_REST)
            if count < len(SCHEDULE) and not gone:
                state = DeliveryState.WAITING
                wait = SCHEDULE[count] * (1 + _JITTER * self._random())
                next_try_at = max(now + timedelta(seconds=wait), rest_until or now)
        if not self._queue.done(taken, last, now, state, next_try_at, rest_until):
            return
        if state is not DeliveryState.DELIVERED:
            log.info(
                "callback not taken",
                callback=endpoint.id,
                delivery=taken.delivery.id,
                tries=count + 1,
                status=last.status_code,
                error=last.error,
            )
        if gone and endpoint.id != DEFAULT:
            self._book.disable(endpoint, "it answered 410 Gone")
            log.warning("callback disabled", callback=endpoint.id, key=endpoint.key)

    def _tried(self, taken: Taken) -> tuple[Try, float | None]:
        delivery, began = taken.delivery, self._clock()
        body = delivery.body.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "steadpost",
            **callback_signing.headers(delivery.id, began, body, taken.endpoint.secrets_at(began)),
        }
        error = None
        answered = None
        # A callback that was changed gets what is still to be delivered at its new URL.
        url = taken.endpoint.url or delivery.url
        try:
            target = callback_targets.parse(url, self._allow_private)
            answered = self._transport.post(target, headers, body, taken.failing)
        except (BadTarget, NotDelivered) as fault:
            error = str(fault)
        took = (self._clock() - began) // timedelta(milliseconds=1)
        if answered is None:
            return Try(began, took, error=error), None
        return Try(began, took, answered.status, answer=answered.text), answered.retry_after
