"""Mixed mails against webhooks that come twice, late, out of order and forged: `python -m
tests.e2e.fates 1000 --providers ses,resend` says whether every recipient ends as the simulator has
it."""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

from tests.live import Live, running
from tests.waiting import until

TROUBLES = {"delay": 0.1, "spread": 2.0, "duplicates": 0.3, "forged": 0.3}
STATES = {
    "delivered": "delivered",
    "bounce": "bounced",
    "block": "bounced",
    "complaint": "complained",
    "defer": "deferred",
}
RECIPIENTS = (
    ["ann"],
    ["bounce"],
    ["block"],
    ["complaint"],
    ["defer"],
    ["ann", "bounce"],
    ["bob", "defer", "complaint", "bounce"],
)
PROVIDERS = ("mailgun", "sendgrid", "ses", "postmark", "resend", "mandrill")


def run(live: Live, count: int, providers: Sequence[str] = PROVIDERS) -> dict[str, tuple[str, str]]:
    """Sends so many mails; the recipients who did not end as they should, with how they did."""
    answer = live.http.post(f"{live.simulator}/control/webhooks", json=TROUBLES)
    assert answer.status_code == 200, answer.text
    ids = []
    for number, people in enumerate(islice(cycle(RECIPIENTS), count)):
        to = [f"{person}+{number}@example.net" for person in people]
        provider = providers[number // len(RECIPIENTS) % len(providers)]
        ids.append(live.send(to=to, providers=[provider]))  # type: ignore[arg-type]
    for message_id in ids:
        until(lambda i=message_id: live.status(i)["attempts"], seconds=120)
    until(lambda: state(live)["pending"] == 0, seconds=120)
    # What the simulator took, by attempt and address, and what it did with it.
    known = {
        recipient["email"]: _end(mail, recipient["fate"])
        for mail in mails(live)
        for recipient in mail["recipients"]
    }

    def wrong() -> dict[str, tuple[str, str]]:
        found = {}
        for message_id in ids:
            for recipient in live.status(message_id)["recipients"]:
                email, status = recipient["email"], recipient["status"]
                if known.get(email) != status:
                    found[email] = (status, str(known.get(email)))
        return found

    deadline = time.monotonic() + 60
    while (found := wrong()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _end(mail: dict[str, Any], fate: str) -> str:
    """How a recipient is to end."""
    if mail["provider"] == "resend" and len(mail["recipients"]) > 1:
        # Whom of several its events are about is not told.
        return "sent"
    return STATES[fate]


def state(live: Live) -> dict[str, Any]:
    found: dict[str, Any] = live.http.get(f"{live.simulator}/control/webhooks").json()
    return found


def mails(live: Live) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, int] = {}
    while True:
        page = live.http.get(f"{live.simulator}/inbox.json", params={"limit": 1000, **after}).json()
        found += page["mails"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--providers", default=",".join(PROVIDERS))
    given = parser.parse_args()
    started = time.monotonic()
    with running(SIMULATOR_WEBHOOKS="auto", PROVIDERS=given.providers) as live:
        wrong = run(live, given.count, given.providers.split(","))
        counts = state(live)["counts"]
    print(f"{given.count} mails in {time.monotonic() - started:.1f} s; webhooks: {counts}")
    print("every recipient ended as the simulator has it" if not wrong else f"wrong: {wrong}")
    return bool(wrong or counts.get("forged_taken"))


if __name__ == "__main__":
    sys.exit(main())
