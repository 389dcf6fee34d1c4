"""Read and write the state of the model as a file.

A new state is written to a second file, which is then renamed. So the file always has the old or
the new state. A file that cannot be parsed is refused and not changed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import stat
from collections.abc import Iterable, Iterator
from errno import EACCES, EISDIR
from functools import lru_cache
from typing import Any, Protocol

from pcont.errors import PcontError, from_oserror
from pcont.kernel.paths import join
from pcont.kernel.types import Mount
from pcont.linux.procfs import CpuTime
from pcont.model.cgroups import ModelTree, Node, PlacedTask, shared
from pcont.model.config import ModelConfig
from pcont.model.dialects import DIALECTS, V1
from pcont.model.hierarchies import Hierarchies
from pcont.model.mounts import ModelMounts
from pcont.model.namespaces import ModelNamespaces
from pcont.model.open_files import FileAccounts, OpenFile, OpenFiles
from pcont.model.placement import TaskPlacement
from pcont.model.tasks import FIRST_SIMULATED_ID, NO_CPU_TIME, SimulatedTask, TaskTable
from pcont.tables.charges import Charges
from pcont.tables.rules import Machine
from pcont.tags import fields_of, made
from pcont.values import ID_LIST, Codec

VERSION = 3
# Version 1 had no freezer and no pids, and counted no tasks. Versions 1 and 2 nested containers,
# and had no simulated tasks and no open files.
READABLE = (1, 2, VERSION)
ANOTHER = "use another --state FILE"
NOT_OURS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


def default_file() -> str:
    """Return the default path of the state file (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "pcont", "model.json")


class State(Protocol):
    """The parts of a model whose state is saved."""

    config: ModelConfig
    tasks: TaskTable
    placement: TaskPlacement
    hierarchies: Hierarchies
    mounts: ModelMounts
    namespace_pins: ModelNamespaces
    open_files: OpenFiles
    file_accounts: FileAccounts


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a fifo",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_file(file: str) -> str:
    """Return the text of a regular file. Raises PcontError for any other kind of file."""
    _refuse_other_kinds(file, os.stat(file).st_mode)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(file, flags)
    with open(descriptor, encoding="utf-8", errors="surrogateescape") as stream:
        _refuse_other_kinds(file, os.fstat(descriptor).st_mode)
        return stream.read()


