"""subsys/cpuset: the rules of the kernel's validate_change(), one after another, over the model."""

from __future__ import annotations

from errno import ENOSPC, errorcode

import pytest

from pcont.backend_model import Model
from pcont.hierarchy import keys
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, TreeRequest
from pcont.subsys.cpuset import CPUS, MEMS, NESTED, lacks_cpus_or_nodes
from pcont.subsys.v1.cpuset import TABLE
from pcont.tables.rules import Fix, Machine

ROOT, A, B, C = (Place("cpuset", path) for path in ("/", "/a", "/a/b", "/a/c"))


@pytest.fixture
def model() -> Model:
    """Four CPUs (of eight that there could be), two nodes; /a has CPUs 0-2, below it /a/b 0."""
    model = Model(Machine(frozenset(range(4)), frozenset(range(2)), cpu_limit=8))
    model.make_directory("/cg")
    model.mount(TreeRequest(("cpuset",)), "/cg", "pcont")
    for place in (A, B, C):
        model.make(place)
    for place, cpus, mems in ((A, "0-2", "0-1"), (B, "0", "0"), (C, "1", "1")):
        write(model, place, cpus=cpus, mems=mems)
    return model


def write(model: Model, place: Place, **values: str) -> None:
    for name, text in values.items():
        model.write(place, f"cpuset.{name}", text or "\n")


def outcome(model: Model, place: Place, name: str, text: str) -> str:
    """The name of the errno with which a write is refused, or what is read afterwards."""
    before = model.read(place, f"cpuset.{name}")
    try:
        write(model, place, **{name: text})
    except WriteRefused as err:
        assert model.read(place, f"cpuset.{name}") == before
        return errorcode[err.errno or 0]
    return model.read(place, f"cpuset.{name}").rstrip("\n")


def exclusive(model: Model, *places: Place, flag: str = "cpu_exclusive") -> None:
    for place in places:
        write(model, place, **{flag: "1"})


# Lists


def test_the_root_has_what_is_online_and_a_new_child_nothing(model: Model) -> None:
    model.make(A.child("new"))
    assert [model.read(ROOT, f"cpuset.{name}") for name in ("cpus", "mems")] == ["0-3\n", "0-1\n"]
    assert [model.read(A.child("new"), f"cpuset.{name}") for name in ("cpus", "mems")] == ["\n"] * 2


@pytest.mark.parametrize("name", ["cpus", "mems"])
def test_the_lists_of_the_root_cannot_be_written(model: Model, name: str) -> None:
    assert outcome(model, ROOT, name, "0") == "EACCES"


@pytest.mark.parametrize(
    ("name", "text", "result"),
    [
        ("cpus", "2,0-1", "0-2"),
        ("cpus", "0-2:1/2", "0,2"),
        ("cpus", "3", "EACCES"),
        ("cpus", "0-3", "EACCES"),
        ("cpus", "4", "EINVAL"),
        ("cpus", "7", "EINVAL"),
        ("cpus", "8", "ERANGE"),
        ("cpus", "0,70000", "ERANGE"),
        ("cpus", "x", "EINVAL"),
        ("cpus", "", ""),
        ("mems", "0-1", "0-1"),
        ("mems", "2", "EINVAL"),
        ("mems", "1023", "EINVAL"),
        ("mems", "1024", "ERANGE"),
        ("mems", "", ""),
    ],
)
def test_a_list_stays_inside_the_machine_and_the_parent(
    model: Model, name: str, text: str, result: str
) -> None:
    assert outcome(model, B, name, text) == result


def test_a_list_that_a_child_needs_does_not_shrink(model: Model) -> None:
    assert outcome(model, A, "cpus", "0,2") == "EBUSY"
    assert outcome(model, A, "cpus", "0-1") == "0-1"
    assert outcome(model, A, "mems", "1") == "EBUSY"
    assert outcome(model, A, "cpus", "") == "EBUSY"


