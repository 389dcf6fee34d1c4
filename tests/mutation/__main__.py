"""python -m tests.mutation: which changes to the model's rules the contract tests notice."""

from __future__ import annotations

import argparse
import importlib
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

from tests.mutation import runner
from tests.mutation.changes import MODULES, Change, every, file_of
from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.runner import Outcome

ENOUGH = 0.95
# What every process would load for itself.
LOADED = ("click", "hypothesis", "psutil", "rich.console", "rich.table", "rich.tree", "json")


def drawn(count: int, seed: int) -> list[Change]:
    """So many of all the changes that there are, by a seed."""
    changes = [change for module in MODULES for change in every(module)]
    return random.Random(seed).sample(changes, min(count, len(changes)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("PCONT_SEED", 1)))
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--longest", type=float, default=2, help="seconds of a test that is run")
    parser.add_argument("--known", type=Path, help="a file for what is learned before: saves time")
    parser.add_argument("--only", default="", help="changes whose line of the report has this text")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    for name in LOADED:
        importlib.import_module(name)
    changes = [one for one in drawn(options.count, options.seed) if options.only in str(one)]
    print(f"{len(changes)} changes, seed {options.seed}", flush=True)
    base = runner.known(MODULES, options.known)
    print(f"{len(base.seconds)} tests, {sum(base.seconds.values()):.0f} s", flush=True)
    found: list[Outcome] = []
    for one in runner.outcomes(changes, base, options.at_once, options.longest):
        found.append(one)
        noticed = one.noticed or "NOT NOTICED"
        print(f"{one.seconds:5.1f} s  {one.change}\n         {noticed}", flush=True)
    report(found)
    return 0 if share(found) >= ENOUGH else 1


def share(found: list[Outcome]) -> float:
    """How much was noticed of what can be."""
    can = [one for one in found if one.noticed or one.change.key not in EQUIVALENT]
    return sum(bool(one.noticed) for one in can) / max(len(can), 1)


def report(found: list[Outcome]) -> None:
    """Print how many changes each kind of test has noticed, by module, and those that none has."""
    print("\n| module | changes | contract | a walk | the model's own tests | none |")
    print("| --- | --- | --- | --- | --- | --- |")
    for module in (*MODULES, ""):
        some = [one for one in found if module in ("", one.change.module)]
        by = Counter(one.by for one in some)
        counts = (len(some), by["contract"], by["walk"], by["own"], by["none"])
        print(f"| {file_of(module) if module else 'all'} | {' | '.join(map(str, counts))} |")
    print(f"\n{share(found):.1%} of those that can be noticed\n")
    for one in sorted((one.change for one in found if not one.noticed), key=str):
        print(f"{one}\n  {EQUIVALENT.get(one.key, 'NOT EXPLAINED')}")


if __name__ == "__main__":
    sys.exit(main())
