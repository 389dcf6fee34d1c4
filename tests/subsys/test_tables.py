"""subsys: what holds for every table, and for every row of every table."""

from __future__ import annotations

import ast
import re
from errno import EINVAL
from pathlib import Path
from typing import cast

import pytest

import pcont
from pcont import subsys
from pcont.backend_model import Model
from pcont.hierarchy import keys
from pcont.kernel.types import Place, TreeRequest
from pcont.model.dialects import V1
from pcont.subsys import blkio, cpu, devices, misc, net_cls, net_prio, rdma
from pcont.subsys.model import load_behaviour
from pcont.subsys.numtasks import Shares
from pcont.subsys.v2.cpu import CPU_MAX, Bandwidth
from pcont.tables.behaviour import NO_BEHAVIOUR, FileBehaviour
from pcont.tables.control_file import ControlFile, Listed, Subsystem
from pcont.tables.interface import Interface
from pcont.tables.rules import Proposed, Site, Where
from pcont.values import (
    BYTES,
    FLAG,
    ID_LIST,
    INT_FLAG,
    INTEGER,
    LIMIT,
    SIGNED,
    TEXT,
    UNSIGNED,
    WORD,
    modulo,
)


def load(name: str) -> Subsystem:
    table = subsys.by_key(name)
    assert table is not None
    return table


TABLES = [load(name) for name in subsys.NAMES]
ALL = [subsys.core_table(), *TABLES]
MODELLED = [subsys.core_table(), *(load(name) for name in V1.controllers)]
# The rows of huge pages are the same for each of their sizes.
ROWS = [
    pytest.param(table, row, id=row.name)
    for table in ALL
    for row in table.files
    if not row.virtual.everywhere and (table.name != "hugetlb" or "2MB" in row.name)
]
RULED = [pytest.param(row, id=row.name) for table in MODELLED for row in table.files if row.rules]

WRITE_ONLY = ("devices.allow", "devices.deny")

every_table = pytest.mark.parametrize("table", TABLES, ids=subsys.NAMES)
every_row = pytest.mark.parametrize(("table", "row"), ROWS)


every_modelled_row = pytest.mark.parametrize(
    ("table", "row"), [one for one in ROWS if one.values[0] in MODELLED]
)


@pytest.fixture
def model() -> Model:
    """All that the model has, in one hierarchy."""
    model = Model()
    model.make_directory("/cg")
    model.mount(TreeRequest(V1.controllers), "/cg", "pcont")
    model.make(Place(",".join(V1.controllers), "/a"))
    return model


# Tables


def test_every_module_with_a_table_is_in_the_list() -> None:
    for interface in Interface:
        folder = Path(pcont.__file__).parent / "subsys" / interface.value
        names = {one.stem for one in folder.glob("*.py")}
        names -= {"__init__", "core", "rows", "values", "of_v2"}
        assert names == set(subsys.WITH_TABLES[interface])
        assert all(subsys.load(name, interface) for name in ("", *names))


class Unreadable:
    """A container none of whose files can be read, as devices.allow cannot."""

    def value(self, file: str) -> str:
        raise OSError(EINVAL, file)


def test_a_present_value_is_read_only_to_be_merged() -> None:
    site = cast(Site, Unreadable())
    rows = subsys.rows(subsys.NAMES + subsys.VIRTUAL)
    assert all(row.merged(site, 1) == 1 for row in rows if not row.access.merge)
    with pytest.raises(OSError, match=r"numtasks\.shares"):
        next(row for row in rows if row.access.merge).merged(site, Shares())


def test_every_module_with_a_behaviour_is_in_the_list() -> None:
    folder = Path(pcont.__file__).parent / "subsys" / "model"
    names = {one.stem for one in folder.glob("*.py")} - {"__init__"}
    assert {name for name in names if load_any(name)} == names


