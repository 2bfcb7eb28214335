"""What each switch of the simulator does to a mail, as a table: `python -m tests.e2e`, or with
`--providers postmark,resend,mandrill`."""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence

from tests.live import Live, running

MODES = (
    "up",
    "slow",
    "refuse-connections",
    "http-503",
    "rate-limit",
    "unauthorized",
    "unverified-sender",
    "http-500",
    "timeout-before-accept",
    "timeout-after-accept",
    "reset-after-accept",
    "garbage-200",
)
SETTINGS = {
    "CONNECT_TIMEOUT": "1s",
    "READ_TIMEOUT": "2s",
    "SEND_DEADLINE": "5s",
    "UNKNOWN_GRACE": "2s",
    "RETRY_SCHEDULE": "1s,2s",
    "SWEEP_INTERVAL": "0.5s",
}


def row(live: Live, providers: Sequence[str], first: str, mode: str) -> Sequence[str]:
    """Sends one mail with a provider on a switch, the others up; says what became of it."""
    order = [first, *(name for name in providers if name != first)]
    for name in providers:
        live.http.post(f"{live.url}/providers/{name}/resume").raise_for_status()
    live.switch(first, mode, **({"seconds": 1} if mode == "slow" else {}))
    # What another process has resumed is known here after a moment.
    time.sleep(0.3)
    began = time.monotonic()
    message_id = live.send(**{"from": f"orders@{first}-{mode}.example"}, providers=order)
    status = live.until_status(message_id, "sent", "failed", seconds=60)
    took = time.monotonic() - began
    live.switch(first, "up")
    attempts = []
    for attempt in status["attempts"]:
        found = " (found afterwards)" if attempt["evidence"] else ""
        attempts.append(f"{attempt['provider']} {attempt['outcome']}{found}")
    copies = " + ".join(live.inbox(message_id)) or "none"
    flagged = "yes" if status["possible_duplicate"] else "no"
    return (first, mode, ", ".join(attempts), status["status"], copies, flagged, f"{took:.2f} s")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--providers", default="mailgun,sendgrid,ses")
    names = parser.parse_args().providers
    providers = names.split(",")
    titles = ("first", "switch", "attempts", "status", "arrived at", "possible duplicate", "time")
    settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
    sys.stdout.write(f"{settings}\n\n| {' | '.join(titles)} |\n|{'---|' * len(titles)}\n")
    with running(**SETTINGS, PROVIDERS=names) as live:
        for first in providers:
            for mode in MODES:
                sys.stdout.write(f"| {' | '.join(row(live, providers, first, mode))} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
