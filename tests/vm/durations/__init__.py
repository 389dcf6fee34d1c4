"""How long each test took in a guest, by which the machines of the guest share its tests.

The files are pytest-split's: seconds by the id of the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

FOLDER = Path(__file__).parent


def path(guest: str) -> Path:
    """The file for a guest."""
    return FOLDER / f"{guest}.json"


def store(guest: str, reports: Iterable[Path], whole: bool) -> None:
    """Write down the durations in these reports; `whole`: no other test of the guest is left."""
    reports = list(reports)
    there = [report for report in reports if report.exists()]
    found = {test: seconds for report in there for test, seconds in read(report).items()}
    whole = (whole and there == reports) or not path(guest).exists()
    known = {} if whole else json.loads(path(guest).read_text(encoding="utf-8"))
    text = json.dumps({**known, **found}, indent=0, sort_keys=True)
    path(guest).write_text(f"{text}\n", encoding="utf-8")


def read(report: Path) -> dict[str, float]:
    """Seconds by the id of each test in a report of pytest."""
    return {
        _id(case): round(float(case.get("time", 0)), 1)
        for case in ElementTree.parse(report).iter("testcase")
    }


def _id(case: ElementTree.Element) -> str:
    file = case.get("classname", "").replace(".", "/")
    return f"{file}.py::{case.get('name')}"
