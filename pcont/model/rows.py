"""The rows of the model's state: what each key has, and how its parts are made of rows again.

docs/formats.md lists them. A row of a container or of a task has no more than what a command on it
needs, so that the cost of a command does not grow with the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol

from pcont.bases import NamedTuple, fields_of, made
from pcont.kernel.types import Mount, Owner
from pcont.linux.procfs import CpuTime
from pcont.model.cgroups import ModelTree, Node, PlacedTask, shared
from pcont.model.config import ModelConfig
from pcont.model.dialects import DIALECTS
from pcont.model.hierarchies import Hierarchies
from pcont.model.lazy import LazyDict, LazySet, Rows, by_name, by_number
from pcont.model.open_files import FileAccounts, OpenFile, OpenFiles
from pcont.model.pages import StoredRow
from pcont.model.placement import TaskPlacement
from pcont.model.tasks import SimulatedTask, TaskTable
from pcont.tables.charges import Charges
from pcont.tables.rules import Machine
from pcont.values import ID_LIST, Codec

HEAD = "head"
LIVE, PLACED, PLAYED, THREADS, ENDED = "live:", "placed:", "played:", "threads:", "ended:"
OPEN_FILES, HOLDERS, NOTIFIED = "file:", "holder:", "notified:"
_NO_CHARGES = fields_of(Charges())


class State(Protocol):
    """The parts of a model that a state file stores."""

    config: ModelConfig
    tasks: TaskTable
    placement: TaskPlacement
    hierarchies: Hierarchies
    open_files: OpenFiles
    file_accounts: FileAccounts


# Keys


def container_key(tree: int, path: str) -> str:
    """Return the key of a container. Those with the same parent follow each other."""
    depth = 0 if path == "/" else path.count("/")
    return f"container:{tree}:{depth:05}{path}"


def children_prefix(tree: int, path: str) -> str:
    """Return what the keys of a container's children begin with, before their names."""
    start = f"{path.rstrip('/')}/"
    return f"container:{tree}:{start.count('/'):05}{start}"


def tree_prefixes(tree: int) -> tuple[str, str]:
    """Return what the keys of all containers of a tree, and of the tasks in them, begin with."""
    return f"container:{tree}:", f"in:{tree}:"


def inside_prefix(tree: int, path: str) -> str:
    """Return what the keys of the tasks in a container begin with, before their ids."""
    return f"in:{tree}:{path}\0"


# Many containers and tasks have equal lists.
@lru_cache(maxsize=256)
def _parsed(type: Codec, text: str) -> Any:
    return shared(type.parse(text))


def _shown(type: Codec, value: Any) -> str:
    # A dict cannot be a key of a cache.
    return type.show(value) if isinstance(value, dict) else _shown_once(type, value)


@lru_cache(maxsize=256, typed=True)
def _shown_once(type: Codec, value: Any) -> str:
    return type.show(value)


# Containers


def container_row(node: Node) -> dict[str, StoredRow]:
    """Return the row of a container: what differs from an empty one."""
    rows = node.tree.rows
    charges = fields_of(node.charges)
    found = {
        "values": {file: _shown(rows[file].type, value) for file, value in node.values.items()},
        "attributes": dict(node.attributes),
        "owners": {name: [*owner] for name, owner in node.owners.items()},
        "times": {str(cpu): [*times] for cpu, times in node.times.items()},
        "count": node.count,
        "most": node.most,
        "zombies": node.zombies,
        "refused": node.refused,
        "facts": dict(node.facts),
        "charges": {} if charges == _NO_CHARGES else charges,
    }
    return {key: value for key, value in found.items() if value}


def fill_container(rows: Rows, node: Node, path: str, row: dict[str, Any]) -> None:
    """Give a container what its row has; its children and its tasks are loaded later."""
    if values := row.get("values"):
        types = node.tree.rows
        node.values = {file: _parsed(types[file].type, text) for file, text in values.items()}
    node.attributes = dict(row.get("attributes", ()))
    if owners := row.get("owners"):
        node.owners = {name: Owner(*one) for name, one in owners.items()}
    node.times = {int(cpu): (one[0], one[1]) for cpu, one in row.get("times", {}).items()}
    node.count, node.zombies = row.get("count", 0), row.get("zombies", 0)
    node.most, node.refused = row.get("most", 0), row.get("refused", 0)
    node.facts = dict(row.get("facts", ()))
    if charges := row.get("charges"):
        node.charges = made(Charges, charges)
    number, above = node.tree.number, path.rstrip("/")

    def child(name: str, row: StoredRow) -> Node:
        found = Node(node.tree, name, node)
        fill_container(rows, found, f"{above}/{name}", row)
        return found

    node.nodes = LazyDict(by_name(rows, children_prefix(number, path)), child)
    node.tasks = LazySet(by_number(rows, inside_prefix(number, path)))