def test_a_subsystem_of_pcont_uses_a_controller_that_the_kernel_has() -> None:
    for name in subsys.VIRTUAL:
        table = load(name)
        assert table
        assert table.name == name
        assert subsys.requires(name) in ("", *subsys.NAMES)
        for row in table.files:
            assert subsys.of(row.virtual.stands_for) in ("", table.virtual.requires)
        assert {subsys.of(row.name) for row in table.files} <= {name}
        assert table.virtual.requires or table.enforced or table.entry
        assert table.may_refuse or not table.entry
    assert subsys.requires("pids") == subsys.requires("nonsense") == ""


def test_what_the_model_has_there_are_tables_for_and_a_table_alone_gives_it_nothing() -> None:
    assert set(V1.controllers) < set(subsys.NAMES)
    assert {one.name for one in Model().controllers()} == set(V1.controllers)


@every_table
def test_a_table_goes_by_its_name_and_says_what_it_is_for(table: Subsystem) -> None:
    assert load(table.name) is table
    assert table.help
    assert not table.help.endswith(".")
    assert table.files or table.name == "perf_event"


@every_table
def test_every_rule_of_entry_makes_a_table_that_may_refuse(table: Subsystem) -> None:
    assert table.may_refuse or not table.entry


def test_a_rule_of_entry_is_enough_for_a_subsystem_of_another_package_to_be_entered_first() -> None:
    plain = Subsystem("seats", "seats", files=())
    assert not plain.may_refuse
    ruled = Subsystem("seats", "seats", files=(), entry=(lambda entry: None,))
    assert ruled.may_refuse


def test_no_two_rows_have_one_name() -> None:
    names = [row.name for table in ALL for row in table.files]
    assert len(set(names)) == len(names)


def test_no_two_rows_have_one_name_of_2006_and_none_hides_another_key() -> None:
    bare = [name for name, _ in keys.other_names(table.name for table in ALL)]
    assert len(set(bare)) == len(bare)
    assert not set(bare) & {row.name for table in ALL for row in table.files}
    assert not set(bare) & set(subsys.NAMES)


def test_the_order_of_entry_is_refusal_then_the_rest_then_the_freezer() -> None:
    order = {
        name: subsys.entry_order(name.split(","))
        for name in ("cpuset", "cpu", "cpuacct", "name=x", "memory", "freezer", "cpuset,freezer")
    }
    assert subsys.entry_order(("name=x", "ns")) == -1
    assert order == {
        "cpuset": 0,
        "cpu": 0,
        "cpuacct": 1,
        "name=x": 1,
        "memory": 1,
        "freezer": 2,
        "cpuset,freezer": 2,
    }


# Rows


@every_row
def test_a_row_is_found_by_its_name(table: Subsystem, row: ControlFile) -> None:
    assert subsys.row(row.name) is row
    assert table.by_name[row.name] is row


@every_row
def test_a_row_has_its_controllers_prefix(table: Subsystem, row: ControlFile) -> None:
    if table in TABLES:
        prefix, dot, rest = row.name.partition(".")
        assert (prefix, dot) == (table.name, ".")
        assert rest
    else:
        assert row.name.partition(".")[0] not in subsys.NAMES


def load_any(name: str) -> bool:
    """Whether the model does anything for a subsystem, on any interface."""
    return any(load_behaviour(name, interface) is not NO_BEHAVIOUR for interface in Interface)


def behaviour(row: ControlFile) -> FileBehaviour:
    files = load_behaviour(subsys.of(row.name), Interface.V1).files
    return files.get(row.name, FileBehaviour())


@every_row
def test_a_row_says_in_a_few_words_what_it_is(table: Subsystem, row: ControlFile) -> None:
    assert 10 <= len(row.help) <= 70
    assert row.help == row.help.strip()
    assert not row.help.endswith(".")
    assert "\n" not in row.help


@every_row
def test_a_default_is_shown_by_its_codec_and_read_again(table: Subsystem, row: ControlFile) -> None:
    for default in (row.default, row.creation.root_default):
        if default is not None and not behaviour(row).derived and row.name not in WRITE_ONLY:
            assert row.type.parse(row.type.show(default)) == default