def test_children_are_asked_before_the_parent(model: Model) -> None:
    """CPU 3 is not the grandparent's to give, and the child loses CPU 0: the child counts."""
    model.make(B.child("d"))
    write(model, B.child("d"), cpus="0")
    assert outcome(model, B, "cpus", "3") == "EBUSY"


def test_what_is_offline_is_asked_first_of_all(model: Model) -> None:
    model.make(B.child("d"))
    write(model, B.child("d"), cpus="0")
    assert outcome(model, B, "cpus", "5") == "EINVAL"


def test_only_a_container_with_tasks_must_keep_some(model: Model, sleeper: int) -> None:
    model.write(B, "tasks", str(sleeper))
    assert outcome(model, B, "cpus", "") == "ENOSPC"
    assert outcome(model, B, "mems", "") == "ENOSPC"
    model.write(ROOT, "tasks", str(sleeper))
    assert outcome(model, B, "cpus", "") == ""


def test_a_task_further_below_populates_all_above_it(model: Model, sleeper: int) -> None:
    model.write(B, "tasks", str(sleeper))
    top = model.hierarchies.active[0].root
    assert top.populated()
    assert top.nodes["a"].populated()
    assert not top.nodes["a"].nodes["c"].populated()


def test_effective_lists_are_what_is_online_of_the_lists(model: Model) -> None:
    assert model.read(B, "cpuset.effective_cpus") == "0\n"
    model.config.machine = Machine(frozenset({1, 2, 3}), frozenset({0}), cpu_limit=8)
    assert model.read(A, "cpuset.effective_cpus") == "1-2\n"
    assert model.read(A, "cpuset.effective_mems") == "0\n"


# Flags


@pytest.mark.parametrize("flag", ["cpu_exclusive", "mem_exclusive"])
def test_a_child_is_exclusive_only_below_one_that_is(model: Model, flag: str) -> None:
    assert outcome(model, ROOT, flag, "1") == "1"
    assert outcome(model, B, flag, "1") == "EACCES"
    assert outcome(model, A, flag, "1") == "1"
    assert outcome(model, B, flag, "1") == "1"
    assert outcome(model, A, flag, "0") == "EBUSY"
    assert outcome(model, ROOT, flag, "0") == "EBUSY"
    assert outcome(model, B, flag, "0") == "0"
    assert outcome(model, A, flag, "0") == "0"


@pytest.mark.parametrize(
    ("flag", "ids", "mine", "other"),
    [("cpu_exclusive", "cpus", "0", "1"), ("mem_exclusive", "mems", "0", "1")],
)
def test_exclusive_siblings_share_nothing(
    model: Model, flag: str, ids: str, mine: str, other: str
) -> None:
    exclusive(model, ROOT, A, B, flag=flag)
    assert outcome(model, C, ids, f"{mine},{other}") == "EINVAL"
    assert outcome(model, B, ids, f"{mine},{other}") == "EINVAL"
    assert outcome(model, B, flag, "0") == "0"
    assert outcome(model, C, ids, f"{mine},{other}") == f"{mine}-{other}"
    assert outcome(model, B, flag, "1") == "EINVAL"
    assert outcome(model, C, flag, "1") == "EINVAL"


def test_an_exclusive_flag_guards_its_own_list_only(model: Model) -> None:
    exclusive(model, ROOT, A, B, flag="cpu_exclusive")
    assert outcome(model, C, "mems", "0-1") == "0-1"


def test_a_container_does_not_overlap_with_itself_or_its_children(model: Model) -> None:
    exclusive(model, ROOT, A, B)
    assert outcome(model, B, "cpus", "0,2") == "0,2"
    assert outcome(model, A, "cpus", "0-3") == "0-3"


def test_flags_are_0_or_1_whatever_number_is_written(model: Model) -> None:
    for text, flag in (("7", "1"), ("0", "0"), ("0x10", "1"), ("00", "0")):
        assert outcome(model, B, "memory_migrate", text) == flag
    assert outcome(model, B, "memory_migrate", "yes") == "EINVAL"
    assert outcome(model, B, "memory_migrate", "") == "EINVAL"


