"""The jobs as a stock RQ worker runs them; our own worker does the same, many at once."""

from functools import cache

from app.services import WorkerServices, build_worker
from config import Settings


def deliver(message_id: str) -> None:
    """Delivers one message, if it is still queued."""
    services = _services()
    owner, now = services.leases.owner, services.clock()
    claim = services.store.claim(message_id, owner, now, services.lease)
    if claim is not None:
        services.delivery.deliver(claim)


@cache
def _services() -> WorkerServices:
    return build_worker(Settings.from_env(), pause=lambda seconds: seconds == 0)
