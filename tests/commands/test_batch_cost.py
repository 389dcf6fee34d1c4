"""batch: what its lines cost, counted in calls of Python functions, which does not vary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pcont.cli import main
from pcont.hierarchy.registry import Registry
from pcont.model.hierarchies import Hierarchies
from pcont.ops import batch

FEW, MANY = 200, 400
OF_ONE_COMMAND = 1.5  # lines cost at most this many times what one command with all places costs
# Calls of a line that sets one value, measured as 399; 72 of them load and save its container.
MOST_OF_SET = 405


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine, too, a batch does not let others in: the state is written once."""
    monkeypatch.setattr(batch, "HOLD", 1000.0)


class Model:
    """The command line over the model in a file, with the calls that a command makes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.file, self.words = folder / "lines", ["--backend", "model", "--state"]
        self.words.append(str(folder / "model.json"))
        self("mount", "-o", "pids", "--name", "jobs")

    def __call__(self, *words: str) -> None:
        assert main([*self.words, *words]) == 0

    def calls(self, *words: str) -> int:
        """Run a command; return how many Python functions it calls."""
        found = 0

        def count(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal found
            found += event == "call"

        sys.setprofile(count)
        try:
            status = main([*self.words, *words])
        finally:
            sys.setprofile(None)
        assert status == 0
        return found

    def batch(self, lines: Sequence[str], *options: str) -> int:
        self.file.write_text("\n".join(lines))
        return self.calls("batch", *options, str(self.file))


def places(count: int) -> list[str]:
    return [f"jobs:/{number}" for number in range(count)]


def creating(folder: Path, count: int) -> tuple[int, int]:
    """The calls of a batch that creates containers, and of one command."""
    lines, one = Model(folder / "lines"), Model(folder / "one")
    found = lines.batch([f"create {place} -s pids.max=5" for place in places(count)])
    return found, one.calls("create", *places(count), "-s", "pids.max=5")


def removing(folder: Path, count: int) -> tuple[int, int]:
    lines, one = Model(folder / "lines"), Model(folder / "one")
    for model in (lines, one):
        model("create", *places(count))
    found = lines.batch([f"rm {place}" for place in places(count)])
    return found, one.calls("rm", *places(count))


@pytest.mark.parametrize("work", [creating, removing])
def test_lines_cost_what_one_command_with_all_places_costs(
    work: Callable[[Path, int], tuple[int, int]], tmp_path: Path
) -> None:
    found: dict[int, tuple[int, int]] = {}
    for count in (FEW, MANY):
        (tmp_path / str(count)).mkdir()
        found[count] = work(tmp_path / str(count), count)
        lines, one = found[count]
        assert lines <= one * OF_ONE_COMMAND
    lines = found[MANY][0] - found[FEW][0]
    assert lines <= found[FEW][0] * 1.1, "twice the lines are twice the calls"


@pytest.mark.parametrize("options", [(), ("--atomic",)], ids=["lines", "atomic"])
def test_lines_that_set_values_cost_the_same_however_many_they_are(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    found = []
    for count in (FEW, MANY):
        model = Model(tmp_path / str(count))
        model("create", *places(MANY))
        found.append(model.batch([f"set {place} pids.max=9" for place in places(count)], *options))
    assert (found[1] - found[0]) / (MANY - FEW) <= MOST_OF_SET


def test_lines_of_several_kinds_need_one_registry_and_look_up_the_mounts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, made, looked = Model(tmp_path / "model"), [0], [0]
    new, trees = Registry.__init__, Hierarchies.trees

    def count_new(self: Registry, backend: Any) -> None:
        made[0] += 1
        new(self, backend)

    def count_trees(self: Hierarchies) -> Any:
        looked[0] += 1
        return trees(self)

    monkeypatch.setattr(Registry, "__init__", count_new)
    monkeypatch.setattr(Hierarchies, "trees", count_trees)
    lines = [
        line
        for place in places(50)
        for line in (f"create {place}", f"set {place} pids.max=5", f"get {place} pids.max")
    ]
    model.batch(lines)
    assert made[0] <= 2, "one for the lock, one for the lines"
    assert looked[0] <= 60, "one for each `set` in a container, which pcont must have mounted"
