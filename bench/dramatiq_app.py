"""The actor of dramatiq."""

import os
from functools import cache
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.lean import Sender

dramatiq.set_broker(RedisBroker(url=f"unix://{os.environ['BENCH_SOCKET']}"))

_sender = cache(Sender)


@dramatiq.actor
def send(mail: dict[str, Any]) -> None:
    _sender().send(mail)