def test_flags_of_the_root_are_exclusive_on_a_fresh_hierarchy(model: Model) -> None:
    assert model.read(ROOT, "cpuset.cpu_exclusive") == "1\n"
    assert model.read(ROOT, "cpuset.mem_exclusive") == "1\n"
    assert model.read(A, "cpuset.cpu_exclusive") == "0\n"


@pytest.mark.parametrize(
    ("text", "result"), [("-1", "-1"), ("5", "5"), ("-2", "EINVAL"), ("6", "EINVAL")]
)
def test_relax_levels_have_their_bounds(model: Model, text: str, result: str) -> None:
    assert outcome(model, B, "sched_relax_domain_level", text) == result


# Entry


@pytest.mark.parametrize(("cpus", "mems"), [("", "0"), ("0", ""), ("", "")])
@pytest.mark.parametrize("file", ["tasks", "cgroup.procs"])
def test_no_task_enters_where_a_list_is_empty(
    model: Model, sleeper: int, file: str, cpus: str, mems: str
) -> None:
    write(model, C, cpus=cpus, mems=mems)
    with pytest.raises(WriteRefused) as caught:
        model.write(C, file, str(sleeper))
    assert caught.value.errno == ENOSPC
    assert model.read(C, "tasks") == ""


# The table


def test_the_rules_are_in_the_kernels_order() -> None:
    assert [rule.__name__ for rule in NESTED] == [
        "around_children",
        "inside_parent",
        "_tasks_keep_some",
        "apart_from_siblings",
    ]
    for name in ("cpuset.cpus", "cpuset.mems"):
        assert TABLE.by_name[name].rules[-4:] == NESTED


def test_a_clone_gets_the_lists_and_migration_but_never_exclusiveness() -> None:
    assert {row.name for row in TABLE.files if row.creation.inherit} == {
        "cpuset.cpus",
        "cpuset.mems",
        "cpuset.memory_migrate",
    }


def test_the_files_are_those_of_the_kernel() -> None:
    """As Linux 6.18 has them on v1; sched_load_balance and what follows came after 2006."""
    assert [row.name.removeprefix("cpuset.") for row in TABLE.files] == [
        *("mems", "cpus", "effective_cpus", "effective_mems"),
        *("cpu_exclusive", "mem_exclusive", "mem_hardwall", "memory_migrate"),
        *("memory_pressure", "memory_pressure_enabled"),
        *("memory_spread_page", "memory_spread_slab"),
        *("sched_load_balance", "sched_relax_domain_level"),
    ]


def test_the_files_of_2006_are_all_there() -> None:
    """Patch semantics, 2.1."""
    assert {name for name, _ in keys.other_names(["cpuset"])} == {
        "cpus",
        "mems",
        "cpu_exclusive",
        "mem_exclusive",
        "mem_hardwall",
        "memory_migrate",
        "memory_pressure",
        "memory_pressure_enabled",
        "memory_spread_page",
        "memory_spread_slab",
    }


def test_only_the_cpus_move_the_affinity_of_tasks() -> None:
    assert [row.name for row in TABLE.files if row.undo.moves_affinity] == ["cpuset.cpus"]


@pytest.mark.parametrize(
    ("lacking", "file", "filling"), [("cpus", CPUS, "0-2"), ("mems", MEMS, "0-1")]
)
def test_what_would_help_a_task_in_begins_with_the_ancestor_that_lacks_a_list(
    model: Model, lacking: str, file: str, filling: str
) -> None:
    below = B.child("d")
    model.make(below)
    write(model, B, **{lacking: ""})
    violation = lacks_cpus_or_nodes(model.node(below))
    assert violation
    filled = {CPUS: "0", MEMS: "0", file: filling}
    assert violation.fixes == (
        Fix(B.path, ((file, filling),)),
        Fix(below.path, ((MEMS, filled[MEMS]), (CPUS, filled[CPUS]))),
    )