@every_row
def test_a_flag_is_0_or_1_and_its_help_says_what_1_means(
    table: Subsystem, row: ControlFile
) -> None:
    numbers = (FLAG, INT_FLAG, INTEGER, SIGNED, UNSIGNED, LIMIT, BYTES, net_cls.CLASS_ID)
    by_line = (
        blkio.RATES,
        blkio.WEIGHTS_BY_DEVICE,
        net_prio.PRIORITIES,
        rdma.RDMA_LIMITS,
        misc.MISC_LIMITS,
    )
    assert row.type in (*numbers, *by_line, devices.RULE, ID_LIST, TEXT, WORD)
    if row.type in (FLAG, INT_FLAG):
        assert row.default in (0, 1)
        assert row.help.startswith("1: ") or not row.access.writable


@every_row
def test_only_what_can_be_written_has_rules_and_orders(table: Subsystem, row: ControlFile) -> None:
    if not row.access.writable:
        assert not row.rules
        assert behaviour(row).effect is None
        assert not row.undo.lasting
        assert not row.creation.inherit
        assert not row.undo.moves_affinity
        assert not row.creation.passed_on or row.undo.write_back
        assert row.order == 50


@every_row
def test_what_cannot_be_undone_stands_after_all_that_can(
    table: Subsystem, row: ControlFile
) -> None:
    others = [one for one in table.files if one.access.writable and not one.undo.lasting]
    if row.undo.lasting:
        assert all(subsys.order(one.name) < subsys.order(row.name) for one in others)
        assert not row.creation.inherit
        assert not row.creation.passed_on


@every_row
def test_what_is_inherited_is_a_setting_of_children(table: Subsystem, row: ControlFile) -> None:
    if row.creation.inherit or row.creation.passed_on:
        assert row.access.where is not Where.ROOT
        assert behaviour(row).derived is None


@every_row
def test_a_derived_value_changes_by_itself_or_follows_others(
    table: Subsystem, row: ControlFile
) -> None:
    """So that it is nothing to write back, even where it can be written."""
    if behaviour(row).derived:
        assert not (row.access.writable and subsys.is_setting(row.name, row.access.writable))


@every_row
def test_what_listings_show_is_in_every_container_that_can_be_made(
    table: Subsystem, row: ControlFile
) -> None:
    if row.listed is not Listed.NEVER:
        assert row.access.where is not Where.ROOT


@every_row
def test_a_help_has_no_example_and_a_sentence_one_at_the_most(
    table: Subsystem, row: ControlFile
) -> None:
    assert not re.search(r"\bas in\b", row.help)
    assert row.type.takes.count("as in") <= 1


@every_row
def test_what_is_strict_or_mended_can_be_written(table: Subsystem, row: ControlFile) -> None:
    assert row.access.writable or not (row.advice.strict or row.advice.mend or row.undo.many)
    assert not row.undo.many or row.undo.write_back or row.undo.lasting


@every_row
def test_a_limit_is_as_new_where_it_reads_its_default(table: Subsystem, row: ControlFile) -> None:
    if row.listed is Listed.IF_SET:
        assert not row.undo.lasting
        text = f"{row.type.show(row.default)}\n".lstrip("\n")
        assert subsys.is_as_new(row.name, text, is_root=False)


@every_modelled_row
def test_the_model_has_the_file_where_the_table_says(
    table: Subsystem, row: ControlFile, model: Model
) -> None:
    tree = ",".join(V1.controllers)
    for place in (Place(tree), Place(tree, "/a")):
        files = model.files(place)
        assert (row.name in files) is row.access.where.holds(place.is_root)
        if row.name in files:
            assert files[row.name] is row.access.writable
            text = model.read(place, row.name)
            assert text.endswith("\n") or row.name in subsys.TASK_FILES
            row.type.parse(text)


@pytest.mark.parametrize("row", RULED)
def test_every_rule_of_a_row_accepts_what_is_there(row: ControlFile, model: Model) -> None:
    """A rule that refuses the value that a new container has would refuse every write."""
    node = model.hierarchies.active[0].root.nodes["a"]
    for rule in row.rules:
        assert rule(node, Proposed(node, row.name, node.value(row.name))) is None


