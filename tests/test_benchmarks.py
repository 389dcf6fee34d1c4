"""The benchmarks: how they measure, that every row is there, and that nothing is left of them.

No test has a limit of time: a machine may be slow.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from benchmarks import forks, goals, library, many, peers, scale, startup, state, tasks, v2
from benchmarks.kernel import Tree, mount_points
from benchmarks.measure import Contender, Cost, Failed, Noise, cost, in_turns, spread
from benchmarks.page import SECTIONS, page
from benchmarks.results import Row, Rows, ratio, row
from tests.conftest import elsewhere, need_program
from tests.stress import built
from tests.waiting import eventually

BENCH = [sys.executable, "-m", "benchmarks", "--no-peers"]
CGROUPS = Path("/sys/fs/cgroup")
ON_THE_MODEL = {startup.MODEL, state.TABLE, state.PS, library.TABLE} | {
    f"{scale.TABLE}: {shape.name}" for shape in scale.SHAPES
}


@pytest.fixture(autouse=True)
def _compiler() -> None:
    need_program(Path(forks.__file__).parent / "loops" / "launch.c")


def measured(what: str, contender: str, cpu: float, items: int = 10_000) -> Row:
    return row(many.TABLE, what, items, contender, [Cost(cpu, cpu, 0.0)], each=True)


def test_each_trial_runs_once_in_each_round_and_a_round_begins_with_the_next_one() -> None:
    order: list[str] = []

    def trial(name: str) -> int:
        order.append(name)
        return len(order)

    trials = {name: partial(trial, name) for name in "abc"}
    found = in_turns(trials, 3, "letters", between=lambda: order.append("|"))
    assert "".join(order) == "abc|bca|cab|"
    assert found == {"a": [1, 7, 10], "b": [2, 5, 11], "c": [3, 6, 9]}


def test_what_one_more_item_costs_leaves_out_the_start() -> None:
    assert Cost(1100.0, 2200.0, 400.0).beyond(Cost(100.0, 200.0, 100.0), 11) == (100, 200, 30)


def test_a_spread_has_the_median_the_quartiles_and_the_limits() -> None:
    assert spread([5.0, 1.0, 2.0, 3.0, 4.0]) == (3, 2, 4, 1, 5)
    assert spread([7.0]) == (7, 7, 7, 7, 7)


def test_the_memory_of_a_command_is_its_own_and_not_that_of_the_benchmark() -> None:
    small = cost(Contender(["true"]))
    large = cost(Contender([sys.executable, "-c", "bytearray(50_000_000)"]))
    assert small.peak < 8000, "Python itself has more"
    assert large.peak > 50_000
    assert large.cpu > 0


def test_the_cpu_time_of_a_command_has_its_children_in_it() -> None:
    spin = [str(built(Path(forks.__file__).parent / "loops" / "spin.c")), "20000000"]
    alone, below = cost(Contender(spin)), cost(Contender(["sh", "-c", '"$@"; true', "sh", *spin]))
    assert below.cpu > alone.cpu / 2


def test_a_contender_that_fails_ends_the_benchmark_with_what_it_printed() -> None:
    with pytest.raises(Failed, match=r"exit 3\nno such group"):
        cost(Contender(["sh", "-c", "echo no such group >&2; exit 3"]))


def test_another_tool_may_fail_once_and_is_cleaned_up_after(tmp_path: Path) -> None:
    mark, cleaned = tmp_path / "mark", []
    words = ["sh", "-c", '[ -e "$1" ] || { touch "$1"; exit 1; }', "sh", str(mark)]
    cost(Contender(words, tries=2, after=lambda: cleaned.append(1)))
    assert cleaned == [1, 1]


def test_a_cost_below_zero_is_no_reference() -> None:
    below, above = measured("tree", "Python loop", -1.0), measured("tree", "pcont", 5.0)
    assert ratio(above, below) is None
    assert ratio(below, above) == 0


@pytest.mark.parametrize(("cpu", "reached"), [(14.0, True), (16.0, False)])
def test_a_goal_compares_pcont_with_another_contender(cpu: float, reached: bool) -> None:
    what = "create with two values"
    rows = Rows([measured(what, "Python loop", 10.0), measured(what, "pcont", cpu)])
    (found,) = goals.judged(rows)
    assert found.reached is reached
    assert found == (many.TABLE, what, 10_000, "Python loop", cpu / 10, 1.5)


def test_a_goal_of_growth_compares_the_largest_number_with_the_smallest() -> None:
    rows = Rows(measured("rm -r", "pcont", cpu, items) for items, cpu in ((100, 2.0), (9000, 3.0)))
    (found,) = goals.judged(rows)
    assert (found.items, found.other, found.found) == (9000, "the same with 100", 1.5)


@pytest.fixture
def mounted() -> None:
    """The hierarchies that the benchmarks use; they mount none of them."""
    needed = {"cpuset", *tasks.CONTROLLERS}
    if missing := needed - set(mount_points()):
        elsewhere(f"no hierarchy of its own has {', '.join(sorted(missing))}")


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The benchmark as a process; it is ended as Ctrl-C does it if the test has not."""
    with subprocess.Popen([*BENCH, *words], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def run(folder: Path, *words: str) -> tuple[int, Rows]:
    """Run the benchmark; its process id, and the rows that it wrote."""
    with running("--sizes", "tiny", "--output", str(folder), *words) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    kept = json.loads((folder / "benchmarks.json").read_text())
    rows = [Row(**{**one, "cpu": _spread(one["cpu"]), "wall": None}) for one in kept["rows"]]
    assert kept["noise"]["times"] > 0
    return process.pid, Rows(rows)


def _spread(one: dict[str, float]) -> object:
    return spread([one["least"], one["median"], one["most"]])


def left_behind(pid: int) -> list[str]:
    """Containers and mounts of a benchmark."""
    found = [str(path) for path in CGROUPS.glob(f"*/bench{pid}*")]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return found + [line for line in mounts if f"bench{pid}" in line]


def check_page(folder: Path, rows: Rows, tables: set[str]) -> None:
    """Every table has its rows, and the page a section for it."""
    text = (folder / "benchmarks.md").read_text()
    sections = {section.table: section for section in SECTIONS}
    assert {one.table for one in rows.all} == tables
    for table in tables:
        assert f"\n## {sections[table].title}\n" in text
        for what in rows.of(table).whats():
            assert what in text


@pytest.mark.slow
def test_the_groups_of_the_model_measure_all_their_rows(tmp_path: Path) -> None:
    groups = ("startup-model", "state", "ps", "library", "scale")
    _, rows = run(tmp_path, *groups)
    check_page(tmp_path, rows, ON_THE_MODEL)
    assert rows.of(state.TABLE).whats() == list(state.COMMANDS)
    assert rows.of(library.TABLE).sizes() == [10, 100]
    assert {"create all", "set one value", "rm -r of all"} <= set(rows.of(library.TABLE).whats())


@pytest.mark.kernel
@pytest.mark.host
@pytest.mark.usefixtures("mounted")
def test_a_whole_run_measures_every_row_and_leaves_nothing(tmp_path: Path) -> None:
    pid, rows = run(tmp_path)
    check_page(tmp_path, rows, {section.table for section in SECTIONS})
    assert left_behind(pid) == []
    for table in (many.TABLE, tasks.TABLE):
        for what in rows.of(table).whats():
            found = set(rows.of(table).contenders(what, 10))
            assert found >= {"C loop", "Python loop", "pcont"}
    assert rows.of(many.TABLE).whats() == list(many.CONTENDERS)
    assert len(rows.of(tasks.TABLE).whats()) == 6
    assert rows.of(forks.TABLE).sizes() == list(range(forks.MOST + 1))
    for table in (startup.KERNEL, v2.TABLE):
        assert set(goals.HOT) <= set(rows.of(table).whats())


@pytest.mark.kernel
@pytest.mark.host
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("group", ["many", "forks"])
@pytest.mark.usefixtures("mounted")
def test_a_signal_removes_containers_and_hierarchies(group: str, number: signal.Signals) -> None:
    with running("--sizes", "quick", group) as process:
        assert eventually(lambda: bool(left_behind(process.pid)))
        process.send_signal(number)
        assert process.wait() == 128 + number
        assert left_behind(process.pid) == []


def test_the_page_says_whether_the_machine_was_quiet_and_whether_goals_are_reached() -> None:
    what = "create with two values"
    rows = [measured(what, name, cpu) for name, cpu in (("C loop", 9.0), ("Python loop", 10.0))]
    noise = Noise(steps=1000).facts()._replace(others=0.5)
    facts = {"day": "", "machine": "", "version": "", "sizes": "tiny", "minutes": 1.0}
    text = page(facts, noise, Rows([*rows, measured(what, "pcont", 20.0)]))
    assert "**not quiet**" in text
    assert (
        f"| {many.TABLE} | {what} | 10,000 | Python loop | 2.00 | ≤ 1.5 | **not reached** |" in text
    )


def test_a_peer_that_is_not_installed_has_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(peers, "LIBRARY", "no_such_library")
    tree = Tree("pids", "/sys/fs/cgroup/pids")
    assert peers.create(tree, tree, 10, many.VALUES) == {}
    assert peers.versions() == {}
