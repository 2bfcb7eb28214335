"""`python -m tests.chaos`: kill, stop and mislead the service, and see if it keeps its promise."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tests.chaos.ledger import Row
from tests.chaos.scenarios import SCENARIOS, Scenario, run
from tests.chaos.table import breaks, table

_LONG, _SHORT = 75.0, 6.0
# The supervisor waits longer the more often a process dies: many short runs hold more kills.
_LONGEST_RUN = 15.0


def main() -> int:
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    chosen = [s for s in SCENARIOS if arguments.scenario in (None, s.name)]
    rows: list[Row] = []
    print(f"seed {arguments.seed}", flush=True)
    interrupted = False
    try:
        for scenario in chosen:
            for row in _runs(scenario, arguments.seed, arguments.seconds):
                _enter(row, rows)
    except KeyboardInterrupt:
        interrupted = True
    if rows:
        print(f"\n{table(rows)}\n")
    broken = breaks(rows)
    print(broken or ("Interrupted." if interrupted else "The promise was kept."))
    return 1 if broken else 130 if interrupted else 0


def _runs(scenario: Scenario, seed: str, seconds: float) -> Iterator[Row]:
    count = max(1, round(seconds / _LONGEST_RUN))
    for number in range(1, count + 1):
        row = _one_run(scenario, f"{seed}:{scenario.name}:{number}", seconds / count)
        state = f"{len(row.breaks)} BROKEN" if row.breaks else "kept"
        print(f"{scenario.name} {number}/{count}: {row.accepted} messages, {state}", flush=True)
        yield row


def _one_run(scenario: Scenario, seed: str, seconds: float) -> Row:
    directory = Path(tempfile.mkdtemp(prefix="sp-chaos-"))
    keep = False
    try:
        row = run(scenario, seed, seconds, directory)
        keep = bool(row.breaks)
    except AssertionError as error:
        # It did not come up again, or the judge is not what it was.
        keep = True
        return Row(scenario.name, breaks=(f"the run broke off: {error}",))
    finally:
        if keep:
            print(f"what the processes said is in {directory}", flush=True)
        else:
            shutil.rmtree(directory)
    return row


def _enter(row: Row, rows: list[Row]) -> None:
    """Adds what a run came to to the row of its scenario."""
    if rows and rows[-1].scenario == row.scenario:
        row = rows.pop() + row
    rows.append(row)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", help="the same troubles again; a new one if not given")
    parser.add_argument("--seconds", type=float, help=f"of trouble in a scenario ({_LONG:g})")
    parser.add_argument("--scenario", choices=[s.name for s in SCENARIOS], help="this one alone")
    parser.add_argument("--short", action="store_true", help=f"{_SHORT:g} seconds of each")
    arguments = parser.parse_args()
    arguments.seed = arguments.seed or str(random.randrange(1_000_000))
    arguments.seconds = arguments.seconds or (_SHORT if arguments.short else _LONG)
    return arguments


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
