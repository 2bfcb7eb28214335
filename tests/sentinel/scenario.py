"""Mail flows while masters die and hang, one after the other, and come back; then the reckoning."""

import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.chaos.judge import Judge
from tests.chaos.ledger import Blow, Row
from tests.chaos.ordeal import undergo
from tests.chaos.service import Service
from tests.sentinel.cluster import Cluster, ServerLeash

WAYS = ("kill", "hang")
_SECONDS_TO_END = 60.0


def run(ways: Sequence[str], seed: str, directory: Path) -> Row:
    """A failover of each of the ways, with mail before, during and after it."""
    random = Random(seed)
    with (
        ServerLeash() as leash,
        Judge(directory, leash) as judge,
        Cluster(directory, leash) as cluster,
        Service(directory, leash, {**judge.environment, **cluster.environment}) as service,
    ):

        def deal(blows: list[Blow]) -> None:
            for number, way in enumerate(ways, 1):
                time.sleep(random.uniform(0.5, 2.0))
                _fail_over(cluster, way, random, blows, last=number == len(ways))

        return undergo("sentinel", service, judge, seed, deal, _SECONDS_TO_END)


def _fail_over(cluster: Cluster, way: str, random: Random, blows: list[Blow], last: bool) -> None:
    """One failover. What was the master comes back as one, until Sentinel tells it better."""
    master = cluster.master()
    blows.append(Blow(f"master {way}", time.time()))
    if way == "kill":
        cluster.kill(master)
    else:
        cluster.hang(master)
    cluster.wait_for_another(master)
    time.sleep(random.uniform(0.0, 1.5))
    if way == "kill":
        cluster.start(master)
    else:
        cluster.resume(master)
    # The next one may fail when there is a replica that could take its place.
    time.sleep(random.uniform(1.0, 3.0))
    cluster.wait_for_replicas(1 if last or random.random() < 0.5 else 2)
