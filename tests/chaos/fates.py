"""What the service says became of each message, asked as any application would ask."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from tests.chaos.ledger import UNFINISHED, Accepted

_READERS = 3


def read(
    url: str, key: str, messages: Sequence[Accepted], seconds: float
) -> dict[str, dict[str, Any] | None]:
    """The status of every message as soon as it has ended, or as it is after `seconds`.

    None where there is no such message.
    """
    deadline = time.monotonic() + seconds
    given_up = threading.Event()

    def read_some(first: int) -> dict[str, dict[str, Any] | None]:
        with requests.Session() as http:
            http.trust_env = False
            http.headers["Authorization"] = f"Bearer {key}"
            return {
                message.id: _when_ended(http, f"{url}/status/{message.id}", deadline, given_up)
                for message in messages[first::_READERS]
                if not given_up.is_set()
            }

    found: dict[str, dict[str, Any] | None] = {}
    with ThreadPoolExecutor(_READERS) as pool:
        try:
            for some in pool.map(read_some, range(_READERS)):
                found.update(some)
        finally:
            given_up.set()
    return found


def _when_ended(
    http: requests.Session, url: str, deadline: float, given_up: threading.Event
) -> dict[str, Any] | None:
    status: dict[str, Any] | None = None
    while True:
        try:
            answer = http.get(url, timeout=10)
        except requests.RequestException:
            answer = None
        if answer is not None and answer.status_code == 404:
            return None
        if answer is not None and answer.status_code == 200:
            status = answer.json()
            if status["status"] not in UNFINISHED:
                return status
        if time.monotonic() >= deadline or given_up.wait(0.1):
            return status
