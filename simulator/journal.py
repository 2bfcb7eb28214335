"""What happened to the newest mails, event by event, as the providers' own records tell it."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulator.mail import Fate, Mail, fate_of
from simulator.switches import Provider

KEPT_RECORDS = 20_000
#: Seconds from a mail's acceptance to what becomes of it.
DELIVERY = 0.05


@dataclass(frozen=True, slots=True)
class Record:
    """A mail without its content; `number` counts up by one, `accepted_at` is in Unix seconds.

    `to` are those among the recipients who stand in To.
    """

    number: int
    accepted_at: float
    provider: Provider
    message_id: str
    sender: str
    to: tuple[str, ...]
    recipients: tuple[str, ...]
    subject: str
    tags: tuple[str, ...]
    variables: dict[str, str]
    fate: Fate | None = None

    def fate_of(self, recipient: str) -> Fate:
        """What becomes of the mail with one of them."""
        return self.fate or fate_of(recipient)


@dataclass(slots=True)
class Journal:
    """Records of the mails that came last."""

    _records: deque[Record] = field(default_factory=lambda: deque(maxlen=KEPT_RECORDS))
    _total: int = 0

    def add(self, mail: Mail, accepted_at: float) -> Record:
        self._total += 1
        record = Record(
            self._total,
            accepted_at,
            mail.provider,
            mail.provider_message_id,
            mail.sender.email,
            tuple(one.email for one in mail.to),
            tuple(one.email for one in mail.to + mail.cc + mail.bcc),
            mail.subject,
            mail.tags,
            mail.variables,
            mail.fate,
        )
        self._records.append(record)
        return record

    def newest(self, provider: Provider, since: float, until: float) -> Iterator[Record]:
        """What a provider accepted within this time, newest first."""
        for record in reversed(self._records):
            if record.accepted_at < since:
                return
            if record.provider is provider and record.accepted_at <= until:
                yield record
