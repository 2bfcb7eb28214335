"""Tokens of quotas: the windows in which they are counted, and those that a process has at hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MOMENT_MS = 50
"""For so long tokens that were taken may lie about; each window is longer by this."""

_MOST_AT_ONCE = 1000
"""No more than this part of a day's quota is taken at once, as a worker may die with it."""


@dataclass(frozen=True, slots=True)
class Window:
    """A limit that holds within every stretch of time of this length.

    Both lengths are in milliseconds: tokens are counted in slots of time, and come back when all of
    their slot is too old.
    """

    name: str
    limit: int
    length: int
    slot: int
    counts_recipients: bool

    def cost(self, recipients: int) -> int:
        return recipients if self.counts_recipients else 1

    @property
    def at_once(self) -> int:
        """The most tokens that are worth taking at once."""
        moments = self.length / _MOMENT_MS
        return max(int(self.limit / min(moments, _MOST_AT_ONCE)), 1)

    @property
    def unit(self) -> str:
        return "recipients" if self.counts_recipients else "messages"

    def __str__(self) -> str:
        return f"{self.limit} {self.unit} a {self.name}"


def a_second(limit: int, counts_recipients: bool) -> Window:
    return Window("second", limit, 1000, 10, counts_recipients)


def a_day(limit: int) -> Window:
    """Any 24 hours, and not those of a calendar. What plans count in a day are recipients."""
    return Window("day", limit, 86_400_000, 300_000, counts_recipients=True)


@dataclass(frozen=True, slots=True)
class Grant:
    """That a mail to so many may be given to a provider, by tokens of this `batch` of a process."""

    provider: str
    recipients: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Shortage:
    """A provider has been given all that it is to be given, for so many `seconds`."""

    words: str
    seconds: float


@dataclass(slots=True)
class Shelf:
    """The tokens of one window that are at hand, of so many that were `taken` from a slot."""

    window: Window
    tokens: int = 0
    taken: int = 0
    slot: int = 0
    good_until: float = float("-inf")

    def holds(self, cost: int, now: float) -> bool:
        return self.tokens >= cost and now <= self.good_until

    def wanted(self, now: float) -> int:
        """As many as were used; twice as many where they were used before their time was over."""
        used = self.taken - self.tokens
        return min(2 * used if now <= self.good_until else used, self.window.at_once)

    def clear(self) -> None:
        self.tokens = self.taken = 0
        self.good_until = float("-inf")


class Account:
    """What this process knows of a provider: its tokens, its shortage, and the line before it."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self.shelves = tuple(map(Shelf, windows))
        self.shortage = ""
        self.short_until = self.line_ends = float("-inf")
        self.short_of = self.batch = 0

    def short(self, recipients: int, now: float) -> Shortage | None:
        if recipients < self.short_of or now >= self.short_until:
            return None
        return Shortage(self.shortage, self.short_until - now)

    def has(self, recipients: int, now: float) -> bool:
        return all(s.holds(s.window.cost(recipients), now) for s in self.shelves)

    def use(self, recipients: int, now: float) -> bool:
        """Takes from every shelf, or from none."""
        if not self.has(recipients, now):
            return False
        for shelf in self.shelves:
            shelf.tokens -= shelf.window.cost(recipients)
        return True

    def put_back(self, recipients: int, batch: int) -> None:
        """Takes tokens back that were not used after all.

        Only those of the batch at hand: in which slot others are counted is no longer known. What
        was more than a limit stands in several slots.
        """
        exact = all(s.window.cost(recipients) <= s.window.limit for s in self.shelves)
        if batch == self.batch and exact:
            for shelf in self.shelves:
                shelf.tokens += shelf.window.cost(recipients)

    def arguments(self, name: str, recipients: int, now: float) -> list[str | int]:
        """What the script wants to know."""
        arguments: list[str | int] = [name, len(self.shelves)]
        for shelf in self.shelves:
            window, cost = shelf.window, shelf.window.cost(recipients)
            arguments += [window.name, window.limit, window.length + _MOMENT_MS, window.slot]
            arguments += [cost, shelf.wanted(now), shelf.tokens, shelf.slot]
        return arguments

    def refused(self, recipients: int, now: float, milliseconds: int, full: int) -> None:
        self.shortage = f"has been given its {self.shelves[full - 1].window}"
        self.short_of, self.short_until = recipients, now + milliseconds / 1000
        self.clear()

    def given(self, now: float, tokens: Sequence[int], slots: Sequence[int]) -> None:
        self.batch += 1
        for shelf, count, slot in zip(self.shelves, tokens, slots, strict=True):
            shelf.tokens, shelf.taken, shelf.slot = count, count, slot
            shelf.good_until = now + _MOMENT_MS / 1000

    def clear(self) -> None:
        """Forgets its tokens: they have been given back, or nobody knows if they have."""
        self.batch += 1
        for shelf in self.shelves:
            shelf.clear()
