"""What really happened: what providers took, what clients were told, what operators said."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Call:
    """One call of a provider; `coming` if it takes the mail later, whatever the caller does."""

    attempt_id: str
    provider: str
    recipients: tuple[str, ...]
    accepted: bool = False
    coming: bool = False

    @property
    def message_id(self) -> str:
        return self.attempt_id.rpartition("-")[0]

    @property
    def may_make_a_copy(self) -> bool:
        return self.accepted or self.coming


@dataclass(slots=True)
class Ledger:
    """The truth, by which the records are judged."""

    calls: dict[str, Call] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    """How often a provider itself was at fault: unavailable, unclear, our account refused."""
    promised: dict[str, str] = field(default_factory=dict)
    """By message id, the tag of the letter that a client was told is accepted."""
    said: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By an operator's word (sent, not_sent, resend, drop), how often it was said of a message."""

    cancelled: set[str] = field(default_factory=set)
    """The messages of which an operator was told that they are not sent any more."""

    blocked: set[tuple[str, str]] = field(default_factory=set)
    """The attempts, and whose copies of them their provider reported as blocked."""

    interrupted: set[str] = field(default_factory=set)
    """The messages that somebody had evidence of, and did not come to the end with it."""

    def of(self, message_id: str) -> list[Call]:
        return [call for call in self.calls.values() if call.message_id == message_id]

    def took(self, message_id: str, recipient: str) -> bool:
        """Whether any provider has the mail for a recipient."""
        return any(c.accepted and recipient in c.recipients for c in self.of(message_id))
