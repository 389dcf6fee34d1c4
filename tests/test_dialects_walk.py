"""docs/dialects.md and docs/v2.md: what they show is what you see after typing it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def steps(page: str, start: str) -> Iterator[tuple[str, str]]:
    """Each command of the walk after its first one, `start`, and what the page says that it
    answers. A page may have several walks.
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)
    (walk,) = [
        one
        for one in re.split(r"^\$ export ", "".join(blocks), flags=re.M)[1:]
        if one.startswith(start)
    ]
    for step in re.split(r"^\$ ", walk, flags=re.M)[1:]:
        command, _, answer = step.partition("\n")
        yield command, answer


def pattern(answer: str) -> str:
    """The answer, where a line of its own that is `…` stands for lines, and else for letters."""
    lines = [
        r"(.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in answer.splitlines()
    ]
    return "".join(lines)


@pytest.mark.parametrize(
    ("page", "start", "least"),
    [
        pytest.param("dialects.md", "PCONT_STATE=/tmp/2006.json", 30, marks=pytest.mark.slow),
        ("dialects.md", "PCONT_STATE=/tmp/hybrid.json", 6),
        ("v2.md", "PCONT_DIALECT=v2 PCONT_STATE=/tmp/v2.json", 4),
    ],
)
def test_the_walk_is_as_the_page_has_it(tmp_path: Path, page: str, start: str, least: int) -> None:
    own = dict(word.split("=") for word in f"PCONT_BACKEND=model {start}".split())
    own["PCONT_STATE"] = str(tmp_path / "state.json")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **own, "PATH": path}
    rest = list(steps(page, f"PCONT_BACKEND=model {start}\n"))
    assert len(rest) > least
    for command, answer in rest:
        run = subprocess.run(
            ["sh", "-c", f'{command} 2>&1; status=$?; [ $status = 0 ] || echo "(exit $status)"'],
            env=environment,
            text=True,
            capture_output=True,
            check=True,
        )
        assert re.fullmatch(pattern(answer), run.stdout), (command, run.stdout)