def _refuse_other_kinds(file: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise PcontError(
            f"the model keeps its state in a regular file, and this is {kind}",
            path=file,
            errno=EISDIR if stat.S_ISDIR(mode) else None,
            hint=ANOTHER,
        )


def save_file(file: str, text: str) -> None:
    """Replace the state file. Raises PcontError if that fails; the old file is kept then."""
    # The caller holds the lock, so one name is enough. A file left by a killed command is replaced.
    new = f"{file}.new"
    try:
        _refuse_read_only(file)
        _write(new, text)
        os.replace(new, file)
        _sync_directory(os.path.dirname(file))
    except OSError as err:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise from_oserror(err, "keep the model's state", hint=ANOTHER) from err


def _refuse_read_only(file: str) -> None:
    """Raise OSError for a file that its owner has made read-only, because a rename would replace it
    anyway.
    """
    with contextlib.suppress(FileNotFoundError):
        if not os.stat(file).st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(EACCES, "the file is read-only", file)


def _write(name: str, text: str) -> None:
    """Write a file and flush it to the disk."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)  # left by a killed command
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(name, flags, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_directory(directory: str) -> None:
    """Flush a rename in a directory to the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Turn garbage collection off for the block, which creates many objects that are all kept."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


# Many containers and tasks have equal lists.
@lru_cache(maxsize=256)
def _parsed(type: Codec, text: str) -> Any:
    return shared(type.parse(text))


@lru_cache(maxsize=256, typed=True)
def _shown(type: Codec, value: Any) -> str:
    return type.show(value)


def state_text(model: State) -> str:
    """Return the state of a model as the text of the state file."""
    with undisturbed():
        return _dumped(model)


def _dumped(model: State) -> str:
    config, placement, hierarchies = model.config, model.placement, model.hierarchies
    trees = (hierarchies.unbound, *hierarchies.active)
    paths = {node: node.path for tree in trees for node in tree.root.all()}
    return json.dumps(
        {
            "version": VERSION,
            "dialect": config.dialect.name,
            "machine": {
                "cpus": ID_LIST.show(config.machine.cpus),
                "nodes": ID_LIST.show(config.machine.nodes),
                "cpu_limit": config.machine.cpu_limit,
            },
            "next_number": hierarchies.next_number,
            "directories": sorted(model.mounts.directories),
            "stacks": {
                point: [tree.number for tree in trees]
                for point, trees in hierarchies.stacks.items()
            },
            "trees": [_tree(tree) for tree in hierarchies.active],
            "unbound": _container(hierarchies.unbound.root),
            "parameters": config.parameters,
            "notified": config.notified,
            "tasks": [_task(placement, task, paths) for task in placement.known.values()],
            "pinned": model.namespace_pins.pinned,
            "ended": {str(task): start for task, start in placement.ended.items()},
            "played": {str(id): _simulated(one) for id, one in model.tasks.simulated.items()},
            "next_id": model.tasks.next_id,
            "dying": sorted(placement.dying),
            "metered": {name: tree.number for name, tree in hierarchies.enforced.items()},
            "next_file": model.open_files.next_number,
            "files": _files(model),
        }
    )


def _files(model: State) -> list[dict[str, Any]]:
    """Return the open files, each with the path of the container that it is charged to."""
    found, tree = model.open_files.by_number, model.file_accounts.tree()
    nodes = tree.root.all() if found and tree else ()
    paths = {id(node.charges): node.path for node in nodes}
    return [
        {"number": number, "holders": sorted(one.holders), "charged": paths.get(id(one.charged))}
        for number, one in found.items()
    ]


def _tree(tree: ModelTree) -> dict[str, Any]:
    return {
        "number": tree.number,
        "controllers": tree.controllers,
        "name": tree.name,
        "bare": tree.bare,
        "mounts": [fields_of(mount) for mount in tree.mounts],
        "containers": [_container(node) for node in tree.root.all()],
        "emptied": tree.emptied,
    }


def _container(node: Node) -> dict[str, Any]:
    rows = node.tree.rows
    return {
        "path": node.path,
        "values": {file: _shown(rows[file].type, value) for file, value in node.values.items()},
        "attributes": node.attributes,
        "times": {str(cpu): times for cpu, times in node.times.items()},
        "most": node.most,
        "refused": node.refused,
        "facts": node.facts,
        "charges": fields_of(node.charges),
    }


def _task(placement: TaskPlacement, task: PlacedTask, paths: dict[Node, str]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": task.id,
        "cpus": _shown(ID_LIST, task.cpus),
        "paths": {str(number): paths[node] for number, node in task.nodes.items()},
    }
    if task.requested is not None:
        facts["wish"] = _shown(ID_LIST, task.requested)
    if task.id in placement.live:
        facts |= {"pid": task.pid, "start": task.start, "charged": fields_of(task.charged)}
    return facts


def _simulated(one: SimulatedTask) -> list[Any]:
    return [one.pid, one.parent, one.name, one.uid, one.zombie]


def load_state(model: State, state: dict[str, Any]) -> None:
    """Fill a model with the parsed content of a state file. Raises one of NOT_OURS for another
    shape.
    """
    config, hierarchies = model.config, model.hierarchies
    _load_machine(config, state)
    nodes = _load_hierarchies(hierarchies, config, state)
    model.mounts.directories = set(state["directories"])
    pinned = state.get("pinned", {})
    model.namespace_pins.pinned = {name: tuple(kinds) for name, kinds in pinned.items()}
    _load_tasks(model, state)
    for facts in state["tasks"]:
        _restore_task(model, facts, nodes)
    numbers = {tree.number: tree for tree in hierarchies.active}
    stacks = state.get("stacks") or _stacks(hierarchies.active)
    hierarchies.stacks = {point: [numbers[one] for one in trees] for point, trees in stacks.items()}
    hierarchies.remounted()
    enforced = state.get("metered", {})
    hierarchies.enforced = {name: numbers[number] for name, number in enforced.items()}
    model.open_files.by_number = {}
    model.open_files.next_number = state.get("next_file", 1)
    for facts in state.get("files", ()):
        _restore_file(model, facts, nodes)


def _load_machine(config: ModelConfig, state: dict[str, Any]) -> None:
    config.dialect = DIALECTS[state.get("dialect", V1.name)]
    facts = state["machine"]
    config.machine = Machine(
        ID_LIST.parse(facts["cpus"]), ID_LIST.parse(facts["nodes"]), facts["cpu_limit"]
    )
    config.parameters |= {name: int(value) for name, value in state.get("parameters", {}).items()}
    config.notified[:] = [(agent, path) for agent, path in state.get("notified", ())]


def _load_hierarchies(
    hierarchies: Hierarchies, config: ModelConfig, state: dict[str, Any]
) -> dict[int, dict[str, Node]]:
    """Load the trees; return all containers by the number of the tree and the path."""
    hierarchies.next_number = int(state["next_number"])
    hierarchies.active = []
    unbound = hierarchies.unbound = hierarchies.unbound_tree()
    _restore_container(unbound.root, state.get("unbound", {"values": {}}))
    nodes: dict[int, dict[str, Node]] = {0: {"/": unbound.root}}
    for facts in state["trees"]:
        tree = hierarchies.new_tree(facts["number"], tuple(facts["controllers"]), facts["name"])
        tree.bare = bool(facts.get("bare", config.dialect.bare))
        tree.mounts = [made(Mount, mount) for mount in facts["mounts"]]
        nested = "containers" not in facts
        nodes[tree.number] = _fill(
            tree, _nested("/", facts["root"]) if nested else facts["containers"]
        )
        tree.emptied = list(map(str, facts.get("emptied", ())))
        hierarchies.active.append(tree)
    return nodes


def _load_tasks(model: State, state: dict[str, Any]) -> None:
    """Load the simulated tasks, and discard the containers of all other tasks."""
    placement = model.placement
    placement.ended = {int(task): int(start) for task, start in state["ended"].items()}
    model.tasks.next_id = int(state.get("next_id", FIRST_SIMULATED_ID))
    model.tasks.restore(
        {int(id): SimulatedTask(*facts) for id, facts in state.get("played", {}).items()}
    )
    placement.dying = set(state.get("dying", ()))
    placement.known, placement.live = {}, {}


def _stacks(trees: Iterable[ModelTree]) -> dict[str, list[int]]:
    """Return the mounts of each point, from a state without their order."""
    found: dict[str, list[int]] = {}
    for tree in trees:
        for mount in tree.mounts:
            found.setdefault(mount.point, []).append(tree.number)
    return found


def _fill(tree: ModelTree, containers: Iterable[dict[str, Any]]) -> dict[str, Node]:
    """Create the containers of a tree, parents first; returns them by path."""
    found = {"/": tree.root}
    for facts in containers:
        path = facts["path"]
        if path != "/":
            above, _, name = path.rpartition("/")
            parent = found[above or "/"]
            if not name or path in found:
                raise ValueError(f"{path!r} is no container")
            parent.nodes[name] = found[path] = Node(tree, name, parent)
        _restore_container(found[path], facts)
    return found


def _restore_container(node: Node, facts: dict[str, Any]) -> None:
    rows = node.tree.rows
    node.values = {file: _parsed(rows[file].type, text) for file, text in facts["values"].items()}
    node.attributes = dict(facts.get("attributes", {}))
    node.facts = {fact: int(value) for fact, value in facts.get("facts", {}).items()}
    node.most = int(facts.get("most", 0))
    node.refused = int(facts.get("refused", 0))
    node.charges = made(Charges, facts.get("charges", {}))
    node.times = {int(cpu): (times[0], times[1]) for cpu, times in facts.get("times", {}).items()}


def _nested(path: str, facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a container and its descendants from the nested form of versions 1 and 2."""
    yield {**facts, "path": path}
    for name, below in facts["children"].items():
        yield from _nested(join(path, name), below)


def _restore_task(model: State, facts: dict[str, Any], nodes: dict[int, dict[str, Node]]) -> None:
    placement = model.placement
    id, cpus = facts["id"], _parsed(ID_LIST, facts["cpus"])
    if simulated := model.tasks.simulated.get(id):
        task = placement.known[id] = PlacedTask(id, simulated.pid, 0, cpus, NO_CPU_TIME)
    else:
        charged = made(CpuTime, facts["charged"])
        task = PlacedTask(id, facts["pid"], facts["start"], cpus, charged)
        placement.known[id] = placement.live[id] = task
    task.requested = _parsed(ID_LIST, facts["wish"]) if facts.get("wish") else None
    for number, path in facts["paths"].items():
        node = nodes[int(number)][path]
        node.hold(task.id)
        task.nodes[node.tree.number] = node
        if model.tasks.is_zombie(task.id):
            node.to_zombie(task.id)


def _restore_file(model: State, facts: dict[str, Any], nodes: dict[int, dict[str, Node]]) -> None:
    path, tree = facts["charged"], model.file_accounts.tree()
    charged = nodes[tree.number][path].charges if path and tree else None
    file = OpenFile(set(facts["holders"]), charged)
    model.open_files.by_number[facts["number"]] = file
