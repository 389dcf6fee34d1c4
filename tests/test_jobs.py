"""The test suite's own scheduler: which parts run side by side, and what counts as good."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.__main__ import KERNEL, NIGHTLY, PARTS, QUICK, REST
from tests.jobs import FEW, Job, Outcome, judge, run_all, startable, try_again, words
from tests.vm.guests import GUESTS
from tests.vm.report import Counts


def job(name: str, cpus: int = 1, host: bool = False, *words: str) -> Job:
    return Job(name, [sys.executable, "-c", *words], cpus=cpus, host=host, junit="")


def names(jobs: list[Job]) -> list[str]:
    return [one.name for one in jobs]


def test_as_many_start_as_there_are_cpus() -> None:
    assert names(startable([job("a"), job("b"), job("c")], [], 2)) == ["a", "b"]
    assert names(startable([job("b"), job("c")], [job("a")], 2)) == ["b"]
    assert startable([job("c")], [job("a"), job("b")], 2) == []


def test_a_job_that_needs_more_cpus_than_there_are_runs_alone() -> None:
    assert names(startable([job("a", cpus=4), job("b")], [], 2)) == ["a"]
    assert names(startable([job("a", cpus=2), job("b")], [job("c")], 2)) == ["b"]


def test_one_job_at_a_time_changes_the_host() -> None:
    waiting = [job("a", host=True), job("b", host=True), job("c")]
    assert names(startable(waiting, [], 2)) == ["a", "c"]
    assert names(startable(waiting[1:], [waiting[0]], 2)) == ["c"]


def test_all_run_and_are_reported_in_their_order(tmp_path: Path) -> None:
    jobs = [job("a", 1, False, "print('one')"), job("b", 2, True, "raise SystemExit(3)")]
    done = run_all(jobs, tmp_path, must=True)
    assert [one.good for one in done] == [True, False]
    assert done[0].line.startswith("a: ")
    assert done[1].line.endswith(" (exit 3)")


def test_the_option_for_the_report_is_before_the_tests(tmp_path: Path) -> None:
    guest = Job("a", ["vm", "--guest", "x", "--", "tests/a.py"], lambda: "", junit="--junit")
    assert words(guest, tmp_path) == [
        *("vm", "--guest", "x", f"--junit={tmp_path}", "--", "tests/a.py"),
    ]


def test_what_cannot_run_here_says_why_and_fails_where_it_must_run(tmp_path: Path) -> None:
    one = Job("a", [sys.executable, "-c", "raise SystemExit(4)"], lambda: "no root", junit="")
    assert run_all([one], tmp_path, must=False) == [Outcome("a: not run: no root", True)]
    assert not run_all([one], tmp_path, must=True)[0].good


@pytest.mark.parametrize(
    ("status", "counts", "must", "good"),
    [
        (0, Counts(3, 0, 0), True, True),
        (0, Counts(3, 0, 0, elsewhere=2), True, True),
        (0, Counts(3, 0, 1), False, True),
        (0, Counts(3, 0, 1), True, False),
        (0, Counts(0, 0, 0), False, False),
        (1, Counts(3, 1, 0), False, False),
    ],
)
def test_a_job_is_good_if_tests_passed_and_none_is_skipped_that_must_run(
    status: int, counts: Counts, must: bool, good: bool
) -> None:
    report = Job("a", [])
    assert judge(report, status, counts, 1.0, must).good == good


FLAKY = """
import os, sys
report, seen = sys.argv[-1].partition("=")[2], sys.argv[1]
first = not os.path.exists(seen)
open(seen, "w").close()
case = '<testcase classname="tests.test_a" name="test_b[c]">%s</testcase>'
bad = first or "always" in sys.argv
open(report, "w").write(
    f'<testsuite tests="2" failures="{int(bad)}" errors="0" skipped="0">'
    + case % ('<failure message="b is\\n not c"/>' if bad else "") + "</testsuite>"
)
sys.exit(bad)
"""


@pytest.mark.parametrize("more", [(), ("always",)])
def test_few_tests_that_failed_are_tried_again_and_named(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    tried: list[Sequence[str]] = []

    def again(tests: Sequence[str]) -> list[str]:
        tried.append(tests)
        return command

    command = [sys.executable, "-c", FLAKY, str(tmp_path / "seen"), *more]
    (done,) = run_all([Job("a", command, again=again)], tmp_path, must=True)
    assert tried == [("tests/test_a.py::test_b[c]",)]
    assert done.good == (not more)
    assert "tests/test_a.py::test_b[c]" in done.line or more
    assert "tried again" in done.line
    assert "the first: test_b[c]: b is not c" in done.line


def test_many_failures_are_not_tried_again(tmp_path: Path) -> None:
    failed = tuple(f"tests/test_a.py::test_{number}" for number in range(FEW + 1))
    before = Outcome("a: 1 passed, 4 failed", False, failed)
    assert try_again(Job("a", [], again=lambda tests: ["false"]), before, tmp_path, True) == before


def test_jobs_of_a_part_have_names_of_their_own() -> None:
    for jobs in PARTS.values():
        assert len({one.name for one in jobs}) == len(jobs)


def test_all_is_what_make_test_runs_and_the_rest() -> None:
    assert PARTS["all"] == [*QUICK, *REST]


def test_the_rest_boots_every_machine_of_every_guest() -> None:
    machines = [one for one in REST if one.command[1:3] == ["-m", "tests.vm"]]
    assert len(machines) == sum(guest.machines for guest in GUESTS)


def marks(one: Job) -> str:
    words = list(one.command)
    return words[words.index("-m", 3) + 1]


def test_each_mark_is_run_by_a_part() -> None:
    """Tests on the model that are slow, and tests on the kernel that are not quick."""
    assert [marks(one) for one in QUICK if one.junit == "--junit-xml"] == [
        "not kernel and not guest and not nightly and not slow",
        "kernel and not guest and not nightly and quick",
    ]
    assert {marks(one) for one in REST if one.junit == "--junit-xml"} == {
        "kernel and not guest and not nightly and not quick",
        "kernel and not guest and not nightly",
        "not kernel and not guest and not nightly and slow",
        "not kernel and not guest and not nightly and not slow",
    }
    assert {marks(one) for one in KERNEL} == {"kernel and not guest and not nightly"}
    assert marks(NIGHTLY[0]) == "nightly and not guest"


def test_every_combination_of_marks_is_run_by_some_part() -> None:
    """The names of the marks are the names in the expressions of pytest, which Python can read."""
    names = ("kernel", "guest", "host", "quick", "slow")
    selections = [marks(one) for one in PARTS["all"] if one.junit == "--junit-xml"]
    selections.append(GUESTS[0].marks)
    for values in itertools.product([False, True], repeat=len(names)):
        marked = dict(zip(names, values, strict=True), nightly=False)
        assert any(eval(one, {}, marked) for one in selections), marked
