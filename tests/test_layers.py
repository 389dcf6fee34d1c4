"""The structure of pcont: which room may import which, and which modules print."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pcont
from pcont.cli import COMMANDS

PACKAGE = Path(pcont.__file__).parent

# What each room may import: rooms of floors below its own, and itself. A room is a folder, or a
# module at the top. HACKING.md has the same table, with what lives in each room.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("bases", "errors", "signals", "values"),
    ("records", "tables", "trust"),
    ("kernel", "plugin", "subsys"),
    ("bpf", "linux", "output", "virtual"),
    ("backend_cgroupfs", "hierarchy", "model", "transaction"),
    ("backend_model", "steps"),
    ("session",),
    ("agent", "ops"),
    ("api", "commands"),
    ("", "cli"),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS, 1) for room in rooms}
MOST_ROOMS, MOST_FLOORS = 28, 11

# The rooms from `hierarchy` up work on any backend, and name none; `ops` starts processes.
BACKENDS = {"backend_cgroupfs", "backend_model"}
NO_BACKEND = {"hierarchy", "transaction", "steps", "session", "ops", "output", "virtual"}
INSIDE_THE_BACKENDS = {*BACKENDS, "model", "bpf"}

# The modules of the commands, each imported when one of its commands runs.
FAMILIES = {f"commands.{row.module}" for row in COMMANDS.values()}

THIRD_PARTY = {
    "cli": {"click"},
    "commands.click_types": {"click"},
    "commands.clicks": {"click"},
    "commands.common": {"click"},
    "commands.hints": {"click"},
    "commands.lines": {"click"},
    "commands.kinds": {"click"},
    "commands.launch": {"click"},
    "commands.mounts": {"click"},
    "commands.words": {"click"},
    "output.columns": {"rich"},
    "output.terminal": {"rich"},
    "output.tree": {"rich"},
    "linux.namespaces": {"pyroute2"},
}

# What the start-up of every command pays for; all else is imported inside functions.
DECLARED = {"commands.common", "commands.declare"}
AT_THE_START = {
    "cli": {
        *("commands.common", "commands.declare", "commands.kinds", "commands.plain"),
        *("commands.table", "errors", "output.streams", "signals"),
    },
    **{f"commands.{name}": DECLARED for name in ("containers", "mounts", "tasks", "upkeep")},
    **{
        f"commands.{name}": DECLARED | {"commands.kinds"}
        for name in ("batch", "launch", "settings", "show", "sim")
    },
    "commands.common": {"commands.declare", "commands.kinds", "errors", "signals"},
    "commands.declare": set[str](),
    "commands.kinds": {"commands.declare"},
    "commands.plain": {"commands.common", "commands.declare", "commands.table"},
    "commands.table": {"bases", "commands.declare"},
    "__main__": set[str](),
}
# Backends by name; the modules of commands; tables by name, those of other packages among them.
HIDES_NAMES_IN_STRINGS = {"kernel.open", "commands.table", "subsys", "subsys.v2006", "subsys.model"}
LOADERS = ("import_module", "__import__")
HEAVY = {"rich", "psutil", "pyroute2", "asyncio"}
TEST_PACKAGES = {"tests", "pytest", "hypothesis", "conftest"}
PRINTS = {"output", "commands", "cli"}  # rooms

# The public names that several modules define, each for a reason. All others are in one module.
SHARED_NAMES = {
    "TABLE": "subsys loads the tables of subsys/v1, subsys/v2 and subsys/v2006 by this name",
    "BEHAVIOURS": "subsys.model loads the behaviours of each module by this name",
    "BEHAVIOUR": "the same, of cgroup v2",
    "main": "of cli; scripts on disk that earlier versions wrote call that of agent",
}


def files() -> dict[str, Path]:
    """Every module of the package by its name below pcont."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        words = [*path.relative_to(PACKAGE).with_suffix("").parts]
        found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


FILES = files()


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    """Every node of a module, read once."""
    return tuple(ast.walk(tree(module)))


def imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The full names of all modules that are imported, and of what is imported from them."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for one in node.names:
                yield f"{node.module}.{one.name}"


