"""Many schedules one after the other, and what they came to together."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.schedule import DEFECT, Result, run
from tests.simulation.server import Server

_CHUNK = 200


@dataclass(slots=True)
class Tally:
    """What some schedules came to: how much of everything, and those that broke a rule."""

    schedules: int = 0
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[Result] = field(default_factory=list)

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            self.schedules += 1
            self.steps += result.steps
            self.counts += result.counts
            if result.rule is not None:
                self.broken.append(result)

    def merge(self, other: "Tally") -> None:
        self.schedules += other.schedules
        self.steps += other.steps
        self.counts += other.counts
        self.broken += other.broken

    @property
    def shortest(self) -> Result | None:
        """Of those that broke a rule, the one that is read most quickly."""
        return min(self.broken, key=lambda result: result.steps, default=None)


@dataclass(frozen=True, slots=True)
class Catch:
    """How a planted fault was found: after how many schedules, and what was wrong in the last."""

    mutation: Mutation
    schedules: int
    result: Result | None

    @property
    def found(self) -> bool:
        """Whether a rule found it. A fault that cannot even run proves nothing."""
        return self.result is not None and self.result.rule != DEFECT


def run_all(seeds: range) -> Tally:
    """Runs the schedules of some seeds in this process."""
    server, tally = Server(), Tally()
    tally.add(run(seed, server) for seed in seeds)
    return tally


def run_on_all_cores(seeds: range) -> Iterator[Tally]:
    """Runs the schedules of some seeds on every core; what came of each chunk as it is done."""
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(chunks))) as pool:
        for done in as_completed([pool.submit(run_all, chunk) for chunk in chunks]):
            yield done.result()


def hunt_all(seeds: range) -> Iterator[Catch]:
    """Plants every fault, each by itself, on every core; in the order of the mutations."""
    with ProcessPoolExecutor() as pool:
        found = [pool.submit(_hunt, number, seeds) for number in range(len(MUTATIONS))]
        for mutation, done in zip(MUTATIONS, found, strict=True):
            yield Catch(mutation, *done.result())


def _hunt(number: int, seeds: range) -> tuple[int, Result | None]:
    caught = hunt(MUTATIONS[number], seeds)
    return caught.schedules, caught.result


def hunt(mutation: Mutation, seeds: range) -> Catch:
    """Plants a fault, and runs schedules until one of them finds it."""
    server = Server()
    with mutation.planted():
        for count, seed in enumerate(seeds, 1):
            result = run(seed, server)
            if result.rule is not None:
                return Catch(mutation, count, result)
    return Catch(mutation, len(seeds), None)
