"""Webhooks: what a provider is handed of a request, what it reads in it, and why it may not."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Self

from providers.types import Bounce, DeliveryEvent, EventType

EventRow = tuple[str, str, str, EventType, Bounce | None]
"""One row of a provider's table of events: patterns for three of its words, each for the whole of
it, and what an event with such words is."""

_LONGEST_LINE = 300
#: RFC 3463.
_STATUS_CODE = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request that claims to come from a provider.

    `url` is where it went, as the provider knows it, and `body` the bytes as they came: signatures
    cover them. Names of `headers` are in lower case. `fetch` gets a document from an https address,
    which the provider has checked, without following redirects; it raises VerifierUnavailable.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    fetch: Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class WebhookContent:
    """What a request that was verified has told.

    `ignored` names the kinds of events in it that are not for us. `token`, where there is one, is
    the provider's for this request alone: what comes with it again within `token_lasts` is a
    repetition, and nothing of it counts.
    """

    events: tuple[DeliveryEvent, ...] = ()
    ignored: tuple[str, ...] = ()
    token: str | None = None
    token_lasts: timedelta = timedelta(0)

    @classmethod
    def of(
        cls,
        told: Iterable[tuple[str, DeliveryEvent | None]],
        token: str | None = None,
        token_lasts: timedelta = timedelta(0),
    ) -> Self:
        """Out of the names of events and the events, None where one is not for us."""
        pairs = tuple(told)
        return cls(
            tuple(event for _, event in pairs if event is not None),
            tuple(name for name, event in pairs if event is None),
            token,
            token_lasts,
        )


class WebhookFault(Exception):
    """A request that nothing may be believed of; the text says why, for the one who sent it."""


class WebhooksNotSetUp(WebhookFault):
    """Requests cannot be verified, because the settings say nothing about how."""


class NotAuthentic(WebhookFault):
    """The signature lacks, is wrong or is too old: somebody else may have written it."""


class NotReadable(WebhookFault):
    """It is authentic as far as one can see, and not in the provider's form."""


class VerifierUnavailable(WebhookFault):
    """What is needed to verify it cannot be had now: it should be sent again."""


def one_line(text: object) -> str | None:
    """A provider's words as one line of a bounded length; None where it said nothing."""
    if not isinstance(text, str):
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:_LONGEST_LINE] or None


def within(at: datetime, now: datetime, past: timedelta, future: timedelta) -> bool:
    """Whether a request that was signed `at` this time may still, or already, be believed."""
    return -future <= now - at <= past


def parsed(body: bytes) -> object:
    """The JSON in a body. Raises NotReadable where there is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise NotReadable("the body is not JSON") from None


def moment(value: object) -> datetime | None:
    """A time as providers write it: Unix seconds, as a number or as text, or ISO 8601."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            at = datetime.fromisoformat(value)
            found = at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            found = datetime.fromtimestamp(float(value), UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return found if _EARLIEST <= found <= _LATEST else None


def meaning(rows: Iterable[EventRow], *words: object) -> tuple[EventType, Bounce | None] | None:
    """What an event with these words is, by the first row that fits; None: it is not for us."""
    said = tuple(map(word, words))
    for *patterns, kind, bounce in rows:
        if all(re.fullmatch(p, w, re.DOTALL) for p, w in zip(patterns, said, strict=True)):
            return kind, bounce
    return None


def word(value: object) -> str:
    """A text or a number as text; empty for whatever else there is."""
    return str(value) if isinstance(value, str | int | float) else ""


def text(value: object) -> str | None:
    """A text that is one, and not empty."""
    return value if isinstance(value, str) and value else None


def status_code(said: object) -> str | None:
    """The enhanced status code in the words of a mail server."""
    found = _STATUS_CODE.search(said) if isinstance(said, str) else None
    return found[0] if found else None


def address(value: object) -> str:
    """The bare address in a text that may hold a name too; empty where there is none."""
    found = parseaddr(value)[1] if isinstance(value, str) and len(value) <= _LONGEST_LINE else ""
    return found if found.isprintable() else ""
