"""The ledger: what was accepted, what arrived, what the service says of it, and whether all agree.

Pure arithmetic over what a run has written down. A message's arrivals are counted by its attempts'
ids, which lead back to it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

UNFINISHED = frozenset({"scheduled", "queued", "sending", "retrying"})
NOT_TAKEN = frozenset({"rejected", "refused", "unavailable"})

Arrival = tuple[str, str]
"""The provider that took a mail, and the attempt's id that came with it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that got 202; `at` is when, in Unix time."""

    id: str
    on_unknown: str
    at: float


@dataclass(frozen=True, slots=True)
class Blow:
    """Something done to a process, and when."""

    kind: str
    at: float


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a scenario. `breaks` says, line by line, how the promise was broken."""

    scenario: str
    runs: int = 1
    seconds: float = 0.0
    blows: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    in_doubt: int = 0
    once: int = 0
    more: int = 0
    flagged: int = 0
    unflagged: int = 0
    lost: int = 0
    unknown_on_hold: int = 0
    copies_on_hold: int = 0
    slowest: float = 0.0
    breaks: tuple[str, ...] = ()

    def __add__(self, other: "Row") -> "Row":
        """Both together, as one row of the scenario."""
        return Row(
            self.scenario,
            self.runs + other.runs,
            self.seconds + other.seconds,
            self.blows + other.blows,
            self.accepted + other.accepted,
            self.in_doubt + other.in_doubt,
            self.once + other.once,
            self.more + other.more,
            self.flagged + other.flagged,
            self.unflagged + other.unflagged,
            self.lost + other.lost,
            self.unknown_on_hold + other.unknown_on_hold,
            self.copies_on_hold + other.copies_on_hold,
            max(self.slowest, other.slowest),
            (*self.breaks, *other.breaks),
        )


@dataclass(frozen=True, slots=True)
class Fate:
    """One message with all that is known of it; `status` is what `GET /status/<id>` says."""

    message: Accepted
    arrivals: Sequence[Arrival]
    status: Mapping[str, Any] | None

    @property
    def state(self) -> str:
        return "gone" if self.status is None else self.status["status"]

    @property
    def held(self) -> bool:
        return self.message.on_unknown == "hold"

    @property
    def flagged(self) -> bool:
        return self.status is not None and self.status["possible_duplicate"] is True

    @property
    def lost(self) -> bool:
        return not self.arrivals and not (self.held and self.state == "unknown")

    @property
    def attempts(self) -> Sequence[Mapping[str, Any]]:
        return () if self.status is None else self.status["attempts"]

    def delay(self, blows: Sequence[Blow]) -> float:
        """Seconds from the first blow that fell while the message was under way to its sending."""
        taken = [a for a in self.attempts if a["outcome"] == "accepted"]
        if not taken:
            return 0.0
        began = datetime.fromisoformat(taken[-1]["started_at"]).timestamp()
        sent = began + (taken[-1]["duration_ms"] or 0) / 1000
        return max((sent - b.at for b in blows if self.message.at <= b.at < sent), default=0.0)

    def faults(self) -> list[str]:
        """How the promise was broken for this message."""
        found = []
        if self.lost:
            found.append("lost")
        elif self.held and self.state not in ("sent", "unknown"):
            found.append(f"on hold, and neither sent nor unknown but {self.state}")
        elif not self.held and self.state != "sent":
            found.append(f"it ended as {self.state}")
        if self.state in UNFINISHED:
            found.append("not ended")
        if len(self.arrivals) > 1 and self.held:
            found.append("a copy on hold")
        if len(self.arrivals) > 1 and not self.flagged:
            found.append("an unflagged copy")
        return found + self._disagreements()

    def _disagreements(self) -> list[str]:
        found = []
        counted = Counter(self.arrivals)
        known = {(a["provider"], a["id"]) for a in self.attempts}
        for attempt in self.attempts:
            arrived = counted[attempt["provider"], attempt["id"]]
            if attempt["outcome"] == "accepted" and not arrived:
                found.append(f"{attempt['id']} is accepted, and {attempt['provider']} has it not")
            if attempt["outcome"] in NOT_TAKEN and arrived:
                found.append(f"{attempt['id']} is {attempt['outcome']}, and yet it arrived")
        found += [f"{id_} arrived {n} times" for (_, id_), n in counted.items() if n > 1]
        unwritten = sorted(set(self.arrivals) - known)
        found += [f"{id_} at {provider} was never written down" for provider, id_ in unwritten]
        if self.state == "sent":
            by = self.status["provider"] if self.status else None
            if by not in {provider for provider, _ in self.arrivals}:
                found.append(f"sent by {by}, which has it not")
        return found

    def __str__(self) -> str:
        attempts = [f"{a['id']} {a['provider']} {a['outcome']}" for a in self.attempts]
        return (
            f"{self.message.id} ({self.message.on_unknown}, {self.state}, "
            f"possible_duplicate {self.flagged}), attempts {attempts}, "
            f"arrivals {[' '.join(reversed(arrival)) for arrival in self.arrivals]}"
        )


def balance(
    scenario: str,
    accepted: Sequence[Accepted],
    arrivals: Sequence[Arrival],
    statuses: Mapping[str, Mapping[str, Any] | None],
    blows: Sequence[Blow] = (),
    seconds: float = 0.0,
    in_doubt: int = 0,
    further_breaks: Sequence[str] = (),
) -> Row:
    """The row of one run; `further_breaks` are those that are not about a single message."""
    by_message: dict[str, list[Arrival]] = {message.id: [] for message in accepted}
    strangers = []
    for arrival in arrivals:
        message_id = arrival[1].rpartition("-")[0]
        if message_id in by_message:
            by_message[message_id].append(arrival)
        else:
            strangers.append(f"{arrival[1]} arrived at {arrival[0]}, and nobody was told of it")
    fates = [Fate(m, by_message[m.id], statuses.get(m.id)) for m in accepted]
    copied = [fate for fate in fates if len(fate.arrivals) > 1]
    flagged = sum(fate.flagged for fate in copied)
    return Row(
        scenario=scenario,
        seconds=seconds,
        blows=Counter(blow.kind for blow in blows),
        accepted=len(accepted),
        in_doubt=in_doubt,
        once=sum(len(fate.arrivals) == 1 for fate in fates),
        more=len(copied),
        flagged=flagged,
        unflagged=len(copied) - flagged,
        lost=sum(fate.lost for fate in fates),
        unknown_on_hold=sum(fate.held and fate.state == "unknown" for fate in fates),
        copies_on_hold=sum(fate.held for fate in copied),
        slowest=max((fate.delay(blows) for fate in fates), default=0.0),
        breaks=(
            *further_breaks,
            *strangers,
            *(f"{fault}: {fate}" for fate in fates for fault in fate.faults()),
        ),
    )
