"""The scenarios, and how one is run: load and troubles, then peace, then the reckoning."""

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.judge import Judge
from tests.chaos.leash import Leash
from tests.chaos.ledger import Blow, Row
from tests.chaos.ordeal import undergo
from tests.chaos.service import LEASE_SECONDS, Service
from tests.chaos.troubles import Killer, Misleader, Restarter, Stopper, Trouble

_SECONDS_TO_END = 120.0
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
        troubles = _troubles(scenario, service, judge)

        def deal(blows: list[Blow]) -> None:
            _suffer(troubles, seed, seconds, blows)

        return undergo(scenario.name, service, judge, seed, deal, _SECONDS_TO_END)


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
