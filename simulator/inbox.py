"""The inbox: the newest mails in full, their envelopes and who took which attempt for more."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from simulator.journal import Journal, Record
from simulator.mail import Mail
from simulator.switches import Provider

KEPT_MAILS = 2_000
KEPT_BYTES = 64_000_000
KEPT_ATTEMPTS = 1_000_000
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A mail in the inbox; ids count up by one, `received_at` is in Unix seconds."""

    id: int
    received_at: float
    mail: Mail
    size: int


@dataclass(slots=True)
class Count:
    """How often a provider was called, and how many mails it took."""

    calls: int = 0
    accepted: int = 0


@dataclass(slots=True)
class Ledger:
    """Provider and attempt id of every accepted mail, packed a thousand to a block of bytes."""

    _packed: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEPT_ATTEMPTS // _CHUNK))
    _loose: list[str] = field(default_factory=list)
    total: int = 0

    def add(self, provider: Provider, attempt_id: str) -> None:
        self.total += 1
        self._loose.append(f"{provider} {attempt_id.replace(chr(10), ' ')}")
        if len(self._loose) == _CHUNK:
            self._packed.append("\n".join(self._loose).encode())
            self._loose.clear()

    @property
    def oldest(self) -> int:
        """The number of the oldest one that is kept; the first of all has number 0."""
        return self.total - len(self._loose) - len(self._packed) * _CHUNK

    def since(self, number: int) -> Iterator[tuple[str, str]]:
        """Provider and attempt id from `number` on, oldest first."""
        skip = max(number - self.oldest, 0)
        for place in range(skip // _CHUNK, len(self._packed) + 1):
            lines = (
                self._packed[place].decode().split("\n")
                if place < len(self._packed)
                else self._loose
            )
            for line in lines[max(skip - place * _CHUNK, 0) :]:
                provider, _, attempt_id = line.partition(" ")
                yield provider, attempt_id


class Inbox:
    """What the providers accepted; `on_mail` hears of each mail."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.on_mail: Callable[[Record], None] = lambda record: None
        self._next_id = 1
        self.clear()

    def clear(self) -> None:
        """Forget everything but the ids that were given out."""
        self._entries: dict[int, Entry] = {}
        self._bytes = 0
        self.ledger = Ledger()
        self.journal = Journal()
        self.counts = {provider: Count() for provider in Provider}

    def add(self, mail: Mail, size: int) -> None:
        entry = Entry(self._next_id, self._clock(), mail, size)
        self._next_id += 1
        self._entries[entry.id] = entry
        self._bytes += size
        while len(self._entries) > KEPT_MAILS or (
            self._bytes > KEPT_BYTES and len(self._entries) > 1
        ):
            oldest = next(iter(self._entries))
            self._bytes -= self._entries.pop(oldest).size
        self.counts[mail.provider].accepted += 1
        self.ledger.add(mail.provider, mail.attempt_id or "")
        self.on_mail(self.journal.add(mail, entry.received_at))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, id_: int) -> Entry | None:
        return self._entries.get(id_)

    def newest(self, limit: int, after: int | None = None) -> list[Entry]:
        """Up to `limit` entries, newest first, from the one that follows `after` in that order."""
        start = self._next_id if after is None else min(after, self._next_id)
        oldest = self._next_id - len(self._entries)
        stop = max(start - 1 - limit, oldest - 1)
        return [self._entries[id_] for id_ in range(start - 1, stop, -1)]
