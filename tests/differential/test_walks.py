"""The model answers like the kernel: a few walks here, more by `python -m tests.differential`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.kernel.types import UNIFIED, Place
from pcont.model.dialects import V2
from pcont.subsys import TASK_FILES
from tests.conftest import IN_GUEST, elsewhere, need_program
from tests.differential import errno_table, far
from tests.differential.sides import Ground, ModelSide, Side, folder, ground
from tests.differential.steps import Seen, Step
from tests.differential.tally import Tally
from tests.differential.unsure import is_unsure
from tests.differential.walk import replay, shrink, walk

# A step takes 10 ms on a host, and in an emulated guest a few tenths of a second.
WALKS, STEPS = (2, 80) if IN_GUEST else (4, 120)
# The same walks each time, so that a failure comes from the change at hand.
SEED = int(os.environ.get("PCONT_SEED", 1))


@pytest.fixture
def here(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """What this machine offers, for a walk of the dialect that the test asks for."""
    dialect = getattr(request, "param", "v1")
    if dialect == "v2" and IN_GUEST and os.uname().release.startswith("6.1."):
        elsewhere("the model answers as Linux 6.12 does")
    if dialect == "v2" and UNIFIED not in (tree.id for tree in Cgroupfs().trees()):
        elsewhere("no cgroup v2 is mounted")
    need_program(far.SOURCE)
    if dialect == "v2" and IN_GUEST:
        _disable_all()
    with far.near() as end, ground(end, dialect) as found:
        yield found


def _disable_all() -> None:
    """Disable what earlier tests have left enabled in the root of cgroup v2."""
    backend, control = Cgroupfs(), "cgroup.subtree_control"
    root = next(Place.at(tree) for tree in backend.trees() if tree.id == UNIFIED)
    if names := backend.read(root, control).split():
        backend.write(root, control, " ".join(f"-{name}" for name in names))


@pytest.mark.kernel
@pytest.mark.parametrize("number", range(WALKS))
def test_the_model_answers_like_the_kernel(here: Ground, number: int) -> None:
    seed, tally = SEED + number, Tally()
    print(f"PCONT_SEED={seed}")
    if difference := walk(here, seed, STEPS, tally):
        pytest.fail(str(shrink(here, difference)))
    assert tally.verbs.total() == STEPS


@pytest.mark.kernel
@pytest.mark.parametrize("here", ["v2"], indirect=True)
@pytest.mark.parametrize("number", range(WALKS))
def test_commands_on_cgroup_v2_do_the_same_on_the_model_and_on_the_kernel(
    here: Ground, number: int
) -> None:
    seed, tally = SEED + number, Tally()
    print(f"PCONT_SEED={seed}")
    if difference := walk(here, seed, STEPS, tally):
        pytest.fail(str(shrink(here, difference)))
    assert tally.verbs.total() == STEPS


# The judge itself, where the kernel is a model: what it must find is known then.


@pytest.fixture
def free() -> Iterator[Ground]:
    with folder() as made:
        yield Ground(made)


@pytest.fixture
def free_v2(free: Ground) -> Ground:
    """All of cgroup v2."""
    return replace(free, bases={UNIFIED: "/"}, dialect=V2)


def two_models(ground: Ground) -> tuple[Side, ModelSide]:
    return ModelSide(ground), ModelSide(ground)


@pytest.mark.slow
def test_a_model_does_not_differ_from_itself_and_a_seed_repeats(free: Ground) -> None:
    once, again = Tally(), Tally()
    for tally in (once, again):
        assert walk(free, 1, 200, tally, two_models) is None
    assert once.verbs.total() == 200
    assert once == again


@pytest.mark.slow
def test_a_walk_on_cgroup_v2_repeats_and_meets_the_errno_table(free_v2: Ground) -> None:
    once, again = Tally(), Tally()
    for tally in (once, again):
        assert walk(free_v2, 1, 300, tally, two_models) is None
    assert once == again
    assert len(once.rows) > 10
    assert once.verbs["pcont create"] > 10


def test_tallies_of_several_runs_are_added(tmp_path: Path) -> None:
    one, file = Tally(walks=2, has_v2=True), tmp_path / "tally.json"
    one.count(Step("make", (Place(UNIFIED, "/a"),)), "EEXIST", "", [errno_table.ROWS[0]])
    one.count(Step("pcont", ("create", "unified:/a")), "exit 5\npcont: ...", "")
    one.save(file)
    both = Tally.load(file)
    both.add(one)
    assert both.verbs == {"make": 2, "pcont create": 2}
    assert both.refusals == {"make: EEXIST": 2, "pcont create: exit 5": 2}
    assert both.rows == {str(errno_table.ROWS[0]): 2}
    assert both.walks == 4
    assert Tally.load(tmp_path / "absent") == Tally()


@pytest.mark.parametrize(
    ("step", "answer", "row"),
    [
        (Step("write", (Place(UNIFIED, "/a"), "cpuset.cpus", "9")), "ERANGE for the text", "a CPU"),
        (Step("pcont", ("set", "x:/a", "pids.max=x")), "exit 7\npcont: no (EINVAL)", "out of"),
        (Step("pcont", ("create", "x:/a")), "exit 8\npcont: no (EAGAIN)", "cgroup.max.depth"),
        (
            Step("write", (Place(UNIFIED, "/a"), "cgroup.subtree_control", "-pids")),
            "EBUSY for the text",
            "-: a child",
        ),
        (Step("attach", (Place(UNIFIED, "/a"), "cgroup.procs", "t", "{id}")), "None", "a zombie"),
    ],
)
def test_an_answer_is_in_one_row_of_the_errno_table(step: Step, answer: str, row: str) -> None:
    (found,) = errno_table.rows_of(step, answer, is_zombie=True)
    assert found.what.startswith(row)


SEEN = {
    **{f"unified:{path} children": [] for path in ("/", "/a", "/b", "/a/c")},
    "unified:/a cpuset.cpus.partition": "isolated",
    "unified:/a cpuset.cpus.exclusive": "2-3\n",
    "unified:/b cpuset.cpus.partition": "root invalid (Cpu list in cpuset.cpus not exclusive)",
    "unified:/a/c cpuset.cpus.partition": "root invalid (Parent is an invalid partition root)",
}
A, B, C = (Place(UNIFIED, path) for path in ("/a", "/b", "/a/c"))


@pytest.mark.parametrize(
    ("step", "left_out"),
    [
        (Step("write", (B, "cpuset.cpus", "1-2")), True),
        (Step("write", (B, "cpuset.cpus", "0-1")), False),
        (Step("write", (A, "cpuset.cpus", "2")), False),
        (Step("write", (B, "cpuset.cpus.partition", "root")), True),
        (Step("write", (B, "cpuset.cpus.partition", "member")), False),
        (Step("write", (A, "cpuset.cpus.partition", "root")), True),
        (Step("write", (A, "cpuset.cpus.partition", "isolated")), False),
        (Step("write", (C, "cpuset.cpus", "2")), False),
        (Step("pcont", ("set", "x:/b", "cpuset.cpus=2", "pids.max=1")), True),
        (Step("pcont", ("set", "x:/b", "cpuset.cpus=x")), False),
        (Step("pcont", ("set", "x:/b", "cpuset.cpus.partition=isolated")), True),
        (Step("remove", (B,)), False),
    ],
)
def test_a_step_that_the_kernel_does_not_always_answer_alike_is_left_out(
    step: Step, left_out: bool
) -> None:
    assert is_unsure(Seen(SEEN), step) == left_out


class Checked(Tally):
    """What is foretold comes true."""

    def count(
        self, step: Step, answer: str, why: str, rows: Iterable[errno_table.Row] = ()
    ) -> None:
        super().count(step, answer, why, rows)
        if step.verb == "write" and step.args[1] not in TASK_FILES:
            refused = answer.removesuffix(" for the text") if " for" in answer else ""
            assert why.partition(" ")[0] == refused, f"{step}: {answer}, not {why}"


@pytest.mark.slow
def test_the_rule_that_refuses_a_write_is_foretold(free: Ground) -> None:
    tally = Checked()
    assert walk(free, 1, 300, tally, two_models) is None
    assert sum(row.startswith("write") for row in tally.refusals) > 30


class Lax(ModelSide):
    """Here the removal of a container is never refused."""

    def remove(self, place: Place) -> None:
        with contextlib.suppress(OSError):
            super().remove(place)


def lax(ground: Ground) -> tuple[Side, ModelSide]:
    return Lax(ground), ModelSide(ground)


def test_a_rule_that_was_removed_is_found_in_the_fewest_steps(free: Ground) -> None:
    found = next(one for seed in range(1, 50) if (one := walk(free, seed, 200, Tally(), lax)))
    least = shrink(free, found, lax)
    assert least.steps[-1].verb == "remove"
    assert "the kernel answers None, the model E" in least.facts[0]
    assert replay(free, least.steps, lax) == least
    for left_out in range(len(least.steps)):
        rest = least.steps[:left_out] + least.steps[left_out + 1 :]
        assert replay(free, rest, lax) is None
