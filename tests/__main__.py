"""python -m tests: every test that this machine can run, by kind, and why the others cannot.

With PCONT_MUST set nothing may be left out that root, apt and QEMU can do: what is left out fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests import stress, test_bpf
from tests.conftest import MUST, no_kernel
from tests.vm.prepare import NotPrepared, install, missing
from tests.vm.report import Counts, read_junit

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Kind:
    """A part of the suite: what it is run with, and what keeps it from running here.

    `alone`: it changes the host, or is disturbed by whoever else does, or needs all of it.
    """

    name: str
    command: Sequence[str]
    obstacle: Callable[[], str] = lambda: ""
    junit: bool = True
    alone: bool = True


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", *words]


def no_guest() -> str:
    if os.geteuid() != 0:
        return "preparing a guest needs root: python -m tests.vm --prepare"
    return ""


CONTRACT, FAULTS = "tests/contract", "tests/fault_injection"
APART = [f"--ignore={folder}" for folder in (CONTRACT, FAULTS)]
HERE, KERNEL = ("-m", "not kernel and not guest"), ("-m", "kernel and not guest")
KINDS = (
    Kind("contract on the model", pytest(*HERE, CONTRACT), alone=False),
    Kind("unit", pytest(*HERE, *APART), alone=False),
    Kind("faults on the model", pytest(*HERE, FAULTS), alone=False),
    Kind("on the kernel", pytest(*KERNEL, f"--ignore={FAULTS}"), no_kernel),
    Kind("faults on the kernel", pytest(*KERNEL, FAULTS), no_kernel),
    Kind("VM", [sys.executable, "-m", "tests.vm"], no_guest, junit=False),
)


def main() -> int:
    if os.geteuid() == 0:
        # Where there is no Debian, the tests that need a compiler say so.
        with suppress(NotPrepared):
            install(missing(*stress.PACKAGES, *test_bpf.PACKAGES))
    with tempfile.TemporaryDirectory() as scratch:
        reported = partial(run, folder=Path(scratch))
        # As many processes at once as there are CPUs, each on its own: many tests are of signals.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            together = [kind for kind in KINDS if not kind.alone]
            done = list(pool.map(reported, together))
        done += [reported(kind) for kind in KINDS if kind.alone]
    print("\n" + "\n".join(line for line, _ in done))
    return 0 if all(good for _, good in done) else 1


def run(kind: Kind, folder: Path) -> tuple[str, bool]:
    """Run one kind; a line for the summary, and whether it is as it should be."""
    why = kind.obstacle()
    if why and not MUST:
        return f"{kind.name}: not run: {why}", True
    report = folder / f"{kind.name}.xml"
    words = [f"--junit-xml={report}"] if kind.junit else [f"--junit={report}"]
    if kind.alone:
        print(f"== {kind.name}", flush=True)
    output = None if kind.alone else subprocess.PIPE
    process = subprocess.run(
        [*kind.command, *words], cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT, text=True
    )
    if not kind.alone:
        print(f"== {kind.name}\n{process.stdout}", end="", flush=True)
    status = process.returncode
    counts = read_junit(report) or Counts(0, 0, 0)
    good = status == 0 and counts.passed > 0 and not (MUST and counts.skipped)
    end = "" if good else f" (exit {status})" if status else " (nothing may be skipped here)"
    return f"{kind.name}: {counts}{end}", good


if __name__ == "__main__":
    sys.exit(main())