def test_order_puts_mems_before_cpus_and_both_before_the_flags() -> None:
    files = ["cpuset.cpu_exclusive", "cpuacct.usage", "cpuset.cpus", "cpuset.mems", "x.y"]
    assert sorted(files, key=subsys.order) == [
        "cpuset.mems",
        "cpuset.cpus",
        "cpuset.cpu_exclusive",
        "x.y",
        "cpuacct.usage",
    ]
    assert sorted(["x.b", "x.a"], key=subsys.order) == ["x.b", "x.a"]


@pytest.mark.parametrize(
    ("file", "lasting"),
    [
        ("cpuacct.usage", True),
        ("cpuset.cpus", False),
        ("memory.failcnt", True),
        ("memory.memsw.failcnt", True),
        ("memory.force_empty", True),
        ("memory.memsw.max_usage_in_bytes", True),
        ("blkio.reset_stats", True),
        ("devices.allow", True),
        ("devices.deny", True),
        ("cgroup.event_control", True),
        ("memory.limit_in_bytes", False),
        ("devices.list", False),
        ("tasks", False),
    ],
)
def test_what_cannot_be_undone_is_known_without_a_table_too(file: str, lasting: bool) -> None:
    assert subsys.lasting(file) is lasting


@pytest.mark.parametrize("name", ["cpuset", "memory", "pids", "freezer", "devices", "cpu"])
def test_what_every_controller_is_for_is_known(name: str) -> None:
    assert 5 <= len(subsys.about(subsys.by_key(name))) <= 60
    assert subsys.about(subsys.by_key("nonsense")) == ""
    assert not set(subsys.RESERVED) & set(subsys.NAMES)


# What a file read before, and the writes that make a changed container read so again.
@pytest.mark.parametrize(
    ("file", "text", "writes"),
    [
        ("cpuset.cpus", "0-1\n", [("cpuset.cpus", "0-1\n")]),
        ("cpuset.cpus", "\n", [("cpuset.cpus", "\n")]),
        ("cpuset.cpus", "", [("cpuset.cpus", "\n")]),
        ("memory.limit_in_bytes", "5\n", [("memory.limit_in_bytes", "5\n")]),
        (
            "memory.oom_control",
            "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n",
            [("memory.oom_control", "1")],
        ),
        ("freezer.self_freezing", "1\n", [("freezer.state", "FROZEN")]),
        ("freezer.self_freezing", "0\n", [("freezer.state", "THAWED")]),
        ("debug.x", "8:0 1\n8:16 2\n", [("debug.x", "8:0 1\n"), ("debug.x", "8:16 2\n")]),
        ("devices.list", "a *:* rwm\n", [("devices.allow", "a")]),
        (
            "devices.list",
            "c 1:3 rwm\nc 1:5 r\n",
            [
                ("devices.deny", "a"),
                ("devices.allow", "c 1:3 rwm"),
                ("devices.allow", "c 1:5 r"),
            ],
        ),
    ],
)
def test_what_was_read_is_written_back(file: str, text: str, writes: list[tuple[str, str]]) -> None:
    assert subsys.writes_back(file, text) == writes


def test_an_entry_that_was_not_there_is_taken_away() -> None:
    file = "blkio.throttle.read_bps_device"
    writes = subsys.writes_back(file, "8:0 1\n8:16 2\n", "8:0 5\n8:32 3\n")
    assert writes == [(file, "8:32 0"), (file, "8:0 1"), (file, "8:16 2")]
    assert subsys.writes_back("devices.list", "a *:* rwm\n", "a *:* rwm\n") == []


def test_what_was_written_is_read_where_it_shows() -> None:
    assert subsys.written_to("freezer.state") == "freezer.self_freezing"
    assert not subsys.is_setting("freezer.state", writable=True)
    assert subsys.is_setting("freezer.self_freezing", writable=False)
    assert subsys.written_to("cpuset.cpus") == "cpuset.cpus"


