"""Run the test suite, or a part of it: what this machine can run, and why the rest cannot.

With PCONT_MUST set, a test that root, apt and QEMU can run must run: one that is skipped fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests import stress
from tests.bpf import test_bpf
from tests.conftest import MUST, no_kernel
from tests.jobs import Job, run_all
from tests.vm.guests import GUESTS
from tests.vm.prepare import NotPrepared, install, missing

CPUS = os.cpu_count() or 1
V2_STORMS, V2_VERBS = "tests/stress/test_v2_storms.py", "tests/stress/test_v2_verbs.py"
# 50,000 steps from a hundred seeds.
V2_WALKS = ("--dialect", "v2", "--guest", "6.12-v2", "--seeds", "125", "--steps", "400")
CONTRACT, FAULTS = "tests/contract", "tests/fault_injection"
ON_THE_MODEL = "not kernel and not guest and not nightly"
ON_THE_KERNEL = "kernel and not guest and not nightly"
SIDE_BY_SIDE = ("-n", str(CPUS), "--dist", "loadfile", "--no-loadscope-reorder")


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", *words]


def vm(*words: str) -> list[str]:
    return [sys.executable, "-m", "tests.vm", *words]


def no_guest() -> str:
    """Why no guest can be prepared here; empty where one can."""
    if os.geteuid() != 0:
        return "preparing a guest needs root: python -m tests.vm --prepare"
    return ""


def again(marks: str) -> Callable[[Sequence[str]], list[str]]:
    """The command for some tests of a job with these marks."""
    return lambda tests: pytest("-m", marks, *tests)


def in_guest(name: str) -> Callable[[Sequence[str]], list[str]]:
    """The command for some tests of a guest."""
    return lambda tests: vm("--guest", name, "--", *tests)


def model(name: str, marks: str, *words: str, faults: str = "", cpus: int = 1) -> Job:
    """Tests without the kernel, in one process for each CPU."""
    more = {"PCONT_FAULTS": faults} if faults else {}
    several = SIDE_BY_SIDE if cpus > 1 else ()
    more["PYTHONHASHSEED"] = "0"  # every process must find the tests in the same order
    command = pytest("-m", f"{ON_THE_MODEL}{marks}", *several, *words)
    return Job(name, command, cpus=cpus, environment=more, again=again(f"{ON_THE_MODEL}{marks}"))


def kernel(name: str, marks: str, *words: str, faults: str = "") -> Job:
    """Tests that change the cgroups of this machine."""
    more = {"PCONT_FAULTS": faults} if faults else {}
    command = pytest("-m", f"{ON_THE_KERNEL}{marks}", *words)
    some = again(f"{ON_THE_KERNEL}{marks}")
    return Job(name, command, no_kernel, host=True, environment=more, again=some)


def guests() -> list[Job]:
    """Every machine of every guest."""
    return [
        Job(
            f"guest {guest.name} {share}/{guest.machines}",
            vm("--guest", guest.name, "--share", str(share)),
            no_guest,
            junit="--junit",
            again=in_guest(guest.name),
        )
        for guest in GUESTS
        for share in range(1, guest.machines + 1)
    ]


# Those that wait for each other, then the longest first: all CPUs are in use to the end.
QUICK = [
    model("unit, and the contract on the model", " and not slow", faults="one", cpus=CPUS),
    Job("a guest", vm("--quick"), no_guest, junit="--junit", again=in_guest("6.1-v1")),
    kernel("some of the contract on the kernel", " and quick", CONTRACT),
]
KERNEL = [
    kernel("on the kernel", "", f"--ignore={FAULTS}"),
    kernel("faults on the kernel", "", FAULTS),
]
REST = [
    kernel("the rest on the kernel", " and not quick", f"--ignore={FAULTS}"),
    KERNEL[1],
    *guests(),
    model("what is slow on the model", " and slow"),
    model("faults on the model", " and not slow", FAULTS),
]
NIGHTLY = [
    Job("storms", pytest("-m", "nightly and not guest"), no_kernel, cpus=CPUS, host=True),
    kernel("all faults on the kernel", "", FAULTS, faults="all"),
    model("all faults on the model", "", FAULTS, faults="all", cpus=CPUS),
    *(
        Job(f"walks {where}", [sys.executable, "-m", "tests.differential", *words], why, junit="")
        for where, why, words in (
            ("on this machine", no_kernel, ("--seeds", "20")),
            ("in a guest", no_guest, ("--guest", "6.1-v1", "--seeds", "40")),
            ("of cgroup v2 in a guest", no_guest, V2_WALKS),
        )
    ),
    Job(
        "storms of cgroup v2 in a guest",
        vm("--guest", "6.12-v2", "--", V2_STORMS),
        no_guest,
        junit="--junit",
    ),
    Job(
        "storms by command of cgroup v2 in a guest",
        vm(
            *("--guest", "6.12-v2", "--timeout", "9000"),
            # The checkout of the guest is read-only, so there can be no cache.
            "--run",
            f"python -m pytest -q -p no:cacheprovider -m 'nightly and guest' {V2_VERBS}",
        ),
        no_guest,
        # Under emulation, each time takes about 20 s with its preparation.
        environment={"PCONT_STORMS": "40x100"},
        junit="",
    ),
    Job(
        "all faults of cgroup v2 in a guest",
        vm(
            "--guest", "6.12-v2", "--timeout", "20000", "--", f"{FAULTS}/test_faults.py", "-k", "v2"
        ),
        no_guest,
        environment={"PCONT_FAULTS": "all"},
        junit="--junit",
    ),
    Job(
        "mutation",
        [sys.executable, "-m", "tests.mutation", "--count", "200"],
        no_kernel,
        cpus=CPUS,
        host=True,
        junit="",
    ),
    *(
        Job(
            f"benchmark {name}",
            [sys.executable, "-m", *words],
            no_kernel,
            cpus=CPUS,
            host=True,
            junit="",
        )
        for name, words in (
            *((name, [f"benchmarks.{name}"]) for name in ("storm", "daemons", "bomb", "binding")),
            ("quick", ["benchmarks", "--sizes", "quick", "--output", "build/bench"]),
        )
    ),
]
PARTS: dict[str, list[Job]] = {
    "quick": QUICK,
    "rest": REST,
    "all": [*QUICK, *REST],
    "kernel": KERNEL,
    "nightly": NIGHTLY,
}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("part", nargs="?", default="quick", choices=PARTS, help="(%(default)s)")
    jobs = PARTS[parser.parse_args(argv).part]
    if os.geteuid() == 0:
        # Where there is no Debian, the tests that need a compiler say so.
        with suppress(NotPrepared):
            install(missing(*stress.PACKAGES, *test_bpf.PACKAGES))
    with tempfile.TemporaryDirectory() as scratch:
        done = run_all(jobs, Path(scratch), MUST)
    print("\n" + "\n".join(one.line for one in done))
    return 0 if all(one.good for one in done) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
