"""What a provider keeps about the mail that it took, read over HTTP, for `find`."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from providers.answers import Answer, Complaint, judge, reason, retry_after
from providers.errors import AccountRefused, ProviderFailure, Unavailable, Unknown
from providers.mailbox import ascii_domain
from providers.transport import Call, Transport
from providers.types import Address

#: Seconds for which a key that may not read is not tried again: it may be exchanged for another.
_REFUSAL_REMEMBERED = 600.0
#: Characters that mean something in the filters and queries of providers.
_SYNTAX = frozenset(' \t"\\(),:;<>%*')


def refuses_our_key(answer: Answer) -> bool:
    """Whether an answer is about our key, in the way of most."""
    return answer.status in (401, 403)


class Records:
    """The records of one account. A search of them takes no longer than `deadline` seconds."""

    def __init__(
        self,
        transport: Transport,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        *,
        deadline: float,
        clock: Callable[[], float],
        may_not_read: Callable[[Answer], bool] = refuses_our_key,
    ) -> None:
        """`may_not_read` says whether an answer is about our key."""
        self._transport = transport
        self._headers = headers
        self._secrets = secrets
        self._deadline = deadline
        self._clock = clock
        self._may_not_read = may_not_read
        self._refusal = ""
        self._refused_until = 0.0

    @property
    def readable(self) -> bool:
        """Whether our key may read them, as far as we know: many keys may only send."""
        return self._clock() >= self._refused_until

    def search(self) -> "Search":
        """Begin a search. Raises AccountRefused, unasked, while they are not readable."""
        if not self.readable:
            raise AccountRefused(f"not asked again for a while, after {self._refusal}")
        return Search(self, time.monotonic() + self._deadline)

    def read(self, url: str, question: bytes | None, seconds: float) -> object:
        """The JSON at `url`, or in answer to a question. Raises a ProviderFailure for none."""
        call = Call(url, self._headers, question or b"", self._secrets)
        ask = self._transport.get if question is None else self._transport.ask
        answer = ask(call, seconds)
        if 200 <= answer.status < 300:
            try:
                found: object = json.loads(answer.body)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict | list):
                line = f"{answer.status} with no JSON that can be read"
                raise Unknown(line, status=answer.status)
            return found
        line = reason(answer, "")
        if self._may_not_read(answer):
            self._refusal = line
            self._refused_until = self._clock() + _REFUSAL_REMEMBERED
        failure: type[ProviderFailure] = judge((), answer.status, Complaint(""))
        wait = retry_after(answer, self._clock())
        raise failure(line, status=answer.status, retry_after=wait)


class Search:
    """One search: any number of reads, and one end to all of them."""

    def __init__(self, records: Records, ends_at: float) -> None:
        self._records = records
        self._ends_at = ends_at

    def read(self, url: str) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises a ProviderFailure where none comes."""
        found = self._read(url, None)
        if not isinstance(found, dict):
            raise Unknown("an answer that is not the object that it should be")
        return found

    def ask(self, url: str, question: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The JSON objects in the list that answers a question. Raises a ProviderFailure."""
        return objects(self._read(url, json.dumps(question).encode()))

    def _read(self, url: str, question: bytes | None) -> object:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise Unavailable("the search did not come to its end within its deadline")
        return self._records.read(url, question, left)


def searchable(recipients: Iterable[str]) -> str | None:
    """One of these addresses, as it was given to the provider, that can stand in any filter."""
    for recipient in recipients:
        try:
            address = ascii_domain(Address(recipient))
        except ValueError:
            continue
        if _SYNTAX.isdisjoint(address):
            return address
    return None


def objects(found: object) -> list[Mapping[str, Any]]:
    """The JSON objects in a list. Raises Unknown where it is no list."""
    if not isinstance(found, list):
        raise Unknown("an answer without the list that it should hold")
    return [one for one in found if isinstance(one, dict)]


def member(found: object, *names: str) -> object:
    """What stands at the end of a path of names in JSON, None where the path breaks off."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found
