"""python -m tests.differential: many random walks, and what they have hit."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.differential import far
from tests.differential.sides import Ground, ground
from tests.differential.tally import Tally
from tests.differential.walk import SHRINKING, shrink, walk

EPILOG = """\
Many seeds in pieces, each in a guest of its own, and the histogram of all:

  python -m tests.differential --dialect v2 --guest 6.12-v2 --first 1 --seeds 50 --tally v2.json
  python -m tests.differential --dialect v2 --guest 6.12-v2 --first 51 --seeds 50 --tally v2.json
  python -m tests.differential --tally v2.json --seeds 0

One seed again, with the fewest steps that show its difference:

  python -m tests.differential --dialect v2 --guest 6.12-v2 --first 17 --seeds 1
"""


def main(argv: list[str]) -> int:
    options = parse(argv)
    # As an exception, so that the kernel is put back as it was.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    total, found, start = Tally(), 0, time.monotonic()
    if options.seeds:
        there = far.in_guest(options.guest, options.seconds) if options.guest else far.near()
        with there as end, ground(end, options.dialect) as where:
            start = time.monotonic()
            found = walk_all(where, options, total)
    print(
        f"{total.verbs.total()} steps from seed {options.first} on, {total.walks} walks, ", end=""
    )
    print(f"{found} differences, {time.monotonic() - start:.0f} s")
    print(Tally.load(options.tally) if options.tally else total)
    return 1 if found else 0


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.differential",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=20, help="how many walks (%(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (%(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="steps of each (%(default)s)")
    parser.add_argument(
        "--dialect",
        choices=["v1", "v2"],
        default="v1",
        help="v2: commands of pcont on cgroup v2, and writes of other programs (%(default)s)",
    )
    parser.add_argument("--guest", help="in a guest of tests.vm, not in this kernel")
    parser.add_argument("--seconds", type=float, help="begin no other walk after so long")
    parser.add_argument(
        "--shrink",
        type=float,
        default=SHRINKING,
        metavar="SECONDS",
        help="how long to look for the fewest steps that show a difference (%(default)s)",
    )
    parser.add_argument("--go-on", action="store_true", help="after a difference, too")
    parser.add_argument(
        "--tally", type=Path, metavar="FILE", help="add the histogram to that of earlier runs"
    )
    return parser.parse_args(argv)


def walk_all(where: Ground, options: argparse.Namespace, total: Tally) -> int:
    """Do the walks; returns how many differences there were."""
    start, found = time.monotonic(), 0
    for seed in range(options.first, options.first + options.seeds):
        if options.seconds and time.monotonic() - start > options.seconds:
            break
        one = Tally()
        difference = walk(where, seed, options.steps, one)
        total.add(one)
        if options.tally:  # after each walk, as a guest may not live until the last one
            one.add(Tally.load(options.tally))
            one.save(options.tally)
        if difference:
            found += 1
            # At once: it takes long to find the fewest steps.
            print(f"seed {seed}, step {len(difference.steps)}: {difference.last}", flush=True)
            print(shrink(where, difference, seconds=options.shrink), flush=True)
            if not options.go_on:
                break
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
