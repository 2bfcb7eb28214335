"""The scenarios, and how one is run: load and troubles, then peace, then the reckoning."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos import fates
from tests.chaos.judge import Judge
from tests.chaos.leash import Leash
from tests.chaos.ledger import Blow, Row, balance
from tests.chaos.load import Load
from tests.chaos.service import LEASE_SECONDS, Service
from tests.chaos.troubles import Killer, Misleader, Restarter, Stopper, Trouble

_SECONDS_TO_BE_ANSWERED = 60.0
_SECONDS_TO_END = 120.0
# Long enough for kills to fall into calls that are under way.
_SECONDS_OF_A_CALL = 0.3
# A worker until its leases are over and others have its mail; the store until its clients give up.
_SECONDS_STOPPED = {
    "worker": (LEASE_SECONDS + 0.5, LEASE_SECONDS + 2.0),
    "store": (0.5, LEASE_SECONDS + 4.0),
}
_ALL = ("worker", "web", "web worker", "store", "supervisor", "guard")


@dataclass(frozen=True, slots=True)
class Scenario:
    """The roles in which processes are killed or stopped for a while, and what else goes on."""

    name: str
    kills: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    restarts: bool = False
    faults: bool = False


SCENARIOS = (
    Scenario("workers", kills=("worker",)),
    Scenario("web", kills=("web", "web worker")),
    Scenario("store", kills=("store",)),
    Scenario("supervisor", kills=("supervisor", "guard")),
    Scenario("mixed", kills=_ALL),
    Scenario("restarts", restarts=True),
    Scenario("stopped", stops=("worker",)),
    Scenario("hung store", stops=("store",)),
    Scenario("faults", faults=True),
    Scenario("everything", kills=_ALL, stops=("worker", "store"), faults=True),
)


def run(scenario: Scenario, seed: str, seconds: float, directory: Path) -> Row:
    """One run of a scenario in an empty directory."""
    with (
        Leash() as leash,
        Judge(directory, leash) as judge,
        Service(directory, leash, judge.environment) as service,
    ):
        judge.switch_all("slow", _SECONDS_OF_A_CALL)
        load = Load(service.url, service.key, seed)
        blows: list[Blow] = []
        began = time.monotonic()
        try:
            load.start()
            _suffer(_troubles(scenario, service, judge), seed, seconds, blows)
            lasted = time.monotonic() - began
            judge.switch_all("up")
            load.finish(_SECONDS_TO_BE_ANSWERED)
        finally:
            load.give_up()
        book = load.book
        statuses = fates.read(service.url, service.key, book.accepted, _SECONDS_TO_END)
        service.stop()
        # Counted when nobody is left who could send anything.
        return balance(
            scenario.name,
            book.accepted,
            judge.arrivals(),
            statuses,
            blows,
            lasted,
            book.in_doubt,
            [*service.faults, *book.odd],
        )


def _troubles(scenario: Scenario, service: Service, judge: Judge) -> Sequence[Trouble]:
    troubles: list[Trouble] = []
    if scenario.kills:
        troubles.append(Killer(service, scenario.kills))
    if scenario.restarts:
        troubles.append(Restarter(service))
    troubles += [Stopper(service, role, *_SECONDS_STOPPED[role]) for role in scenario.stops]
    if scenario.faults:
        troubles.append(Misleader(judge))
    return troubles


def _suffer(troubles: Sequence[Trouble], seed: str, seconds: float, blows: list[Blow]) -> None:
    enough = threading.Event()
    with ThreadPoolExecutor(len(troubles)) as pool:
        try:
            under_way = [
                pool.submit(trouble.run, enough, Random(f"{seed}:{number}"), blows)
                for number, trouble in enumerate(troubles)
            ]
            wait(under_way, seconds, FIRST_EXCEPTION)
        finally:
            enough.set()
    for trouble in under_way:
        trouble.result()
