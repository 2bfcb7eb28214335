"""The table of keys in `app.core.keys`, read as data."""

import re
from dataclasses import dataclass
from typing import Any

from redis import Redis

from app.core import keys

_SECONDS = {"second": 1, "minute": 60, "min": 60, "h": 3600, "day": 86400}


@dataclass(frozen=True)
class Row:
    """A line of the table. `pattern` is for whole keys, `kind` as Redis calls it."""

    name: str
    pattern: re.Pattern[str]
    kind: str
    expiry: str

    @property
    def may_stay(self) -> bool:
        """Whether a key may be without an expiry: its members leave, or it is one of the few."""
        return self.expiry == "-" or self.expiry.startswith("none")

    @property
    def most_seconds(self) -> float:
        """How long a key lasts at most, where the table says so in a number."""
        found = re.fullmatch(r"(\d+|an?) (second|minute|min|h|day)s?( .*)?", self.expiry)
        if found is None:
            return float("inf")
        number = int(found[1]) if found[1].isdigit() else 1
        return number * _SECONDS[found[2]]


def rows() -> list[Row]:
    """Every line, those with the longest name first: more than one may fit a key."""
    found = []
    for line in (keys.__doc__ or "").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`"):
            name = cells[0].strip("`")
            parts = re.split(r"<[^>]*>", name.removesuffix("…"))
            pattern = "[^:]+".join(map(re.escape, parts)) + (".*" if name.endswith("…") else "")
            found.append(Row(name, re.compile(pattern), cells[1].replace("sorted ", "z"), cells[3]))
    return sorted(found, key=lambda row: (row.name.count("<"), -len(row.name)))


def row_of(key: str) -> Row | None:
    return next((row for row in rows() if row.pattern.fullmatch(key)), None)


def faults(redis: Redis) -> list[str]:
    """What is not as the table says, of all the keys that a server has."""
    found = []
    for key in redis.scan_iter(count=1000):
        row = row_of(key)
        pipeline = redis.pipeline(transaction=False)
        kind, milliseconds = pipeline.type(key).pttl(key).execute()
        if milliseconds == -2:
            continue
        if row is None:
            found.append(f"{key} is not in the table")
        elif kind != row.kind:
            found.append(f"{key} is a {kind}")
        elif row.name in _OF_A_MESSAGE:
            found += _as_its_record(redis, key, milliseconds)
        elif milliseconds == -1 and not row.may_stay:
            found.append(f"{key} has no expiry")
        elif milliseconds > row.most_seconds * 1000 + _SLACK_MS and not row.expiry.count(" after "):
            found.append(f"{key} lasts {milliseconds} ms")
    return found


_SLACK_MS = 1000
_OF_A_MESSAGE = (
    "sp:message:<id>",
    "sp:body:<id>",
    "sp:attachments:<id>",
    "sp:timeline:<id>",
    "rq:job:<id>",
)


def _as_its_record(redis: Redis, key: str, milliseconds: int) -> list[str]:
    """An unfinished record never has an expiry, nor what belongs to it; one that ended has."""
    message_id = key.rpartition(":")[2]
    pipeline = redis.pipeline()
    pipeline.hmget(keys.message(message_id), "state", "next").pttl(key)
    answer: list[Any] = pipeline.execute()
    (state, due), again = answer
    if again == -2:
        return []
    unfinished = due is not None or state in ("queued", "sending", "scheduled", "retrying")
    if state is None or (unfinished and again != -1) or (not unfinished and again == -1):
        return [f"{key} of a message that is {state} has {again} ms"]
    return []
