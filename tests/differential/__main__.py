"""python -m tests.differential: many random walks, and what they have hit."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from tests.differential import far
from tests.differential.sides import ground
from tests.differential.tally import Tally
from tests.differential.walk import shrink, walk


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many walks (%(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (%(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="steps of each (%(default)s)")
    parser.add_argument("--guest", help="in a guest of tests.vm, not in this kernel")
    parser.add_argument("--seconds", type=float, help="begin no other walk after so long")
    parser.add_argument("--go-on", action="store_true", help="after a difference, too")
    options = parser.parse_args(argv)
    # As an exception, so that the kernel is put back as it was.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    total, walks, found = Tally(), 0, 0
    there = far.in_guest(options.guest, options.seconds) if options.guest else far.near()
    with there as end, ground(end) as where:
        start = time.monotonic()
        for seed in range(options.first, options.first + options.seeds):
            if options.seconds and time.monotonic() - start > options.seconds:
                break
            walks += 1
            difference = walk(where, seed, options.steps, total)
            if difference:
                found += 1
                # At once: it takes long to find the fewest steps.
                print(f"seed {seed}, step {len(difference.steps)}: {difference.last}", flush=True)
                print(shrink(where, difference), flush=True)
                if not options.go_on:
                    break
        spent = time.monotonic() - start
    print(total)
    print(f"{walks} walks from seed {options.first} on, {found} differences, {spent:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
