"""The rules of where things stand: every list agrees with the records, every key with its page."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from fakeredis.model import ExpiringMembersSet, Hash, ZSet

from app.core import keys
from tests.simulation.seen import Seen
from tests.simulation.world import Violation

_KINDS = {
    "hash": Hash,
    "string": bytes,
    "sorted set": ZSet,
    "set": ExpiringMembersSet,
    "list": list,
}
_WAITING = {"high": keys.WAITING_HIGH, "normal": keys.WAITING, "bulk": keys.WAITING_BULK}
_LISTS = (*keys.WAITING_BY_PRIORITY, keys.QUEUED, keys.LEASED, keys.ENDED)
_OF_MESSAGES = (keys.MESSAGES, *_LISTS)
_AS_THE_RECORD = (keys.MESSAGE, keys.BODY, keys.TIMELINE)


class _Page(NamedTuple):
    pattern: re.Pattern[str]
    kind: type
    expiry: str


def documented() -> list[_Page]:
    """The table of `app/core/keys.py`, as patterns with their types and expiries."""
    pages = []
    for line in (keys.__doc__ or "").splitlines():
        if line.startswith("| `"):
            name, kind, _, expiry = (cell.strip() for cell in line.strip("|").split("|"))
            pattern = re.sub(r"<\w+>", "[^:]+", name.strip("`"))
            pages.append(_Page(re.compile(pattern), _KINDS[kind], expiry))
    return pages


class Places:
    """Looks at all that Redis holds, and says what is wrong."""

    def __init__(self, data: Mapping[bytes, Any]) -> None:
        self._data = data
        self._pages = documented()
        self._page_of: dict[bytes, _Page | None] = {}

    def score(self, name: str, message_id: str) -> int | None:
        """The score of a message in a sorted set."""
        item = self._data.get(name.encode())
        score = None if item is None else item.value.get(message_id.encode())
        return None if score is None else int(score)

    def check(self, messages: Mapping[str, Seen]) -> None:
        """Every rule, over all of Redis."""
        for message in messages.values():
            self._indexed(message)
        for key, item in self._data.items():
            self._kept_as_documented(key, item, messages)

    def leftovers(self, messages: Mapping[str, Seen]) -> list[str]:
        """What RQ would still find: there is none where everything has ended."""
        del messages
        kept = (b"rq:queues",)
        # The worker's own lists go by themselves.
        return [
            key.decode()
            for key, item in self._data.items()
            if key.startswith(b"rq:") and key not in kept and item.expireat is None
        ]

    def _indexed(self, message: Seen) -> None:
        """A message is in the one list that leads to its work, or to its end."""
        found = {name for name in _LISTS if self.score(name, message.id) is not None}
        if message.state == "queued":
            right = keys.QUEUED
        elif message.state == "sending":
            right = keys.LEASED
        else:
            right = keys.ENDED if message.next is None else _WAITING[message.priority]
        if found != {right}:
            text = f"{message.id[-4:]} is {message.state} and in {sorted(found) or 'no list'}"
            raise Violation("lists", text)
        if message.next is not None and self.score(right, message.id) != message.next:
            raise Violation("lists", f"{message.id[-4:]} waits for another time")
        body = keys.body(message.id).encode() in self._data
        done = message.state == "sent" and not message.wants_failover
        if done if body else not message.ended:
            raise Violation("content", f"{message.id[-4:]} is {message.state}, and has it: {body}")
        if self.score(keys.messages(message.key), message.id) is None:
            raise Violation("lists", f"{message.id[-4:]} is not among its key's")

    def _kept_as_documented(self, key: bytes, item: Any, messages: Mapping[str, Seen]) -> None:
        if key.startswith(b"rq:"):
            return
        name = key.decode()
        if key not in self._page_of:
            fits = [page for page in self._pages if page.pattern.fullmatch(name)]
            self._page_of[key] = fits[0] if fits else None
        page = self._page_of[key]
        if page is None:
            raise Violation("keys", f"{name} is not documented")
        if type(item.value) is not page.kind:
            raise Violation("keys", f"{name} is a {type(item.value).__name__}")
        if page.kind is ZSet:
            self._members(name, item.value, messages)
        if name.startswith(_AS_THE_RECORD):
            self._expiry_of(name, item.expireat, messages)
        elif (item.expireat is None) != (page.expiry in ("none", "-")):
            raise Violation("keys", f"{name}: its expiry is {item.expireat}")

    def _expiry_of(self, name: str, expiry: float | None, messages: Mapping[str, Seen]) -> None:
        message = messages.get(name.rpartition(":")[2])
        if message is None:
            raise Violation("keys", f"{name} is nobody's")
        if message.ended != (expiry is not None):
            text = f"{name[-8:]} is {message.state}, and its expiry is {expiry}"
            raise Violation("expiry", text)

    def _members(self, name: str, members: ZSet, messages: Mapping[str, Seen]) -> None:
        if not name.startswith(_OF_MESSAGES):
            return
        state = (
            name.split(":")[3] if name.startswith(keys.MESSAGES) and name.count(":") == 3 else None
        )
        for member in members._bylex:
            message = messages.get(member.decode())
            if message is None or state not in (None, message.state):
                raise Violation("lists", f"{name} holds {member.decode()[-4:]}")