def new_rows(node: Node, path: str) -> Iterator[tuple[str, StoredRow]]:
    """Yield the rows of a container that no row was loaded for, and of everything below it."""
    waiting = [(node, path)]
    while waiting:
        node, path = waiting.pop()
        yield container_key(node.tree.number, path), container_row(node)
        inside = inside_prefix(node.tree.number, path)
        yield from ((f"{inside}{task:012}", 1) for task in node.tasks)
        above = path.rstrip("/")
        waiting += [(below, f"{above}/{name}") for name, below in node.nodes.items()]


# Tasks


class PlacedRow(NamedTuple):
    """The row of a task that the model knows, as a list."""

    pid: int
    start: int
    cpus: str
    charged: list[int]
    paths: dict[str, str]
    requested: str | None


def placed_row(task: PlacedTask) -> StoredRow:
    """Return the row of a task that the model knows."""
    paths = {str(number): node.remaining().path for number, node in task.nodes.items()}
    requested = None if task.requested is None else _shown(ID_LIST, task.requested)
    cpus = _shown(ID_LIST, task.cpus)
    return [*PlacedRow(task.pid, task.start, cpus, [*task.charged], paths, requested)]


def played_row(task: SimulatedTask) -> StoredRow:
    """Return the row of a simulated task."""
    return [task.pid, task.parent, task.name, task.uid, task.zombie]


