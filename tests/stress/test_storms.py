"""move, attach --tree and rm --kill among processes that fork all the time: no task is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.steps import converge, move_all
from pcont.steps import mirror as step_mirror
from tests.conftest import need_program
from tests.contract.conftest import Pcont, starts_empty
from tests.stress import SOURCES, Bomb, Storm, running
from tests.stress.measure import adoption, explosion
from tests.stress.trees import Census, SeparateTrees, separate_trees

# Under emulation a storm leaves no CPU time for other processes.
pytestmark = [pytest.mark.kernel, pytest.mark.host]

MOVES = 4
BUSY = 2  # as often, where others keep the CPUs busy: a storm takes half a minute then
ADOPTIONS = 2
TASKS = 300

MakeTrees = Callable[..., AbstractContextManager[SeparateTrees]]


@pytest.fixture
def trees(kernel: Pcont, name: str) -> MakeTrees:
    """Make containers in so many trees of names, and in those of controllers."""
    need_program(SOURCES / "storm.c")

    def make(*controllers: str, named: int) -> AbstractContextManager[SeparateTrees]:
        return separate_trees(kernel.ok, name, controllers, named, bind=starts_empty(kernel))

    return make


def all_arrived(width: int) -> Census:
    return Census(arrived=width, left=0, split=0, ended=0)


def none_was_lost(place: SeparateTrees, storm: Storm, source: str, target: str) -> None:
    """All of a storm is in the target of every tree, now and after more forks."""
    assert place.is_empty(source)
    assert place.census(storm.paths(), source, target) == all_arrived(storm.width)
    assert storm.goes_on()
    assert place.is_empty(source)
    assert place.census(storm.paths(), source, target) == all_arrived(storm.width)


@pytest.mark.parametrize("width", [40, pytest.param(400, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("controllers", "named"), [(["freezer", "cpuacct"], 1), (["unified"], 0), (["unified"], 1)]
)
def test_a_storm_moves_frozen_and_goes_on(
    kernel: Pcont, trees: MakeTrees, controllers: list[str], named: int, width: int
) -> None:
    with trees(*controllers, named=named) as place, place.load(Storm(width), "/a") as storm:
        source, target = "/a", "/b"
        for _ in range(MOVES):
            result = kernel("move", place.at(source), place.at(target), "--json")
            assert result.status == 0, result.err
            assert place.is_empty(source)
            assert result.json["strategy"] == "freeze"
            assert result.json["moved"] >= width
            none_was_lost(place, storm, source, target)
            source, target = target, source


@pytest.mark.nightly
def test_a_storm_is_overtaken_without_a_freezer(kernel: Pcont, trees: MakeTrees) -> None:
    with trees("cpuacct", named=2) as place, place.load(Storm(40), "/a") as storm:
        source, target = "/a", "/b"
        for _ in range(MOVES):
            result = kernel("move", place.at(source), place.at(target), "--json")
            assert result.status == 0, result.err
            assert result.json["strategy"] == "converge"
            none_was_lost(place, storm, source, target)
            source, target = target, source


@pytest.mark.nightly
def test_a_storm_that_is_too_fast_is_back_as_a_whole(kernel: Pcont, trees: MakeTrees) -> None:
    """Without a freezer so many may be too many: exit 8, and all are where they were."""
    with trees("cpuacct", named=2) as place, place.load(Storm(400), "/a") as storm:
        result = kernel("move", place.at("/a"), place.at("/b"), "--json")
        assert result.status in (0, 8), result.err
        assert "NOT RESTORED" not in result.out + result.err, result
        ways = ("/a", "/b") if result.status == 0 else ("/b", "/a")
        none_was_lost(place, storm, *ways)


@pytest.fixture
def busy() -> Iterator[None]:
    """Other processes use every CPU, and more: a task takes long to end."""
    with contextlib.ExitStack() as stack:
        for _ in range((os.cpu_count() or 1) + 1):
            process = stack.enter_context(subprocess.Popen(["sh", "-c", "while :; do :; done"]))
            stack.callback(process.kill)
        yield


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(BUSY))
@pytest.mark.usefixtures("busy")
def test_a_task_that_is_ending_is_waited_for_before_the_comparison(
    kernel: Pcont, trees: MakeTrees, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The kernel does not move them, and the container could not be removed with them in it."""
    monkeypatch.setattr(move_all, "MOVE_PATIENCE", 0.3)
    monkeypatch.setattr(converge, "PATIENCE_BACK", 600.0)
    with trees("cpuacct", named=2) as place, place.load(Storm(400), "/a") as storm:
        result = kernel("move", place.at("/a"), place.at("/b"), "--json")
        assert "NOT RESTORED" not in result.out + result.err, result
        gone, there = ("/a", "/b") if result.status == 0 else ("/b", "/a")
        assert place.is_empty(gone)
        assert place.census(storm.paths(), gone, there) == all_arrived(storm.width)


