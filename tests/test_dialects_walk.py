"""docs/dialects.md: what it shows is what a person sees after typing it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TEXT = Path(__file__).parents[1].joinpath("docs", "dialects.md").read_text(encoding="utf-8")


def steps() -> Iterator[tuple[str, str]]:
    """Each command of the walk, and what the page says that it answers."""
    blocks = re.findall(r"^```console\n(.*?)^```", TEXT, re.M | re.S)
    for step in re.split(r"^\$ ", "".join(blocks), flags=re.M)[1:]:
        command, _, answer = step.partition("\n")
        yield command, answer


def pattern(answer: str) -> str:
    """The answer, where a line of its own that is `…` stands for lines, and else for letters."""
    lines = [
        r"(.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in answer.splitlines()
    ]
    return "".join(lines)


@pytest.mark.slow
def test_the_walk_is_as_the_page_has_it(tmp_path: Path) -> None:
    own = {"PCONT_BACKEND": "model", "PCONT_STATE": str(tmp_path / "2006.json")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **own, "PATH": path}
    (first, _), *rest = steps()
    assert first == "export PCONT_BACKEND=model PCONT_STATE=/tmp/2006.json"
    assert len(rest) > 30
    for command, answer in rest:
        run = subprocess.run(
            ["sh", "-c", f'{command} 2>&1; status=$?; [ $status = 0 ] || echo "(exit $status)"'],
            env=environment,
            text=True,
            capture_output=True,
            check=True,
        )
        assert re.fullmatch(pattern(answer), run.stdout), (command, run.stdout)