def test_tasks_and_resets_are_nothing_that_is_kept() -> None:
    assert subsys.is_setting("cpuset.cpus", True)
    assert subsys.is_setting("devices.list", False)
    for file in ("tasks", "cgroup.procs", "cpuacct.usage", "memory.failcnt", "devices.allow"):
        assert not subsys.is_setting(file, True)
    assert not subsys.is_setting("cpuacct.stat", False)


def test_a_controller_without_a_table_is_usable() -> None:
    assert subsys.by_key("debug") is None
    assert subsys.row("debug.current_css_set") is None
    assert subsys.rows(["debug", "cpuset"]) == list(load("cpuset").files)
    assert not subsys.moves_affinity("memory.limit_in_bytes")


@pytest.mark.parametrize(
    ("where", "root", "child"),
    [(Where.EVERYWHERE, True, True), (Where.ROOT, True, False), (Where.NOT_ON_ROOT, False, True)],
)
def test_where_a_file_is(where: Where, root: bool, child: bool) -> None:
    assert (where.holds(True), where.holds(False)) == (root, child)


def test_a_table_names_the_source_of_its_rules() -> None:
    for name in (*subsys.NAMES, "core"):
        folder = Path(pcont.__file__).parent / "subsys"
        files = [folder / f"{name}.py", folder / "v1" / f"{name}.py"]
        parsed = [ast.parse(one.read_text(encoding="utf-8")) for one in files if one.exists()]
        assert any("patch" in (ast.get_docstring(one) or "") for one in parsed)


# Numbers of so many digits, in each form that a file takes.
LONG = [one * digits for one in "19" for digits in (20, 310, 600, 5000)]
FORMS = (
    *("{0}", "-{0}", "0{0}", "0x{0}", "{0}.5", "{0}%", "{0}.5%", "{0}M", "{0}.5M", "{0} bytes"),
    *("8:0 {0}", "8:0 {0}M", "8:0 {0}.5M", "8:0 {0} x", "{0}:{0} 5", "{0}:1", "default {0}"),
    *("c {0}:{0} rwm", "c {0}:1", "lo {0}", "lo {0} x", "mlx5_0 hca_handle={0}", "res {0}"),
    *("0-{0}", "{0}-{0}", "0-1:{0}/{0}"),
)
EVERY_ROW = [
    pytest.param(row, id=f"{interface.name} {row.name}")
    for interface, names in subsys.WITH_TABLES.items()
    for name in ("", *names)
    if (table := subsys.load(name, interface))
    for row in table.files
    if name != "hugetlb" or "2MB" in row.name
]


class Period:
    """A container whose files all have the value 100,000."""

    def value(self, file: str) -> object:
        return Bandwidth(None, 100_000) if file == CPU_MAX else 100_000


def _refusal(row: ControlFile, text: str) -> str:
    """What the codec of a row says of a text; empty if it reads it."""
    try:
        row.type.show(row.type.parse(text))
    except (ValueError, OverflowError) as err:
        return str(err)
    return ""


@pytest.mark.parametrize("row", EVERY_ROW)
def test_a_number_of_thousands_of_digits_is_refused_or_read_as_the_kernel_does(
    row: ControlFile,
) -> None:
    site = cast(Site, Period())
    for text in (form.format(number) for form in FORMS for number in LONG):
        assert "set_int_max_str_digits" not in _refusal(row, text), text[:20]
        if row.advice.mend:
            row.advice.mend(site, text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("50%", "50000"), ("12.5%", "12500"), (".5%", "500"), ("%", ""), (".%", ""), ("5", "")],
)
def test_a_quota_in_percent_is_one_of_the_period(text: str, meant: str) -> None:
    assert cpu.quota_meant(cast(Site, Period()), text) == meant


@pytest.mark.parametrize(
    ("digits", "base"),
    [("9" * 5000, 10), ("0" * 700 + "7", 10), ("f" * 900, 16)],
    ids=["decimal", "zeros", "hexadecimal"],
)
def test_the_lowest_bits_of_a_long_number_count(digits: str, base: int) -> None:
    number = sum(int(one, base) * base**at for at, one in enumerate(reversed(digits)))
    assert modulo(digits, base=base) == number % (1 << 64)
    assert modulo(digits, 32, base) == number % (1 << 32)