class Loader:
    """Fills a model with a state, and says later which rows differ from it."""

    def __init__(self, model: State, rows: Rows) -> None:
        self._model, self._rows = model, rows
        self._head: dict[str, Any] = rows.get(HEAD)
        self._trees: dict[int, ModelTree] = {}
        self._roots: dict[int, StoredRow] = {}
        self._nodes: dict[tuple[int, str], Node] = {}  # in which a task was found
        self._load_machine()
        self._load_hierarchies()
        self._load_tasks()
        self._load_files()

    def _size(self, name: str) -> int:
        """Return how many rows of a kind there are."""
        size = self._head[name]
        if not isinstance(size, int) or size < 0:
            raise ValueError(f"{name} is {size!r}")
        return size

    def _load_machine(self) -> None:
        head, config, rows = self._head, self._model.config, self._rows
        config.dialect = DIALECTS[head["dialect"]]
        facts = head["machine"]
        cpus, nodes = ID_LIST.parse(facts["cpus"]), ID_LIST.parse(facts["nodes"])
        config.machine = Machine(cpus, nodes, facts["cpu_limit"])
        config.parameters |= {name: int(value) for name, value in head["parameters"].items()}
        config.notified = LazyDict(
            by_number(rows, NOTIFIED),
            lambda _, row: (str(row[0]), str(row[1])),
            self._size("notified"),
        )
        config.directories = set(head["directories"])
        config.pinned = {name: tuple(kinds) for name, kinds in head["pinned"].items()}

    def _load_hierarchies(self) -> None:
        head, hierarchies = self._head, self._model.hierarchies
        hierarchies.next_number = head["next_number"]
        hierarchies.unbound = self._loaded(hierarchies.unbound_tree())
        hierarchies.active = [self._loaded(self._tree(facts)) for facts in head["trees"]]
        trees = self._trees
        hierarchies.stacks = {
            point: [trees[number] for number in numbers] for point, numbers in head["stacks"]
        }
        hierarchies.remounted()
        hierarchies.enforced = {name: trees[number] for name, number in head["metered"].items()}

    def _tree(self, facts: dict[str, Any]) -> ModelTree:
        controllers = tuple(facts["controllers"])
        tree = self._model.hierarchies.new_tree(facts["number"], controllers, facts["name"])
        tree.bare, tree.size = facts["bare"], facts["size"]
        tree.mounts = [made(Mount, mount) for mount in facts["mounts"]]
        tree.emptied = list(facts["emptied"])
        return tree

    def _loaded(self, tree: ModelTree) -> ModelTree:
        """Load the root of a tree."""
        row = self._rows.get(container_key(tree.number, "/"))
        fill_container(self._rows, tree.root, "/", row)
        self._trees[tree.number], self._roots[tree.number] = tree, row
        return tree

    def _load_tasks(self) -> None:
        rows, head, placement = self._rows, self._head, self._model.placement
        tasks = self._model.tasks
        tasks.next_id = head["next_id"]
        tasks.simulated = LazyDict(
            by_number(rows, PLAYED), lambda _, row: SimulatedTask(*row), self._size("played")
        )
        tasks.threads_of = LazyDict(
            by_number(rows, THREADS), lambda _, row: set(row), self._size("threads")
        )
        placement.ended = LazyDict(
            by_number(rows, ENDED), lambda _, row: int(row), self._size("ended")
        )
        placement.dying = set(head["dying"])
        placement.known = known = LazyDict(by_number(rows, PLACED), self._task)
        placement.live = live = LazyDict(by_number(rows, LIVE), self._task)
        live.load_all()
        for id, task in live.items():
            dict.__setitem__(known, id, task)

    def _task(self, id: int, row: StoredRow) -> PlacedTask:
        facts = PlacedRow(*row)
        requested = None if facts.requested is None else _parsed(ID_LIST, facts.requested)
        return PlacedTask(
            id,
            facts.pid,
            facts.start,
            _parsed(ID_LIST, facts.cpus),
            CpuTime(*facts.charged),
            {int(tree): self._node(int(tree), path) for tree, path in facts.paths.items()},
            requested,
        )

    def _node(self, tree: int, path: str) -> Node:
        """Return the container of a path, or its nearest parent if it was removed."""
        found = self._nodes.get((tree, path))
        if found is None:
            found = self._trees[tree].root
            for name in filter(None, path.split("/")):
                if name not in found.nodes:
                    return found
                found = found.nodes[name]
            self._nodes[tree, path] = found
        return found

    def _load_files(self) -> None:
        rows, files = self._rows, self._model.open_files
        files.next_number = self._head["next_file"]
        files.by_number = LazyDict(by_number(rows, OPEN_FILES), self._file)
        files.held = LazyDict(by_number(rows, HOLDERS), lambda _, row: set(row))

    def _file(self, _: int, row: StoredRow) -> OpenFile:
        holders, path = row
        tree = self._model.file_accounts.tree()
        charged = self._node(tree.number, path).charges if path and tree else None
        return OpenFile(set(holders), charged)

    # What has changed

    def changes(self) -> dict[str, StoredRow]:
        """Return the rows that differ from the state; None for a row that is to be removed."""
        found: dict[str, StoredRow] = {}
        changes = (self._hierarchy_changes(), self._task_changes(), self._file_changes())
        for key, row in chain.from_iterable(changes):
            if row is not None:
                found[key] = row
            else:
                found.setdefault(key)  # a new container may have the path of a removed one
        head = head_row(self._model)
        return {**found, HEAD: head} if head != self._head else found

    def _hierarchy_changes(self) -> Iterator[tuple[str, StoredRow]]:
        hierarchies = self._model.hierarchies
        now = {tree.number: tree for tree in (hierarchies.unbound, *hierarchies.active)}
        for number, tree in self._trees.items():
            if now.get(number) is not tree:
                yield from self._removed(*tree_prefixes(number))
        for number, tree in now.items():
            if self._trees.get(number) is not tree:
                yield from new_rows(tree.root, "/")
            else:
                if (row := container_row(tree.root)) != self._roots[number]:
                    yield container_key(number, "/"), row
                yield from self._changes_below(tree.root)

    def _removed(self, *prefixes: str) -> Iterator[tuple[str, StoredRow]]:
        return ((key, None) for prefix in prefixes for key, _ in self._rows.scan(prefix))

    def _changes_below(self, root: Node) -> Iterator[tuple[str, StoredRow]]:
        """Yield the changes below a container that was loaded, and of the tasks in it."""
        waiting = [(root, "/")]
        while waiting:
            node, path = waiting.pop()
            assert isinstance(node.nodes, LazyDict)
            assert isinstance(node.tasks, LazySet)
            yield from node.tasks.changes()
            above = path.rstrip("/")
            yield from node.nodes.changes(container_row)
            for name, child in chain(node.nodes.present(), node.nodes.dropped):
                if isinstance(child.nodes, LazyDict):
                    waiting.append((child, f"{above}/{name}"))
                elif node.nodes.has(name, child):
                    yield from new_rows(child, f"{above}/{name}")

    def _task_changes(self) -> Iterator[tuple[str, StoredRow]]:
        placement, tasks = self._model.placement, self._model.tasks
        known, live = _lazy(placement.known), _lazy(placement.live)
        yield from live.changes(placed_row)
        yield from (
            (key, row)
            for key, row in known.changes(placed_row)
            if int(key.removeprefix(PLACED)) not in live
        )
        yield from _lazy(tasks.simulated).changes(played_row)
        yield from _lazy(tasks.threads_of).changes(sorted)
        yield from _lazy(placement.ended).changes(int)
        yield from _lazy(self._model.config.notified).changes(list)

    def _file_changes(self) -> Iterator[tuple[str, StoredRow]]:
        files = self._model.open_files
        tree = self._model.file_accounts.tree()
        nodes = _present(tree.root) if tree and any(_lazy(files.by_number).present()) else ()
        paths = {id(node.charges): node.path for node in nodes}

        def row(file: OpenFile) -> StoredRow:
            return [sorted(file.holders), paths.get(id(file.charged))]

        yield from _lazy(files.by_number).changes(row)
        yield from _lazy(files.held).changes(sorted)


