"""What a provider keeps about the mail that it took, read by GET, for `find`."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from providers.answers import Complaint, judge, reason, retry_after
from providers.errors import AccountRefused, ProviderFailure, Unavailable, Unknown
from providers.mailbox import ascii_domain
from providers.transport import Call, Transport
from providers.types import Address

#: Seconds for which a key that may not read is not tried again: it may be exchanged for another.
_REFUSAL_REMEMBERED = 600.0
#: Characters that mean something in the filters and queries of providers.
_SYNTAX = frozenset(' \t"\\(),:;<>%*')


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
    ) -> None:
        self._transport = transport
        self._headers = headers
        self._secrets = secrets
        self._deadline = deadline
        self._clock = clock
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

    def read(self, url: str, seconds: float) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises a ProviderFailure where none comes."""
        answer = self._transport.get(Call(url, self._headers, b"", self._secrets), seconds)
        if 200 <= answer.status < 300:
            fields = answer.fields
            if fields:
                return fields
            raise Unknown(f"{answer.status} with no JSON that can be read", status=answer.status)
        line = reason(answer, "")
        if answer.status in (401, 403):
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
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise Unavailable("the search did not come to its end within its deadline")
        return self._records.read(url, left)


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