@pytest.mark.parametrize("verb", ["bind", "unbind"])
@pytest.mark.nightly
@pytest.mark.parametrize("number", range(BUSY))
@pytest.mark.usefixtures("busy")
def test_a_storm_is_in_step_in_one_more_tree_or_in_none(
    kernel: Pcont, trees: MakeTrees, monkeypatch: pytest.MonkeyPatch, verb: str, number: int
) -> None:
    """What was made there was removed, although a task was ending in it when pcont gave up."""
    monkeypatch.setattr(step_mirror, "MIRROR_PATIENCE", 0.3)
    monkeypatch.setattr(converge, "PATIENCE_BACK", 600.0)
    with trees(named=1) as place, contextlib.ExitStack() as stack:
        words = (place.selector, "pids")
        mirror, home = Place("pids", f"/{place.name}"), f"/{place.name}/a"
        if verb == "unbind":
            kernel.ok("bind", *words)
        with place.load(Storm(400), "/a") as storm:
            result = kernel(verb, *words, *["--yes"] * (verb == "unbind"))
            bound = (verb == "bind") == (result.status == 0)
            if bound:
                stack.callback(kernel.ok, "unbind", *words, "--yes")
            assert result.status in (0, 8), result.err
            assert "NOT RESTORED" not in result.err, result.err
            assert exists(kernel.backend(), mirror) == bound
            found = [one and (one[place.trees[0]], one["pids"]) for one in storm.paths()]
            assert Counter(found) == {(home, home if bound else "/"): storm.width}


TREES = pytest.mark.parametrize(
    ("controllers", "named"),
    [(["freezer", "cpuacct"], 1), (["cpuacct"], 2)],
    ids=["freezer", "no-freezer"],
)


@TREES
@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
def test_a_server_keeps_all_its_children_that_daemonize(
    trees: MakeTrees, controllers: list[str], named: int, held: bool
) -> None:
    """`held`: all wait with it until the first task has moved, and each of them has to be found."""
    with trees(*controllers, named=named) as place:
        for number in range(ADOPTIONS):
            adopted = adoption(place, f"/{number}", held=held)
            assert adopted.outcome.status == 0, adopted.outcome.err
            assert adopted.older > 0
            assert (adopted.lost, adopted.split) == (0, 0), adopted


@pytest.mark.parametrize("freezer", [["freezer"], []], ids=["freezer", "no-freezer"])
def test_a_fork_bomb_dies_and_no_task_escapes(trees: MakeTrees, freezer: list[str]) -> None:
    with trees(*freezer, "pids", named=1) as place:
        bang = explosion(place, "/bomb", TASKS)
        assert bang.outcome.status == 0, bang.outcome.err
        assert bang.looks > 0
        assert (bang.alive, bang.above, bang.there) == (0, 0, []), bang


def test_a_bomb_does_not_begin_where_nothing_holds_it(trees: MakeTrees) -> None:
    with trees("pids", named=0) as place, running(Bomb(str(place.folder("pids", "/a")))) as bomb:
        place.ok("attach", place.at("/a"), str(bomb.root))
        bomb.go()
        assert bomb.end() == 1


@pytest.mark.parametrize("width", [40, pytest.param(400, marks=pytest.mark.nightly)])
def test_a_storm_is_killed_on_v2(kernel: Pcont, trees: MakeTrees, width: int) -> None:
    with trees("unified", named=0) as place, place.load(Storm(width), "/a"):
        kernel.ok("rm", "--kill", place.at("/a"))
        assert not place.folder("unified", "/a").exists()
        assert kernel.ok("ps", place.at("")) == ""
