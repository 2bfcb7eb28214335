"""A record as it stands in Redis, read without the code that wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

WORK = frozenset({"scheduled", "queued", "sending", "retrying"})


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as the judge sees it; times are in ms, recipients' states by address."""

    id: str
    version: int
    state: str
    key: str
    priority: str
    owner: str
    fence: int
    next: int | None
    expires: int
    in_grace: bool
    flagged: bool
    hold: bool
    tag: str
    recipients: Mapping[str, str]
    attempts: tuple[Mapping[str, Any], ...]
    evidence: Mapping[tuple[int, str], str]
    came_back: frozenset[tuple[str, int]]
    """Of whom a provider reported that an attempt did not reach them."""
    wants_failover: bool
    passed_on: Mapping[str, int]
    """By address, the attempt after whose block it was offered elsewhere."""

    @property
    def ended(self) -> bool:
        return self.state not in WORK and self.next is None

    @property
    def open_attempt(self) -> int | None:
        """The number of the attempt under way."""
        last = len(self.attempts)
        return last if last and "outcome" not in self.attempts[-1] else None

    def findings(self, number: int) -> list[str]:
        return [finding for (n, _), finding in self.evidence.items() if n == number]

    @property
    def doubtful(self) -> list[int]:
        """The attempts of which nobody knows what they came to."""
        return [
            n
            for n, attempt in enumerate(self.attempts, 1)
            if attempt.get("outcome") == "unknown" and not self.findings(n)
        ]

    def reached(self, number: int) -> tuple[str, ...]:
        """Whom an attempt was for."""
        return tuple(self.attempts[number - 1].get("recipients") or self.recipients)


def read(message_id: str, raw: Mapping[bytes, bytes]) -> Seen:
    """What a record's fields say."""
    fields = {name.decode(): text.decode() for name, text in raw.items()}
    envelope, recipients = orjson.loads(fields["envelope"]), orjson.loads(fields["recipients"])
    attempts = []
    while (text := fields.get(f"attempt:{len(attempts) + 1}")) is not None:
        attempts.append(orjson.loads(text))
    evidence = {}
    for name, text in fields.items():
        if name.startswith("evidence:"):
            _, number, source = name.split(":")
            evidence[int(number), source] = orjson.loads(text)["finding"]
    return Seen(
        id=message_id,
        version=int(fields["version"]),
        state=fields["state"],
        key=fields["key"],
        priority=fields.get("priority", "normal"),
        owner=fields.get("owner", ""),
        fence=int(fields.get("fence", 0)),
        next=int(fields["next"]) if "next" in fields else None,
        expires=int(fields["expires"]),
        in_grace="grace" in fields,
        flagged="possible_duplicate" in fields,
        hold=envelope["on_unknown"] == "hold",
        tag=envelope["tags"][0],
        recipients={told[0]: told[3] for told in recipients},
        attempts=tuple(attempts),
        evidence=evidence,
        came_back=frozenset(
            (told[0], report[0])
            for told in recipients
            for report in (told[5].get("reports", ()) if len(told) > 5 else ())
            if report[1] in ("bounced", "failed")
        ),
        wants_failover=envelope.get("failover_on_block", False),
        passed_on={
            told[0]: told[5]["passed_on"]
            for told in recipients
            if len(told) > 5 and "passed_on" in told[5]
        },
    )
