"""What came of a guest, in one line."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

# How the reason of a skip begins where this kernel or machine lacks what the test is about.
ELSEWHERE = "not for this kernel: "


@dataclass(frozen=True)
class Counts:
    """Results of the tests of one run."""

    passed: int
    failed: int
    skipped: int
    elsewhere: int = 0  # skipped, since another kernel or machine has what they are about

    def __str__(self) -> str:
        words = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"{words}, {self.elsewhere} not for this kernel" if self.elsewhere else words


def read_junit(path: Path) -> Counts | None:
    """The counts that pytest left, errors among the failures; None without a whole report."""
    try:
        suites = list(ElementTree.parse(path).getroot().iter("testsuite"))
    except (FileNotFoundError, ElementTree.ParseError):
        return None
    total = {
        name: sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    }
    failed = total["failures"] + total["errors"]
    passed = total["tests"] - failed - total["skipped"]
    elsewhere = sum(
        skip.get("message", "").startswith(ELSEWHERE)
        for suite in suites
        for skip in suite.iter("skipped")
    )
    return Counts(passed, failed, total["skipped"] - elsewhere, elsewhere)


def failures(path: Path) -> dict[str, str]:
    """The tests that failed, as pytest takes them (FILE::NAME; none of the suite is in a class),
    and what each of them said, in one line.
    """
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (FileNotFoundError, ElementTree.ParseError):
        return {}
    found: dict[str, str] = {}
    for case in cases:
        for why in (*case.iter("failure"), *case.iter("error")):
            name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}"
            found.setdefault(name, " ".join(why.get("message", "").split()))
    return found


def merge_junit(paths: list[Path], target: Path) -> None:
    """The reports of all guests in one file; a guest without one is not in it."""
    merged = ElementTree.Element("testsuites")
    for path in paths:
        with suppress(FileNotFoundError, ElementTree.ParseError):
            merged.extend(ElementTree.parse(path).getroot().iter("testsuite"))
    ElementTree.ElementTree(merged).write(target)


@dataclass(frozen=True)
class Report:
    """How a guest did; no status is a lost machine."""

    name: str
    release: str | None
    kvm: bool
    seconds: float
    status: int | None
    counts: Counts | None

    def __str__(self) -> str:
        machine = f"{self.release or 'not booted'}, {'KVM' if self.kvm else 'emulation'}"
        if self.status is None:
            end = "VM lost"
        else:
            end = str(self.counts) if self.counts else "no test report"
            end += f", exit {self.status}" if self.status else ""
        return f"{self.name}: {machine}, {self.seconds:.0f} s: {end}"
