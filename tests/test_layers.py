"""The architecture: which module of pcont may import which, and who may print."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import pcont

PACKAGE = Path(pcont.__file__).parent

# Lower layers first. A module may import those of the layers before its own, of its own layer
# only where that is said below, and never one of a later layer.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("", "errors", "values", "signals", "records", "syscalls", "standin", "streams", "tags"),
    ("trust", "taskids"),
    ("workplace", "xattrs"),
    ("tables", "lock", "journal", "released"),
    ("rows",),
    ("subsys", *(f"subsys.{name}" for name in ("core", "cpuset", "cpuacct", "freezer", "pids"))),
    (
        *("subsys.cpu", "subsys.blkio", "subsys.memory", "subsys.devices", "subsys.net_cls"),
        *("subsys.perf_event", "subsys.net_prio", "subsys.hugetlb", "subsys.rdma", "subsys.misc"),
    ),
    ("subsys.numtasks", "subsys.memset", "subsys.numfiles", "subsys.ns"),
    (
        *("subsys.v6", "subsys.v6.values", "subsys.v6.core", "subsys.v6.bc", "subsys.v6.cpuacct"),
        *("subsys.v6.cpuset", "subsys.v6.numtasks"),
    ),
    ("backend", "dialects", "model_files"),
    ("site",),
    ("kept",),
    ("release",),
    ("bpf",),
    ("bpf.library",),
    ("bpf.pinned",),
    ("bpf.files", "bpf.forks"),
    ("bpf.meter",),
    ("procfs",),
    ("proc", "tasks"),
    ("jobcontrol",),
    ("family", "process", "namespaces"),
    ("stage",),
    ("hierarchy", "backend_cgroupfs", "model_tree"),
    ("backend_model",),
    ("keys", "model_store"),
    ("explain",),
    ("steps.memory",),
    ("steps",),
    ("steps.rounds", "steps.who"),
    (
        *("steps.attach", "steps.containers", "steps.drain", "steps.freezing", "steps.kill"),
        *("steps.apart", "steps.joining", "steps.metering", "steps.mounts", "steps.settings"),
    ),
    ("steps.recovery", "steps.release"),
    ("rehearsal",),
    ("session",),
    ("guard", "ops.halves", "ops.named"),
    (
        *("ops", "ops.containers", "ops.doctor", "ops.listing", "ops.mounting", "ops.moving"),
        *(
            *("ops.recovering", "ops.running", "ops.starting", "ops.cloning", "ops.pinning"),
            "ops.collecting",
            "ops.trusted",
            "ops.hotplug",
            "ops.settings",
            "ops.ties",
            "ops.tying",
            "ops.unmounting",
            *("ops.binding", "ops.playing", "ops.remounting", "ops.usage", "ops.wishes"),
        ),
    ),
    ("render", "schema"),
    ("command", "words"),
    ("cli_sim",),
    ("cli", "agent"),
    ("__main__",),
)
LEVEL = {name: number for number, layer in enumerate(LAYERS) for name in layer}

# Within one layer.
BESIDE = {
    "subsys": {"subsys.core"},
    "subsys.v6.bc": {"subsys.v6.values"},
    "subsys.v6.core": {"subsys.v6.values"},
    "subsys.v6.cpuset": {"subsys.v6.values"},
    "subsys.v6.numtasks": {"subsys.v6.core", "subsys.v6.values"},
    "steps.drain": {"steps.freezing", "steps.settings"},
    "steps.freezing": {"steps.settings"},
    "steps.joining": {"steps.settings"},
    "steps.kill": {"steps.freezing", "steps.settings"},
    "steps.mounts": {"steps.containers"},
    "steps.settings": {"steps.containers"},
    "ops.moving": {"ops.containers", "ops.ties"},
    "ops.containers": {"ops.ties"},
    "ops.ties": {"ops.listing"},
    "ops.doctor": {"ops.hotplug", "ops.listing", "ops.recovering", "ops.trusted"},
    "ops.collecting": {"ops.hotplug", "ops.trusted"},
    "ops.settings": {"ops.moving", "ops.ties", "ops.usage"},
    "ops.starting": {"ops.containers"},
    "ops.running": {"ops.containers", "ops.starting"},
    "ops.cloning": {"ops.containers", "ops.listing", "ops.moving", "ops.starting", "ops.ties"},
    "ops.tying": {"ops.containers", "ops.wishes"},
    "ops.remounting": {"ops.wishes", "ops.tying"},
    "ops.mounting": {"ops.remounting", "ops.wishes", "ops.tying"},
    "ops.playing": {"ops.wishes"},
    "ops.unmounting": {"ops.listing"},
    "ops.binding": {"ops.containers", "ops.tying", "ops.unmounting", "ops.wishes"},
}

# The operations, and all that they stand on, do not know what drives a kernel, and how it looks.
HIDDEN = {"backend_cgroupfs", "backend_model", "model_store", "procfs", "proc", "family"}
HIDDEN |= {"dialects", "model_files", "model_tree", "syscalls", "lock", "workplace"}
HIDDEN |= {"bpf", *(f"bpf.{name}" for name in ("library", "pinned", "files", "forks", "meter"))}
HIDDEN |= {"namespaces", "released", "stage"}
ABOVE_THE_BACKENDS = ("hierarchy", "keys", "explain", "steps", "session", "guard", "ops", "render")

THIRD_PARTY = {
    "cli": {"click"},
    "cli_sim": {"click"},
    "command": {"click"},
    "words": {"click"},
    "render": {"rich"},
    "tasks": {"psutil"},
    "namespaces": {"pyroute2"},
}

# What the startup of every command pays for; all else is imported inside functions.
AT_THE_START = {
    "cli": {"", "cli_sim", "command", "errors", "signals", "streams", "words"},
    "cli_sim": {"command"},
    "command": {"signals"},
    "words": {"errors"},
    "__main__": set[str](),
}


def files() -> dict[str, Path]:
    """Every module of the package by its name below pcont."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        words = [*path.relative_to(PACKAGE).with_suffix("").parts]
        found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


