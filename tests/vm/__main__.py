"""python -m tests.vm: boots the guests and runs the kernel part of the suite inside."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import NoReturn

from . import durations, systemd
from .boot import JUNIT, SHARED, Boot, Lost, new_results, run, shell
from .guests import GUESTS, QUICK, Guest
from .prepare import NotPrepared, kvm_works, prepare
from .report import Report, merge_junit, read_junit

LOST = 128
NOT_PREPARED = 2

EPILOG = """\
Words after -- are for pytest:          python -m tests.vm -- tests/contract -k attach -x
Any other command line in the guest:    python -m tests.vm --run 'cat /proc/cgroups'

The exit status is the one of the command in the guest, the highest of several guests, and 128 for
a guest that hung or died. The results of a run (console.log, junit.xml, guest.env) are kept in the
cache, ~/.cache/pcont/vm/runs, the kernels beside them: remove kernels to get newer ones.
"""


def main(argv: list[str]) -> int:
    options = parse(argv)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        guests = chosen(options)
        guests = guests[:1] if options.shell else guests
        kernels = prepare(guests)
        systemd.prepare(guests, kernels)
        if options.prepare:
            return 0
        boots = planned(options, guests, kernels)
        if options.shell:
            return shell(boots[0])
        status = run_all(boots, options.timeout)
        keep(options, boots)
        return status
    except NotPrepared as error:
        print(f"tests.vm: {error}", file=sys.stderr)
        return NOT_PREPARED
    except Lost as error:
        print(f"tests.vm: {error}", file=sys.stderr)
        return LOST
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; the -- by hand, as versions of argparse differ in it."""
    here, after = split(argv)
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm",
        usage="%(prog)s [options] [-- PYTEST_ARG...]",
        description="Boot guests and run the kernel part of the test suite inside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [guest.name for guest in GUESTS]
    parser.add_argument(
        "--guest", action="append", default=[], choices=names, help="only this guest (repeatable)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--prepare", action="store_true", help="install and download, boot nothing")
    what.add_argument("--shell", action="store_true", help="a shell in the (first) guest")
    what.add_argument("--run", metavar="COMMAND", help="run a bash command line, not pytest")
    what.add_argument(
        "--quick", action="store_true", help=f"only tests marked quick, in {QUICK.name}"
    )
    parser.add_argument(
        "--share", type=int, metavar="N", help="only machine N of those that share a guest's tests"
    )
    parser.add_argument(
        "--store-durations",
        action="store_true",
        help="keep in tests/vm/durations how long each test took: by this the machines share them",
    )
    parser.add_argument(
        "--threads",
        action="store_true",
        help="emulate each CPU in a thread of its own: quicker for loads, and guests have panicked",
    )
    parser.add_argument(
        "--timeout", type=float, default=3000, metavar="S", help="seconds for a guest (%(default)s)"
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="copy the test report there")
    parser.add_argument("--results", type=Path, metavar="DIR", help="keep results below DIR")
    options = parser.parse_args(here)
    if after and (options.run or options.shell or options.prepare):
        parser.error("words after -- are for pytest")
    options.pytest = after
    return options


def planned(
    options: argparse.Namespace, guests: list[Guest], kernels: dict[str, Path]
) -> list[Boot]:
    """Every machine that is to boot."""
    kvm = all(kvm_works(kernel) for kernel in kernels.values())
    return [
        Boot(
            guest,
            kernels[guest.name],
            new_results(guest, options.results),
            kvm,
            line,
            share,
            options.threads,
        )
        for guest in guests
        if guest.name in kernels
        for share, line in commands(options, guest)
        if options.share in (None, share)
    ]


def keep(options: argparse.Namespace, boots: list[Boot]) -> None:
    """Copy the reports to where the options want them."""
    if options.junit:
        merge_junit([boot.results / JUNIT for boot in boots], options.junit)
    if options.store_durations:
        for name in sorted({boot.guest.name for boot in boots if boot.guest.machines > 1}):
            reports = [boot.results / JUNIT for boot in boots if boot.guest.name == name]
            durations.store(name, reports, whole=not (options.pytest or options.share))


def chosen(options: argparse.Namespace) -> list[Guest]:
    """The guests to boot."""
    if options.quick:
        return [QUICK]
    return [guest for guest in GUESTS if guest.name in options.guest or not options.guest]


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    end = argv.index("--") if "--" in argv else len(argv)
    return argv[:end], argv[end + 1 :]


def commands(options: argparse.Namespace, guest: Guest) -> list[tuple[int, str]]:
    """The command lines for a guest, one for each machine: its number, 1 where it runs all."""
    if options.shell or options.run:
        return [(1, options.run or "")]
    pytest = [sys.executable, "-u", "-m", "pytest", "-m", guest.marks, "-p", "no:cacheprovider"]
    named = any(Path(word.partition("::")[0]).exists() for word in options.pytest)
    where = [] if named else guest.tests
    whole = [f"--junit-xml={SHARED / JUNIT}", *where, *options.pytest]
    if named or guest.machines == 1:
        return [(1, shlex.join([*pytest, *whole]))]
    split = [
        *("-p", "pytest_split.plugin"),
        f"--durations-path={durations.path(guest.name)}",
        "--splitting-algorithm=least_duration",
        f"--splits={guest.machines}",
    ]
    return [
        (share, shlex.join([*pytest, *split, f"--group={share}", *whole]))
        for share in range(1, guest.machines + 1)
    ]


def run_all(boots: list[Boot], timeout: float) -> int:
    """As many guests at a time as there are CPUs: each keeps one busy."""
    stopping = threading.Event()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(run_one, boot, timeout, stopping) for boot in boots]
        try:
            reports = [one.result() for one in running]
        except BaseException:
            stopping.set()
            pool.shutdown(cancel_futures=True)
            raise
    for report in reports:
        print(report)
    return max(LOST if report.status is None else report.status for report in reports)


def run_one(boot: Boot, timeout: float, stopping: threading.Event) -> Report:
    how = "KVM" if boot.kvm else "emulation"
    print(f"{boot.name}: booting {boot.kernel.name} under {how}", flush=True)
    start = time.monotonic()
    status: int | None = None
    try:
        status = run(boot, timeout, stopping)
    except Lost as error:
        print(error, file=sys.stderr, flush=True)
    seconds = time.monotonic() - start
    counts = read_junit(boot.results / JUNIT)
    return Report(boot.name, boot.result("release"), boot.kvm, seconds, status, counts)


def stop(signum: int, frame: FrameType | None) -> NoReturn:
    """As an exception, so that the guest is ended on the way out."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
