"""subsys/cpuacct: the formats of the kernel's files, and the counter that only 0 resets."""

from __future__ import annotations

from errno import EINVAL

import pytest

from pcont.backend_model import Model
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, TreeRequest
from pcont.model.cgroups import Node
from pcont.model.dialects import V1
from pcont.subsys.model.cpuacct import BEHAVIOURS, TICK
from pcont.subsys.v1.cpuacct import TABLE
from pcont.tables.interface import Interface
from pcont.tables.rules import Machine

A, B = Place("cpuacct", "/a"), Place("cpuacct", "/a/b")


def charge(node: Node, cpu: int, user: int, system: int) -> None:
    """A task in the container has used a CPU."""
    on_run = V1.behaviour("cpuacct").on_run
    assert on_run
    on_run(node, cpu, user, system)


@pytest.fixture
def model() -> Model:
    """Two CPUs of three that there could be; /a/b has used CPU 0 and CPU 2."""
    model = Model(Machine(frozenset({0, 1}), frozenset({0}), cpu_limit=3))
    model.make_directory("/cg")
    model.mount(TreeRequest(("cpuacct",)), "/cg", "pcont")
    for place in (A, B):
        model.make(place)
    charge(node(model), 0, 3 * TICK, TICK)
    charge(node(model), 2, 5, 7)
    return model


def node(model: Model) -> Node:
    return model.hierarchies.active[0].root.nodes["a"].nodes["b"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("usage", f"{4 * TICK + 12}\n"),
        ("usage_user", f"{3 * TICK + 5}\n"),
        ("usage_sys", f"{TICK + 7}\n"),
        ("usage_percpu", f"{4 * TICK} 0 12 \n"),
        ("usage_percpu_user", f"{3 * TICK} 0 5 \n"),
        ("usage_percpu_sys", f"{TICK} 0 7 \n"),
        ("usage_all", f"cpu user system\n0 {3 * TICK} {TICK}\n1 0 0\n2 5 7\n"),
        ("stat", "user 3\nsystem 1\n"),
    ],
)
def test_the_files_are_as_the_kernel_writes_them(model: Model, file: str, text: str) -> None:
    assert model.read(B, f"cpuacct.{file}") == text


def test_a_parent_has_the_time_of_its_children(model: Model) -> None:
    charge(model.hierarchies.active[0].root.nodes["a"], 1, 1, 2)
    assert model.read(A, "cpuacct.usage") == f"{4 * TICK + 15}\n"
    assert model.read(B, "cpuacct.usage") == f"{4 * TICK + 12}\n"


def test_a_removed_child_leaves_its_time_to_the_parent(model: Model) -> None:
    model.remove(B)
    assert model.read(A, "cpuacct.usage") == f"{4 * TICK + 12}\n"


@pytest.mark.parametrize("text", ["0", "0\n", "0x0", "00"])
def test_zero_resets_this_container_alone(model: Model, text: str) -> None:
    model.write(B, "cpuacct.usage", text)
    assert model.read(B, "cpuacct.usage") == "0\n"
    assert model.read(B, "cpuacct.usage_percpu") == "0 0 0 \n"
    assert model.read(A, "cpuacct.usage") == f"{4 * TICK + 12}\n"
    charge(node(model), 0, 1, 1)
    assert model.read(B, "cpuacct.usage") == "2\n"


@pytest.mark.parametrize("text", ["1", "-1", "x", "0 0", "\n"])
def test_nothing_but_zero_can_be_written(model: Model, text: str) -> None:
    with pytest.raises(WriteRefused) as caught:
        model.write(B, "cpuacct.usage", text)
    assert caught.value.errno == EINVAL
    assert model.read(B, "cpuacct.usage") == f"{4 * TICK + 12}\n"


@pytest.mark.parametrize("file", [row.name for row in TABLE.files if not row.undo.lasting])
def test_the_others_can_only_be_read(model: Model, file: str) -> None:
    assert not model.files(B)[file]
    with pytest.raises(WriteRefused) as caught:
        model.write(B, file, "0")
    assert caught.value.errno == EINVAL


def test_any_task_may_enter_and_nothing_is_inherited() -> None:
    assert TABLE.entry == ()
    assert not TABLE.may_refuse
    assert not any(row.creation.inherit or row.creation.passed_on for row in TABLE.files)
    files = BEHAVIOURS[Interface.V1].files
    assert all(files[row.name].derived for row in TABLE.files)
    assert [row.name for row in TABLE.files if row.undo.lasting] == ["cpuacct.usage"]
