"""`python -m tests.sentinel`: masters die and hang under load, and the mail is counted."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from tests.chaos.ledger import Row
from tests.chaos.table import breaks, table
from tests.sentinel.scenario import WAYS, run

_FAILOVERS_IN_A_RUN = 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sentinel", description=__doc__)
    parser.add_argument("--seed", help="the same troubles again; a new one if not given")
    parser.add_argument("--failovers", type=int, default=20, help="how many (20)")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    seed = arguments.seed or str(random.randrange(1_000_000))
    print(f"seed {seed}", flush=True)
    rows: list[Row] = []
    left, number = arguments.failovers, 0
    while left > 0:
        number += 1
        count = min(left, _FAILOVERS_IN_A_RUN)
        left -= count
        row = _one_run(f"{seed}:{number}", count)
        state = f"{len(row.breaks)} BROKEN" if row.breaks else "kept"
        print(f"{count} failovers: {row.accepted} messages, {state}", flush=True)
        rows = [rows[0] + row] if rows else [row]
    print(f"\n{table(rows)}\n")
    broken = breaks(rows)
    print(broken or "The promise was kept.")
    return 1 if broken else 0


def _one_run(seed: str, failovers: int) -> Row:
    directory = Path(tempfile.mkdtemp(prefix="sp-sentinel-"))
    ways = random.Random(seed).choices(WAYS, k=failovers)
    row = run(ways, seed, directory)
    if row.breaks:
        print(f"what the processes said is in {directory}", flush=True)
    else:
        shutil.rmtree(directory)
    return row


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
