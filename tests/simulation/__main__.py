"""`python -m tests.simulation`: look for a schedule that breaks the promise, or plant one."""

import argparse
import secrets
import sys
import time

from tests.simulation.campaign import Tally, hunt_all, run_on_all_cores
from tests.simulation.mutations import MUTATIONS
from tests.simulation.schedule import run
from tests.simulation.server import Server

_LAST_LINES = 150


def main() -> int:
    arguments = _arguments()
    if arguments.replay is not None:
        return _replay(arguments.replay)
    seed = secrets.randbelow(10**9) if arguments.seed is None else arguments.seed
    seeds = range(seed, seed + arguments.schedules)
    return _mutations(seeds) if arguments.mutations else _search(seeds)


def _search(seeds: range) -> int:
    print(f"{len(seeds)} schedules from seed {seeds.start}", flush=True)
    total, started, said = Tally(), time.monotonic(), time.monotonic()
    for tally in run_on_all_cores(seeds):
        total.merge(tally)
        for result in tally.broken:
            print(f"seed {result.seed}: {result.text}", flush=True)
        if time.monotonic() - said > 10:
            said = time.monotonic()
            rate = total.schedules / (said - started)
            print(
                f"{total.schedules:>9} done, {rate:.0f}/s, {len(total.broken)} broken", flush=True
            )
    seconds = time.monotonic() - started
    print(f"\n{_coverage(total)}\n")
    print(
        f"{total.schedules} schedules of {total.steps / total.schedules:.0f} steps"
        f" in {seconds:.0f} s: {total.schedules / seconds:.0f}/s"
    )
    if total.shortest is None:
        print("No rule was broken.")
        return 0
    print(f"\n{len(total.broken)} schedules broke a rule. The shortest of them:\n")
    _replay(total.shortest.seed)
    return 1


def _replay(seed: int) -> int:
    trace: list[str] = []
    result = run(seed, Server(), trace)
    print(f"seed {seed}, {result.steps} steps", *trace[-_LAST_LINES:], sep="\n")
    print(result.text or "No rule was broken.")
    return 1 if result.rule else 0


def _mutations(seeds: range) -> int:
    print(f"{'after':>6}  {'found as':<15}  fault (seeds from {seeds.start})")
    missed = 0
    for caught in hunt_all(seeds):
        rule = "-" if caught.result is None else caught.result.rule
        count = "never" if caught.result is None else str(caught.schedules)
        missed += not caught.found
        print(f"{count:>6}  {rule:<15}  {caught.mutation.name}", flush=True)
        if caught.result is not None and not caught.found:
            print(f"        it cannot run: {caught.result.text}", flush=True)
    print(f"{len(MUTATIONS) - missed} of {len(MUTATIONS)} were found")
    return 1 if missed else 0


def _coverage(total: Tally) -> str:
    return "\n".join(f"{count:>10}  {name}" for name, count in sorted(total.counts.items()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=2000, help="how many, at most")
    parser.add_argument("--seed", type=int, help="the first one's; a random one by default")
    parser.add_argument("--replay", type=int, metavar="SEED", help="show what one of them does")
    parser.add_argument("--mutations", action="store_true", help="plant faults, and find them")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
