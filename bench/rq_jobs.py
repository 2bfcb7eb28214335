"""The job of RQ's own workers."""

from functools import cache
from typing import Any

from bench.lean import Sender

_sender = cache(Sender)


def send(mail: dict[str, Any]) -> None:
    _sender().send(mail)
