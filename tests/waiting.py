"""Waiting for something to hold, with an end to it."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 10.0, every: float = 0.01) -> T:
    """What the condition says as soon as it says something true. Fails after the time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(every)