def ours(module: str, found: Iterable[ast.AST] | None = None) -> set[str]:
    """The modules of pcont that a module imports, by their names below pcont."""
    names = set()
    for full in imports(nodes(module) if found is None else found):
        words = full.split(".")
        if words[0] == "pcont":
            below = ".".join(words[1:])
            names.add(below if below in FILES else ".".join(words[1:-1]))
    return names


def room(module: str) -> str:
    """The folder of a module, or the module itself at the top."""
    return module.partition(".")[0]


def foreign(module: str) -> set[str]:
    """The packages outside pcont and the standard library that a module imports."""
    roots = {full.partition(".")[0] for full in imports(nodes(module))}
    return roots - sys.stdlib_module_names - {"pcont"}


def at_top(module: str) -> list[ast.stmt]:
    """The statements that run when a module is imported, those for type checkers left out."""
    return [one for one in tree(module).body if not _for_types(one)]


def public_names(module: ast.Module) -> set[str]:
    """The names without an underscore that a module defines; what it imports is not among them."""
    names = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            inside = (one for target in targets for one in ast.walk(target))
            names |= {one.id for one in inside if isinstance(one, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def _for_types(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def none(wrong: Mapping[str, object]) -> bool:
    """Whether no module is named; what is wrong with those that are is shown."""
    found = {module: what for module, what in wrong.items() if what}
    assert found == {}
    return True


def test_every_room_has_its_floor() -> None:
    assert set(FLOOR) == {room(module) for module in FILES}
    assert len(FLOOR) <= MOST_ROOMS
    assert len(FLOORS) <= MOST_FLOORS


def test_a_room_imports_only_rooms_of_floors_below_its_own() -> None:
    above = {
        module: {
            one
            for one in ours(module)
            if room(one) != room(module) and FLOOR[room(one)] >= FLOOR[room(module)]
        }
        for module in FILES
    }
    assert none(above)


def test_every_floor_is_as_low_as_it_can_be() -> None:
    for number, rooms in enumerate(FLOORS[1:], 1):
        below = set(FLOORS[number - 1])
        for one in rooms:
            used = {room(name) for module in FILES if room(module) == one for name in ours(module)}
            assert used & below, f"{one} fits on a lower floor"


def test_interfaces_are_imported_for_type_checkers_only() -> None:
    """No command needs them to run, and their import takes as long as that of a whole room."""
    deriving = {"kernel.system_calls", "transaction.rehearsal"}
    importing = {name for name in FILES if "kernel.interfaces" in ours(name, at_top(name))}
    assert importing == deriving


def test_no_modules_import_each_other_in_a_circle() -> None:
    # A package's own module hands names to those inside it: it stands below them.
    graph = {module: ours(module) - {module, room(module)} for module in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        raise AssertionError(" -> ".join(err.args[1])) from None


def test_no_import_is_hidden_in_a_string() -> None:
    hiding = {
        module: [
            node
            for node in nodes(module)
            if (isinstance(node, ast.Attribute) and node.attr in LOADERS)
            or (isinstance(node, ast.Name) and node.id in LOADERS)
            or (isinstance(node, ast.alias) and node.name in LOADERS)
        ]
        for module in FILES
        if module not in HIDES_NAMES_IN_STRINGS
    }
    assert none(hiding)


def test_the_table_of_commands_names_modules_of_its_own_folder() -> None:
    """What `commands.table` imports by name is in `commands`: no arrow upwards is hidden there."""
    hidden = {
        ast.unparse(node.args[0])
        for node in nodes("commands.table")
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module"
    }
    assert hidden == {"f'pcont.commands.{module}'"}
    assert set(FILES) >= FAMILIES


def test_only_one_module_names_the_backends() -> None:
    for module in FILES:
        used = {room(one) for one in ours(module)} - {room(module)}
        if room(module) in NO_BACKEND:
            assert used & INSIDE_THE_BACKENDS == set(), module
        if room(module) not in INSIDE_THE_BACKENDS:
            assert used & BACKENDS == set(), module


def test_rooms_below_the_steps_ask_for_less_than_a_whole_backend() -> None:
    whole = {"hierarchy.presence", "hierarchy.registry", "kernel.interfaces", "kernel.open"}
    rooms = {"bpf", "hierarchy", "kernel", "linux", "model", "output", "virtual"}
    naming = {
        module
        for module in FILES
        if room(module) in rooms
        and any(isinstance(one, ast.Name) and one.id == "Backend" for one in nodes(module))
    }
    assert naming <= whole


def test_packages_of_others_have_one_place_each() -> None:
    assert {module: foreign(module) for module in FILES if foreign(module)} == THIRD_PARTY


def test_heavy_packages_are_imported_inside_functions() -> None:
    top = {module: {full.partition(".")[0] for full in imports(at_top(module))} for module in FILES}
    assert none({module: names & HEAVY for module, names in top.items()})


@pytest.mark.parametrize("module", sorted(AT_THE_START))
def test_the_command_line_loads_the_rest_when_it_is_needed(module: str) -> None:
    assert ours(module, at_top(module)) == AT_THE_START[module]


def test_no_module_of_the_package_imports_tests() -> None:
    roots = {
        module: {full.partition(".")[0] for full in imports(nodes(module))} for module in FILES
    }
    assert none({module: names & TEST_PACKAGES for module, names in roots.items()})


def test_only_the_edges_print_and_exit() -> None:
    for module in FILES:
        calls = [node.func for node in nodes(module) if isinstance(node, ast.Call)]
        names = {one.id for one in calls if isinstance(one, ast.Name)}
        attributes = {ast.unparse(one) for one in calls if isinstance(one, ast.Attribute)}
        if room(module) not in PRINTS:
            assert "print" not in names, module
            assert not {one for one in attributes if one.startswith(("sys.stdout", "sys.stderr"))}
            assert "click.echo" not in attributes, module
        if module != "__main__":
            assert "sys.exit" not in attributes, module
        assert {"exit", "quit", "breakpoint", "input", "eval", "exec"} & names == set(), module


def test_only_the_retry_helper_waits() -> None:
    """Each loop that tries again has its limit and its pauses from `kernel.retry`."""
    sleeping = {
        module
        for module in FILES
        for node in nodes(module)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep"
    }
    assert sleeping == {"kernel.retry", "ops.stat"}, "stat measures for a time"


def test_no_public_name_is_in_two_modules() -> None:
    found: dict[str, list[str]] = {}
    for module in FILES:
        for name in public_names(tree(module)):
            found.setdefault(name, []).append(module)
    again = {name: modules for name, modules in found.items() if len(modules) > 1}
    assert {name: modules for name, modules in again.items() if name not in SHARED_NAMES} == {}
    assert set(SHARED_NAMES) <= set(again), "a name that is in one module needs no exception"


def test_nothing_swallows_every_error() -> None:
    for module in FILES:
        for node in nodes(module):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                assert caught != "everything", module
                if caught in ("BaseException", "Exception"):
                    assert isinstance(node.body[-1], ast.Raise), f"{module}: it must raise again"


def test_a_module_begins_with_what_it_is_for() -> None:
    for module in FILES:
        doc = ast.get_docstring(tree(module)) or ""
        assert doc.split("\n\n")[0].endswith("."), FILES[module]
        assert len(doc.splitlines()[0]) <= 100


def test_what_is_public_has_a_docstring() -> None:
    kinds = (ast.FunctionDef, ast.ClassDef)
    silent = {
        module: [
            one.name
            for one in tree(module).body
            if isinstance(one, kinds)
            and not one.name.startswith("_")
            and not ast.get_docstring(one)
        ]
        for module in FILES
    }
    assert none(silent)


def test_the_classes_of_the_backends_are_there() -> None:
    from pcont.kernel.open import BACKENDS

    for name in BACKENDS.values():
        module, _, factory = name.partition(":")
        tree_of_it = tree(module.removeprefix("pcont."))
        assert factory in {one.name for one in tree_of_it.body if isinstance(one, ast.ClassDef)}


def test_only_the_command_line_reads_its_words() -> None:
    readers = {
        module: [
            node
            for node in nodes(module)
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv"
        ]
        for module in FILES
        if module not in ("cli", "__main__")
    }
    assert none(readers)


def test_hacking_has_the_same_floors() -> None:
    text = (PACKAGE.parent / "HACKING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `([a-z_]+)(?:/|\.py)`", text, re.MULTILINE)
    assert {name: int(number) for number, name in rows} == {
        name: number for name, number in FLOOR.items() if name
    }
