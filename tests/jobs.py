"""Run the parts of the suite side by side, as many at a time as there are CPUs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.vm.report import Counts, failures, read_junit

LONGEST = 400  # characters of a line of the summary about a failure, and about the others
FEW = 12  # tests that are tried again; in a guest, one that fails can bring down some after it
CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Job:
    """One process of the suite, the CPUs that it keeps busy, and why it may not run here.

    `host`: it changes the cgroups of this machine, so no other such job runs beside it.
    `junit`: the option that names the file of its report; empty: the exit status is all there is.
    `again`: the command that runs only some tests of it.
    """

    name: str
    command: Sequence[str]
    obstacle: Callable[[], str] = lambda: ""
    cpus: int = 1
    host: bool = False
    junit: str = "--junit-xml"
    again: Callable[[Sequence[str]], Sequence[str]] | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a job went: a line for the summary, whether that is good, and the tests that failed."""

    line: str
    good: bool
    failed: tuple[str, ...] = ()


def startable(waiting: Sequence[Job], running: Iterable[Job], cpus: int) -> list[Job]:
    """The jobs that can start now, the first ones first; one that needs more CPUs starts alone."""
    running = list(running)
    free = cpus - sum(job.cpus for job in running)
    host = any(job.host for job in running)
    found: list[Job] = []
    for job in waiting:
        fits = job.cpus <= free or not (running or found)
        if fits and not (job.host and host):
            found.append(job)
            free -= job.cpus
            host |= job.host
    return found


def run_all(jobs: Sequence[Job], folder: Path, must: bool) -> list[Outcome]:
    """Run every job, its report in a folder; `must`: a skipped test is a failure."""
    waiting, running = list(jobs), dict[Future[Outcome], Job]()
    ended: dict[str, Outcome] = {}
    with ThreadPoolExecutor(len(jobs)) as pool:
        while waiting or running:
            for job in startable(waiting, running.values(), os.cpu_count() or 1):
                waiting.remove(job)
                running[pool.submit(run, job, folder, must)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                ended[running.pop(future).name] = future.result()
    return [try_again(job, ended[job.name], folder, must) for job in jobs]


def try_again(job: Job, before: Outcome, folder: Path, must: bool) -> Outcome:
    """Run the few tests of a job that failed once more, alone on the machine.

    Under load a test can meet a limit of the machine. One that passes now is good; the summary
    names it, because a test that fails now and then has a fault, or shows one.
    """
    if before.good or not job.again or not 0 < len(before.failed) <= FEW:
        return before
    second = run(
        replace(job, name=f"{job.name}, again", command=job.again(before.failed), again=None),
        folder,
        must,
    )
    names = ", ".join(before.failed)
    if second.good:
        return Outcome(f"{before.line}; passed when tried again: {names}", True, before.failed)
    return Outcome(f"{before.line}; tried again: {second.line}", False, before.failed)


def words(job: Job, report: Path) -> list[str]:
    """Return the command of a job with the option for its report, before any "--"."""
    found = list(job.command)
    if job.junit:
        end = found.index("--") if "--" in found else len(found)
        found.insert(end, f"{job.junit}={report}")
    return found


def run(job: Job, folder: Path, must: bool) -> Outcome:
    """Run one job, and print each line of its output with its name."""
    why = job.obstacle()
    if why and not must:
        return Outcome(f"{job.name}: not run: {why}", True)
    report, began = folder / f"{job.name.replace('/', ' of ')}.xml", time.monotonic()
    print(f"{job.name}: started", flush=True)
    with subprocess.Popen(
        words(job, report),
        cwd=CHECKOUT,
        env={**os.environ, **job.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(f"{job.name}: {line}", end="", flush=True)
    seconds = time.monotonic() - began
    counts = read_junit(report) if job.junit else Counts(1, 0, 0)
    judged = judge(job, process.returncode, counts or Counts(0, 0, 0), seconds, must)
    if failed := failures(report) if job.junit else {}:
        name, said = next(iter(failed.items()))
        line = f"{judged.line}; the first: {name.partition('::')[2]}: {said}"[:LONGEST]
        others = ", ".join(one.partition("::")[2] for one in list(failed)[1:])
        line += f"; then {others}"[:LONGEST] if others else ""
        judged = replace(judged, line=line, failed=tuple(failed))
    return judged


def judge(job: Job, status: int, counts: Counts, seconds: float, must: bool) -> Outcome:
    """Whether a job with this exit status and these counts is as it should be."""
    good = status == 0 and counts.passed > 0 and not (must and counts.skipped)
    why = "" if good else f" (exit {status})" if status else " (nothing may be skipped here)"
    said = f"{counts}, " if job.junit else ""
    return Outcome(f"{job.name}: {said}{seconds:.0f} s{why}", good)
