"""The load: clients that hand mail over and repeat what was not answered, with the same key."""

import threading
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zlib import crc32

import requests

from tests.chaos.judge import PROVIDERS
from tests.chaos.ledger import Accepted

CLIENTS = 6
_PAUSE = 0.1
_MOST_MESSAGES = 20_000
_REPEATED = 0.05
_ON_UNKNOWN = ("failover", "hold")


@dataclass(slots=True)
class Book:
    """What the clients wrote down; `odd` are answers that nobody should get."""

    accepted: list[Accepted] = field(default_factory=list)
    in_doubt: int = 0
    odd: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Load:
    """Clients in threads of their own, from `start` to `finish`."""

    def __init__(self, url: str, key: str, seed: str) -> None:
        self.book = Book()
        self._url = f"{url}/messages"
        self._key = key
        self._enough = threading.Event()
        self._given_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(f"{seed}:{n}",)) for n in range(CLIENTS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self, seconds: float) -> None:
        """No new mail from here on; what is under way has this long to be answered."""
        self._enough.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.give_up()

    def give_up(self) -> None:
        """Ends the clients, whatever they have under way."""
        self._enough.set()
        self._given_up.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _client(self, seed: str) -> None:
        random = Random(seed)
        with requests.Session() as http:
            http.trust_env = False
            http.headers["Authorization"] = f"Bearer {self._key}"
            for number in range(_MOST_MESSAGES // CLIENTS):
                key = f"{seed}:{number}"
                self._hand_over(http, key, _mail(key, random), random)
                if self._enough.wait(random.uniform(0, 2 * _PAUSE)):
                    return

    def _hand_over(
        self, http: requests.Session, key: str, mail: dict[str, Any], random: Random
    ) -> None:
        message_id, doubtful = self._post(http, key, mail)
        with self.book.lock:
            self.book.in_doubt += doubtful
            if message_id is None:
                self.book.odd.append(f"no answer to the end for the Idempotency-Key {key}")
                return
            self.book.accepted.append(Accepted(message_id, mail["on_unknown"], time.time()))
        if random.random() < _REPEATED:
            again, _ = self._post(http, key, mail)
            if again not in (message_id, None):
                self.book.odd.append(f"two messages for one key: {message_id} and {again}")

    def _post(
        self, http: requests.Session, key: str, mail: dict[str, Any]
    ) -> tuple[str | None, bool]:
        """The message's id, and whether an answer was lost or doubtful on the way to it."""
        doubtful = False
        while not self._given_up.is_set():
            try:
                answer = http.post(
                    self._url,
                    json=mail,
                    headers={"Idempotency-Key": key},
                    timeout=(2, 10),
                )
            except requests.ConnectTimeout:
                pass
            except requests.RequestException as error:
                doubtful = doubtful or not _refused(error)
            else:
                if answer.status_code == 202:
                    return str(answer.json()["id"]), doubtful
                if answer.status_code != 503:
                    self.book.odd.append(f"{answer.status_code} for a good mail: {answer.text}")
                    return None, doubtful
                doubtful = doubtful or answer.json()["code"] == "accept_in_doubt"
            self._given_up.wait(0.1)
        return None, doubtful


def _mail(key: str, random: Random) -> dict[str, Any]:
    # A domain of its own: a provider that refuses one sender is asked about the next. An order of
    # its own: providers differ in whether they can be asked later what became of an attempt.
    return {
        "from": f"Shop <orders@shop-{crc32(key.encode()):x}.example>",
        "to": "Ann <ann@example.net>",
        "subject": f"Your order {key}",
        "text": "It is on its way.",
        "on_unknown": random.choice(_ON_UNKNOWN),
        "providers": random.sample(PROVIDERS, len(PROVIDERS)),
    }


def _refused(error: requests.RequestException) -> bool:
    """Whether nobody listened: nothing was sent then."""
    return "Connection refused" in str(error)
