"""What RQ is told: the queues, the job and its limits.

The job is named as a string, so that the core does not import the workers that run it.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from app.core.models import Priority

QUEUE = "mail"
QUEUES: Mapping[Priority, str] = MappingProxyType(
    {Priority.HIGH: f"{QUEUE}-high", Priority.NORMAL: QUEUE, Priority.BULK: f"{QUEUE}-bulk"}
)
"""One queue for each priority, in the order in which they are served."""

DELIVER_JOB = "workers.jobs.deliver"

JOB_TIMEOUT = 180
"""Seconds that a stock RQ worker gives the job. Our own deadlines are shorter."""

FAILURE_TTL = 3600
"""Seconds for which RQ keeps a failed job; nothing but RQ's own tools ever looks at it."""

STARTED_TTL = 240
"""Seconds after which RQ takes a started job for abandoned, if nobody has said otherwise."""


def rq_time(at: datetime) -> str:
    """The time as RQ writes it."""
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
