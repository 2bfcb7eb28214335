"""The list of addresses that nobody mails any more, whichever provider would carry it, and why.

It is one list for all API keys. An address stands on it once for each reason that there is, so that
none hides another: whoever bounced and unsubscribed has still unsubscribed when the bounce is
forgiven. What providers report is written in the same step as the report itself: see `steps`.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import cast

import idna
import orjson
from redis import Redis

from app.core import fates, keys
from app.core.models import OURS, Clock
from app.core.records import from_ms, to_ms
from app.core.scripting import Scripts
from app.core.steps import Command, Step
from providers.types import Bounce, DeliveryEvent, EventType

_AT_ONCE = 1000


class SuppressionReason(StrEnum):
    """Why an address is no longer mailed; the first that an address has is the one that is told."""

    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    HARD_BOUNCE = "hard_bounce"
    MANUAL = "manual"


_ENDS = tuple(f" {reason.value}" for reason in SuppressionReason)

REPORTED: Mapping[tuple[EventType, Bounce | None], SuppressionReason] = MappingProxyType(
    {
        (EventType.COMPLAINED, None): SuppressionReason.COMPLAINT,
        (EventType.UNSUBSCRIBED, None): SuppressionReason.UNSUBSCRIBED,
        (EventType.BOUNCED, Bounce.HARD): SuppressionReason.HARD_BOUNCE,
        # The provider has the address on a list of its own, which the next one knows nothing of.
        (EventType.REJECTED, Bounce.HARD): SuppressionReason.HARD_BOUNCE,
    }
)
"""The reports that suppress an address."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One address with one reason; `email` is in the form of `normal`.

    `source` says who put it there: a provider's name, `link`, or `api:` or `page:` and the name of
    a key. `until` is None where it holds until somebody takes it off.
    """

    email: str
    reason: SuppressionReason
    source: str
    at: datetime
    until: datetime | None = None
    message_id: str | None = None
    note: str = ""

    @property
    def in_words(self) -> str:
        return f"suppressed since {self.at:%Y-%m-%d} ({self.reason}, {self.source})"


def normal(email: str) -> str:
    """The form in which addresses are compared: case and the spelling of the domain are nothing."""
    if email.isascii():
        return email.strip().lower()
    local, _, domain = unicodedata.normalize("NFC", email.strip()).rpartition("@")
    domain = domain.lower()
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            domain = domain.casefold()
    return f"{local.casefold()}@{domain}"


def observe(step: Step) -> Iterator[Command]:
    """Whom the reports of a step suppress, as commands to be done with it."""
    for happening in step.happenings:
        reason = REPORTED.get((happening.type, happening.bounce))
        # Whoever unsubscribed by our link is on the list already.
        if reason is None or happening.provider == OURS:
            continue
        known = fates.recipients_of(step.after, happening)
        for email in sorted(known) or [happening.recipient]:
            yield from _written(email, reason, happening.provider, happening.at, step.after.id)


def observe_stray(provider: str, event: DeliveryEvent) -> Iterator[Command]:
    """Whom a report suppresses that belongs to no message of ours."""
    reason = REPORTED.get((event.type, event.bounce))
    if reason is not None and provider != OURS:
        yield from _written(event.recipient, reason, provider, event.occurred_at, None)


def _written(
    email: str, reason: SuppressionReason, source: str, at: datetime, message_id: str | None
) -> Iterator[Command]:
    if "@" not in email:
        return
    entry = Suppression(normal(email), reason, source, at, message_id=message_id)
    member, text = _member(entry.email, reason), _encode(entry)
    yield ("HSET", keys.SUPPRESSIONS, member, text)
    yield ("ZADD", keys.SUPPRESSION_ORDER, 0, member)


class Suppressions:
    """The list as it stands in Redis. Safe to use from several threads at once.

    Every method raises StoreUnavailable; what writes may raise WriteInDoubt, and may be repeated.
    """

    def __init__(self, scripts: Scripts, clock: Clock) -> None:
        self._scripts = scripts
        self._clock = clock

    def find(self, emails: Iterable[str]) -> dict[str, Suppression]:
        """What stands against some addresses now, by address as it is spelt here."""
        wanted = {email: normal(email) for email in emails}
        first: dict[str, Suppression] = {}
        for entry in self._read(members(wanted.values())):
            if self._holds(entry):
                first.setdefault(entry.email, entry)
        return {email: first[form] for email, form in wanted.items() if form in first}

    def of(self, email: str) -> list[Suppression]:
        """Everything that stands against an address."""
        members = [_member(normal(email), reason) for reason in SuppressionReason]
        return [entry for entry in self._read(members) if self._holds(entry)]

    def page(self, after: str | None, limit: int) -> tuple[list[Suppression], str | None]:
        """A page of the list in the order of addresses, and its cursor to the next one."""
        lower = "-" if after is None else f"({after}"
        found = self._scripts.read(
            lambda r: r.zrangebylex(keys.SUPPRESSION_ORDER, lower, "+", 0, limit + 1)
        )
        shown = found[:limit]
        entries = self._read(shown)
        over = [entry for entry in entries if not self._holds(entry)]
        if over:
            self._forget([(_member(e.email, e.reason), _encode(e)) for e in over])
        following = shown[-1] if len(found) > limit else None
        return [entry for entry in entries if self._holds(entry)], following

    def add(self, entries: Sequence[Suppression]) -> None:
        """Puts addresses on the list; what stood there for the same reason is replaced."""
        for start in range(0, len(entries), _AT_ONCE):
            arguments = [
                text
                for entry in entries[start : start + _AT_ONCE]
                for text in (_member(entry.email, entry.reason), _encode(entry))
            ]
            self._scripts.run("suppress", [], arguments)

    def remove(self, email: str) -> bool:
        """Takes an address off the list, whatever the reasons; whether it was there."""
        form = normal(email)
        return self._forget([(_member(form, reason), "") for reason in SuppressionReason]) > 0

    def _forget(self, entries: Iterable[tuple[str, str]]) -> int:
        arguments = [text for entry in entries for text in entry]
        return cast("int", self._scripts.run("unsuppress", [], arguments))

    def _holds(self, entry: Suppression) -> bool:
        return entry.until is None or entry.until > self._clock()

    def _read(self, members: Sequence[str]) -> list[Suppression]:
        def read(redis: Redis) -> list[str | None]:
            texts: list[str | None] = []
            for start in range(0, len(members), _AT_ONCE):
                part = list(members[start : start + _AT_ONCE])
                texts += cast("list[str | None]", redis.hmget(keys.SUPPRESSIONS, part))
            return texts

        texts = self._scripts.read(read) if members else []
        pairs = zip(members, texts, strict=True)
        return [_decode(member, text) for member, text in pairs if text is not None]


def members(emails: Iterable[str]) -> list[str]:
    """Where in the list everything stands that is held against addresses, if anything is."""
    forms = dict.fromkeys(normal(email) for email in emails)
    return [form + end for form in forms for end in _ENDS]


def _member(email: str, reason: SuppressionReason) -> str:
    return f"{email} {reason.value}"


def _encode(entry: Suppression) -> str:
    value = {
        "source": entry.source,
        "at": to_ms(entry.at),
        "until": None if entry.until is None else to_ms(entry.until),
        "message": entry.message_id,
        "note": entry.note or None,
    }
    return orjson.dumps({name: item for name, item in value.items() if item is not None}).decode()


def _decode(member: str, text: str) -> Suppression:
    email, _, reason = member.rpartition(" ")
    value = orjson.loads(text)
    return Suppression(
        email,
        SuppressionReason(reason),
        value["source"],
        from_ms(value["at"]),
        from_ms(value["until"]) if "until" in value else None,
        value.get("message"),
        value.get("note", ""),
    )