def _lazy(found: dict[Any, Any]) -> LazyDict[Any, Any]:
    assert isinstance(found, LazyDict)
    return found


def _present(root: Node) -> Iterator[Node]:
    """Yield the containers below one that are loaded or new, and itself."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        nodes = node.nodes
        some = nodes.present() if isinstance(nodes, LazyDict) else nodes.items()
        waiting += [below for _, below in some]


def head_row(model: State) -> dict[str, StoredRow]:
    """Return the row of all that is not of one container, task or file."""
    config, placement, hierarchies = model.config, model.placement, model.hierarchies
    machine = config.machine
    return {
        "dialect": config.dialect.name,
        "machine": {
            "cpus": ID_LIST.show(machine.cpus),
            "nodes": ID_LIST.show(machine.nodes),
            "cpu_limit": machine.cpu_limit,
        },
        "next_number": hierarchies.next_number,
        "directories": sorted(config.directories),
        "stacks": [  # in the order of the uppermost mounts
            [point, [tree.number for tree in trees]] for point, trees in hierarchies.stacks.items()
        ],
        "trees": [_tree_facts(tree) for tree in hierarchies.active],
        "parameters": dict(config.parameters),
        "notified": len(config.notified),
        "ended": len(placement.ended),
        "threads": len(model.tasks.threads_of),
        "pinned": {name: [*kinds] for name, kinds in config.pinned.items()},
        "played": len(model.tasks.simulated),
        "next_id": model.tasks.next_id,
        "dying": sorted(placement.dying),
        "metered": {name: tree.number for name, tree in hierarchies.enforced.items()},
        "next_file": model.open_files.next_number,
    }


def _tree_facts(tree: ModelTree) -> dict[str, StoredRow]:
    return {
        "number": tree.number,
        "controllers": [*tree.controllers],
        "name": tree.name,
        "bare": tree.bare,
        "size": tree.size,
        "mounts": [fields_of(mount) for mount in tree.mounts],
        "emptied": [*tree.emptied],
    }


def all_rows(model: State) -> dict[str, StoredRow]:
    """Return every row of a model, also of one that was never saved."""
    placement, tasks, files = model.placement, model.tasks, model.open_files
    hierarchies = model.hierarchies
    found: dict[str, StoredRow] = {HEAD: head_row(model)}
    for tree in (hierarchies.unbound, *hierarchies.active):
        found.update(new_rows(tree.root, "/"))
    charging = model.file_accounts.tree()
    nodes = charging.root.all() if charging else ()
    paths = {id(node.charges): node.path for node in nodes}
    live = placement.live
    placed = {id: task for id, task in placement.known.items() if id not in live}
    charged = {
        number: [sorted(one.holders), paths.get(id(one.charged))]
        for number, one in files.by_number.items()
    }
    sections = (
        (LIVE, {id: placed_row(task) for id, task in live.items()}),
        (PLACED, {id: placed_row(task) for id, task in placed.items()}),
        (PLAYED, {id: played_row(task) for id, task in tasks.simulated.items()}),
        (THREADS, {id: sorted(threads) for id, threads in tasks.threads_of.items()}),
        (ENDED, dict(placement.ended)),
        (NOTIFIED, {number: [*one] for number, one in model.config.notified.items()}),
        (OPEN_FILES, charged),
        (HOLDERS, {id: sorted(held) for id, held in files.held.items()}),
    )
    pairs = ((f"{name}{id:012}", row) for name, rows in sections for id, row in rows.items())
    return dict(chain(found.items(), pairs))
