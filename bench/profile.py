"""Where the time of a worker goes, by py-spy, which looks at it from outside.

What is asked of a sample is in which of our rooms it was taken: of the functions that were under
way, the first in the list counts.
"""

import re
import sys
import time
from collections import Counter
from pathlib import Path

from bench.machine import Machine, Process, Provider, wait_until
from bench.sending import window
from bench.systems import fill_ours

_RATE = 250
_START_SECONDS = 5
_FRAME = re.compile(r"^(\S+) \(")

ROOMS = (
    ("the exchange with the provider: requests, urllib3, sockets", "Transport._exchange"),
    ("what is written along: numbers, suppressions, callbacks", "MessageStore._also"),
    ("writing two moves a mail, together with others", "Mover.move"),
    ("choosing the provider", "Chooser.choose"),
    ("composing the request, reading the answer", "HttpProvider.send"),
    ("a line of log for each attempt", "_log_attempt"),
    ("closing the attempt: the tables of states", "Delivery._closed"),
    ("taking mails out of the queue, a batch at a time", "MailWorker._take"),
    ("everything else about a delivery", "Delivery.deliver"),
    ("the loop of gevent, and whatever else the process does", ""),
)


def measure(machine: Machine, provider: Provider, seconds: float) -> dict[str, float]:
    """The share of each room, from 0 to 1, while one of two workers is looked at."""
    found = machine.directory / "samples"
    machine.empty()
    provider.ask("close")
    fill_ours(machine, provider, round(1500 * (seconds + _START_SECONDS)))
    env = machine.service(SENDGRID_BASE_URL=f"http://127.0.0.1:{provider.port}")
    look = [str(Path(sys.executable).with_name("py-spy")), "record", "--gil", "--format", "raw"]
    look += ["--duration", str(round(seconds + _START_SECONDS)), "--rate", str(_RATE)]
    look += ["--function", "--output", str(found), "--", sys.executable, "-m", "workers"]
    processes: list[Process] = [machine.run(look, env), machine.start("workers", **env)]
    try:
        window(machine, provider, processes, seconds)
        wait_until(found.exists, seconds + _START_SECONDS)
        # It is written in one go, when the looking is over.
        time.sleep(0.5)
        samples = found.read_text()
    finally:
        machine.stop(*processes)
    return shares(samples)


def shares(samples: str) -> dict[str, float]:
    """The share of each room in samples as py-spy writes them: a line a stack, with its number."""
    found = Counter({room: 0 for room, _ in ROOMS})
    for line in samples.splitlines():
        stack, _, number = line.rpartition(" ")
        # Before it sends anything, it imports.
        if "MailWorker" not in stack:
            continue
        names = {match[1] for frame in stack.split(";") if (match := _FRAME.match(frame))}
        room = next(room for room, function in ROOMS if function in names or not function)
        found[room] += int(number)
    return {room: count / max(found.total(), 1) for room, count in found.items()}
