"""What a provider's HTTP answer means: complaints, the rules they are held against, the wait."""

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from requests.structures import CaseInsensitiveDict

from providers.errors import (
    AccountRefused,
    Limited,
    MessageRefused,
    ProviderFailure,
    Unavailable,
    Unknown,
)

#: The statuses that mean the same wherever they come from; a hundred stands for the rest of it.
_BY_STATUS: Mapping[int, type[ProviderFailure]] = {
    **dict.fromkeys((408, 503), Unavailable),
    **dict.fromkeys((420, 429), Limited),
    **dict.fromkeys((401, 402, 403, 404, 405, 407, 410, 415, 421, 426, 451), AccountRefused),
    # A redirect means a wrong base URL, and following one would turn the POST into a GET.
    300: AccountRefused,
    # A complaint nobody documented says nothing about the other providers.
    400: MessageRefused,
    500: Unknown,
}

_REASON_LIMIT = 300
_LONGEST_WAIT = 24 * 3600.0
#: Below this a reset is not a moment in Unix time but a number of seconds.
_OLDEST_RESET = 1_000_000_000

_ADDRESS = re.compile(r"""("[^"\n]*"|[^\s<>"(),:;\[\]@]+?)(@|%40)(?=[^\s@])""")
_TRY_AGAIN = re.compile(r"try again (?:after|in) (?:(\d+(?:\.\d+)?) ?s(?:ec|\b)|(.+))", re.I | re.S)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as far as it came: the status always, headers and body where they were readable.

    `secrets` are those of the request, which a careless answer may repeat.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=CaseInsensitiveDict, repr=False)
    body: bytes = field(default=b"", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def content_type(self) -> str:
        """Without its parameters, in lower case; empty where none came."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def fields(self) -> Mapping[str, Any]:
        """The JSON object in the body; empty where there is none, or it was cut short."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def may_be_json(self) -> bool:
        """Whether the content type leaves room for JSON; an answer cut short may have none."""
        kind = self.content_type
        return not kind or kind.endswith(("/json", "+json")) or kind.startswith("application/x-amz")


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that a provider says is wrong, with its machine-readable code where it has one."""

    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a provider's table of errors; the first row that fits counts.

    `statuses` empty means any. `code` is a pattern for the whole code, `text` one for any part of
    the text, case aside.
    """

    failure: type[ProviderFailure]
    statuses: tuple[int, ...] = ()
    code: str = ""
    text: str = ""

    def fits(self, status: int, complaint: Complaint) -> bool:
        return (
            (not self.statuses or status in self.statuses)
            and (not self.code or re.fullmatch(self.code, complaint.code) is not None)
            and (not self.text or re.search(self.text, complaint.text, re.I) is not None)
        )


def judge(rules: Iterable[Rule], status: int, complaint: Complaint) -> type[ProviderFailure]:
    """The failure that a complaint stands for: by the provider's rules, else by the status."""
    for rule in rules:
        if rule.fits(status, complaint):
            return rule.failure
    return _BY_STATUS.get(status) or _BY_STATUS.get(status // 100 * 100, Unknown)


def retry_after(answer: Answer, now: float) -> float | None:
    """Seconds for which the provider wants to be left alone, or None where it does not say.

    `now` is Unix time. Read from `Retry-After`, then from `X-RateLimit-Reset` where the answer is
    about a rate, then from words such as "try again after 5 seconds" or "try again after <date>".
    """
    wait = _seconds(answer.headers.get("Retry-After", ""), now)
    if wait is None and answer.status in (420, 429):
        reset = _number(answer.headers.get("X-RateLimit-Reset", ""))
        wait = reset - now if reset is not None and reset > _OLDEST_RESET else reset
    if wait is None and (found := _TRY_AGAIN.search(str(answer.fields.get("message", "")))):
        wait = _seconds(found[1] or found[2], now)
    return None if wait is None else min(max(wait, 0.0), _LONGEST_WAIT)


def _seconds(text: str, now: float) -> float | None:
    number = _number(text)
    if number is not None:
        return number
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment.timestamp() - now


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,15}(\.\d{1,15})?", text.strip()) else None


def reason(answer: Answer, words: str) -> str:
    """One line for people: status and the provider's words, no secrets and no whole addresses."""
    if not words and answer.content_type == "text/plain":
        words = answer.text
    for secret in filter(None, answer.secrets):
        words = words.replace(secret, "***")
    # Cut before the address pattern runs, whose time grows with the square of the longest word.
    words = "".join(c if c.isprintable() else " " for c in words[: 10 * _REASON_LIMIT])
    words = " ".join(words.split())
    line = f"{answer.status} {masked(words) or _phrase(answer.status)}"
    return line if len(line) <= _REASON_LIMIT else line[: _REASON_LIMIT - 1] + "…"


def masked(text: str) -> str:
    """`text` with every address in it as `a***@example.net`."""
    return _ADDRESS.sub(lambda found: f"{found[1][0]}***{found[2]}", text)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
