"""docs/library.md: each example runs as it stands, on one CPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "library.md"
ON_MODEL = "# On a model in memory"
ON_KERNEL = "# As root on a host with cgroup v1; with the words `model state.json`, on a model"


@dataclass(frozen=True)
class Example:
    """A block of the page, and the words that it is run with."""

    title: str
    code: str
    words: tuple[str, ...] = ()

    @property
    def printed(self) -> list[str]:
        """What the comments behind its lines say that it prints, in their order."""
        comments = re.findall(r"^ *print\(.*\)  # (.*)$", self.code, re.M)
        return [word for comment in comments for word in re.split(", then |, and ", comment)]


def blocks() -> list[Example]:
    """Every block of the page, by its heading."""
    found = []
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title = section.partition("\n")[0]
        found += [
            Example(title, code) for code in re.findall(r"```python\n(.*?)```", section, re.S)
        ]
    return found


def cases() -> list[object]:
    found: list[object] = []
    for one in blocks():
        name = one.title.replace(" ", "-")
        if one.code.startswith(ON_KERNEL):
            marks = (pytest.mark.kernel, pytest.mark.host)
            found.append(pytest.param(one, id=f"kernel-{name}", marks=marks))
            one = Example(one.title, one.code, ("model", "state.json"))
        found.append(pytest.param(one, id=f"model-{name}"))
    return found


@pytest.mark.parametrize("example", cases())
def test_an_example_runs_as_it_is_on_one_cpu(example: Example, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example.code, encoding="utf-8")
    one_cpu = {max(os.sched_getaffinity(0))}
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script), *example.words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: os.sched_setaffinity(0, one_cpu),
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    if os.geteuid() != 0:  # a user gets a note on each move of a process with all its descendants
        lines = [line for line in lines if "the kernel reports forks only to root" not in line]
    for said in example.printed:
        assert lines.pop(0) == said or said == "two more", example.title


def test_each_block_says_where_it_runs() -> None:
    assert len(blocks()) == PAGE.read_text(encoding="utf-8").count("```python") >= 5
    for one in blocks():
        assert one.code.partition("\n")[0] in (ON_MODEL, ON_KERNEL), one.title
        assert one.printed, one.title
