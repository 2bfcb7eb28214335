"""Asking providers for their events, where no webhook can come: a laptop, a firewall."""

from collections.abc import Mapping
from datetime import timedelta

import structlog

from app.core.event_inbox import EventInbox
from app.core.models import Clock
from app.core.store import MessageStore
from providers.base import Provider
from providers.errors import ProviderFailure
from providers.webhooks import WebhookContent

log = structlog.get_logger(__name__)

INTERVAL = timedelta(seconds=60)
_FIRST_LOOK = timedelta(hours=1)
_MEMORY = timedelta(days=7)


class EventPoll:
    """Reads what providers keep into the inbox, as if webhooks had brought it.

    One worker at a time does so, and each time reads a bounded number. What has been read before is
    known by its id, and does no harm.
    """

    def __init__(
        self,
        inbox: EventInbox,
        providers: Mapping[str, Provider],
        store: MessageStore,
        owner: str,
        clock: Clock,
    ) -> None:
        self._inbox = inbox
        self._providers = providers
        self._store = store
        self._owner = owner
        self._clock = clock

    def work(self) -> None:
        """One look at every provider that has no webhooks set up. Raises StoreUnavailable."""
        silent = {n: p for n, p in self._providers.items() if p.can_tell and not p.hears}
        # A little less than the interval, so that the lock is free when the next look is due.
        seconds = 0.9 * INTERVAL.total_seconds()
        if not silent or not self._store.lock_polling(self._owner, seconds):
            return
        for name, provider in silent.items():
            now = self._clock()
            since = self._inbox.polled_until(name) or now - _FIRST_LOOK
            try:
                events, until = provider.news(since)
            except ProviderFailure as failure:
                log.info("events not read", provider=name, reason=failure.reason)
                continue
            if events:
                self._inbox.receive(name, WebhookContent(events), now)
            # Only now: what was read is kept, or is read again.
            self._inbox.set_polled(name, until, _MEMORY)