FILES = files()
every_module = pytest.mark.parametrize("module", FILES)


def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The full names of all modules that are imported, and of what is imported from them."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for one in node.names:
                yield f"{node.module}.{one.name}"


def ours(module: str, nodes: Iterable[ast.AST] | None = None) -> set[str]:
    """The modules of pcont that a module imports, by their names below pcont."""
    found = set()
    for full in imports(ast.walk(tree(module)) if nodes is None else nodes):
        words = full.split(".")
        if words[0] == "pcont":
            below = ".".join(words[1:])
            found.add(below if below in FILES else ".".join(words[1:-1]))
    return found


def foreign(module: str) -> set[str]:
    """The packages outside pcont and the standard library that a module imports."""
    roots = {full.partition(".")[0] for full in imports(ast.walk(tree(module)))}
    return roots - sys.stdlib_module_names - {"pcont"}


def at_top(module: str) -> list[ast.stmt]:
    """The statements that run when a module is imported, those for type checkers left out."""
    return [one for one in tree(module).body if not _for_types(one)]


def _for_types(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def test_every_module_has_its_layer() -> None:
    assert set(LEVEL) == set(FILES)


@every_module
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    allowed = {one for one in LEVEL if LEVEL[one] < LEVEL[module]} | BESIDE.get(module, set())
    assert ours(module) - allowed == set()


def test_neighbours_that_are_allowed_are_used_and_go_round_in_no_circle() -> None:
    for module, beside in BESIDE.items():
        assert beside <= ours(module), module
        assert all(LEVEL[one] == LEVEL[module] for one in beside)
        assert all(module not in BESIDE.get(one, set()) for one in beside)


@every_module
def test_what_is_above_the_backends_does_not_know_them(module: str) -> None:
    if module.partition(".")[0] in ABOVE_THE_BACKENDS:
        assert ours(module) & HIDDEN == set()


@every_module
def test_other_peoples_packages_have_one_place_each(module: str) -> None:
    assert foreign(module) == THIRD_PARTY.get(module, set())


@every_module
def test_heavy_packages_are_imported_inside_functions(module: str) -> None:
    top = {full.partition(".")[0] for full in imports(at_top(module))}
    assert top & {"rich", "psutil", "pyroute2", "asyncio"} == set()


@pytest.mark.parametrize("module", AT_THE_START)
def test_the_command_line_loads_the_rest_when_it_is_needed(module: str) -> None:
    assert ours(module, at_top(module)) == AT_THE_START[module]


@every_module
def test_no_module_of_the_package_imports_tests(module: str) -> None:
    roots = {full.partition(".")[0] for full in imports(ast.walk(tree(module)))}
    assert roots & {"tests", "pytest", "hypothesis", "conftest"} == set()


@every_module
def test_only_the_edges_print_and_exit(module: str) -> None:
    calls = [node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    names = {one.id for one in calls if isinstance(one, ast.Name)}
    attributes = {ast.unparse(one) for one in calls if isinstance(one, ast.Attribute)}
    if module not in ("render", "command", "cli", "cli_sim"):
        assert "print" not in names
        assert not {one for one in attributes if one.startswith(("sys.stdout", "sys.stderr"))}
        assert "click.echo" not in attributes
    if module != "__main__":
        assert "sys.exit" not in attributes
    assert {"exit", "quit", "breakpoint", "input", "eval", "exec"} & names == set()


@every_module
def test_nothing_swallows_every_error(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught != "everything"
            if caught in ("BaseException", "Exception"):
                last = node.body[-1]
                assert isinstance(last, ast.Raise), "what is caught, for undoing or a word, goes on"


@every_module
def test_a_module_begins_with_what_it_is_for(module: str) -> None:
    doc = ast.get_docstring(tree(module)) or ""
    assert doc.split("\n\n")[0].endswith("."), FILES[module]
    assert len(doc.splitlines()[0]) <= 100


@every_module
def test_what_is_public_has_a_line_on_what_it_is(module: str) -> None:
    nodes = tree(module).body
    kinds = (ast.FunctionDef, ast.ClassDef)
    silent = [
        one.name
        for one in nodes
        if isinstance(one, kinds) and not one.name.startswith("_") and not ast.get_docstring(one)
    ]
    assert silent == []


def test_the_modules_that_a_backend_is_chosen_from_are_there() -> None:
    from pcont.backend import BACKENDS

    for name in BACKENDS.values():
        module, _, factory = name.partition(":")
        tree_of_it = tree(module.removeprefix("pcont."))
        assert factory in {one.name for one in tree_of_it.body if isinstance(one, ast.ClassDef)}


def test_only_the_command_line_reads_its_words() -> None:
    for module in FILES:
        readers = [
            node
            for node in ast.walk(tree(module))
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv"
        ]
        assert not readers or module == "cli"
