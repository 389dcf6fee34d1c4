"""The model between commands: its state in one file, for many commands at once.

A change is written beside the file and renamed over it, so there is the old state or the new one.
A file that is not understood is refused, and stays as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from pcont import lock
from pcont.backend import Mount
from pcont.backend_model import Known, Model, ModelTree, Node
from pcont.errors import PcontError, Unsupported, from_oserror
from pcont.proc import machine
from pcont.procfs import CpuTime
from pcont.tables import Machine
from pcont.values import ID_LIST

VERSION = 2
READABLE = (1, VERSION)  # 1 had no freezer and no pids, and counted no tasks
ANOTHER = "use another --state FILE"
NOT_OURS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


def default_file() -> str:
    """Where the state is unless somebody says otherwise (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "pcont", "model.json")


class StoredModel(Model):
    """A Model that reads its state from a file, and writes it back at the end of each turn."""

    def __init__(self, file: str | None = None) -> None:
        super().__init__(machine())
        self.file = os.path.abspath(file or default_file())
        self._depth = 0
        self._load()

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PCONT_STATE": self.file}

    @contextlib.contextmanager
    def turn(self, timeout: float | None = None) -> Iterator[None]:
        if self._depth:
            yield
            return
        # The lock is a file of its own: the state's is another one after every change.
        with contextlib.ExitStack() as stack:
            try:
                os.makedirs(os.path.dirname(self.file), exist_ok=True)
                stack.enter_context(lock.locked(f"{self.file}.lock", timeout))
            except OSError as err:
                raise from_oserror(err, "keep the model's state", hint=ANOTHER) from err
            self._load()
            before = _text(self)
            self._depth = 1
            try:
                yield
            finally:
                self._depth = 0
                # What a failed command could not put back is there, as it would be in the kernel.
                if _text(self) != before:
                    self._save()

    def _load(self) -> None:
        try:
            with open(self.file, encoding="utf-8", errors="surrogateescape") as stream:
                text = stream.read()
        except FileNotFoundError:
            return
        except OSError as err:
            raise from_oserror(
                err, "read the model's state", hint="use another --state FILE"
            ) from err
        try:
            state = json.loads(text)
            version = state["version"]
        except NOT_OURS as err:
            raise self._corrupt(err) from err
        if version not in READABLE:
            raise Unsupported(
                f"the model's state has version {version!r}, and this pcont knows {VERSION}",
                path=self.file,
                hint="use the pcont that wrote it, or another --state FILE",
            )
        try:
            _restore(self, state)
        except NOT_OURS as err:
            raise self._corrupt(err) from err

    def _corrupt(self, err: Exception) -> PcontError:
        return PcontError(
            f"the model's state cannot be read: {type(err).__name__}: {err}",
            path=self.file,
            hint="move the file away to begin anew, or use another --state FILE",
        )

    def _save(self) -> None:
        # Whoever saves has the lock: one name does for all, and a killed one's is written over.
        name, directory = f"{self.file}.new", os.path.dirname(self.file)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(_text(self))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, self.file)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _text(model: Model) -> str:
    hardware = model.hardware
    return json.dumps(
        {
            "version": VERSION,
            "machine": {
                "cpus": ID_LIST.show(hardware.cpus),
                "nodes": ID_LIST.show(hardware.nodes),
                "cpu_limit": hardware.cpu_limit,
            },
            "next_number": model.next_number,
            "directories": sorted(model.directories),
            "trees": [_tree(tree) for tree in model.active],
            "tasks": [_task(task) for task in model.known.values()],
            "ended": {str(task): start for task, start in model.ended.items()},
        }
    )


def _tree(tree: ModelTree) -> dict[str, Any]:
    return {
        "number": tree.number,
        "controllers": tree.controllers,
        "name": tree.name,
        "mounts": [vars(mount) for mount in tree.mounts],
        "root": _container(tree.root),
    }


def _container(node: Node) -> dict[str, Any]:
    rows = node.tree.rows
    return {
        "values": {file: rows[file].type.show(value) for file, value in node.values.items()},
        "attributes": node.attributes,
        "times": {str(cpu): times for cpu, times in node.times.items()},
        "most": node.most,
        "children": {name: _container(child) for name, child in node.nodes.items()},
    }


def _task(task: Known) -> dict[str, Any]:
    return {
        "id": task.id,
        "pid": task.pid,
        "start": task.start,
        "cpus": ID_LIST.show(task.cpus),
        "charged": vars(task.charged),
        "paths": {str(number): node.path for number, node in task.nodes.items()},
    }


def _restore(model: Model, state: dict[str, Any]) -> None:
    facts = state["machine"]
    model.hardware = Machine(
        ID_LIST.parse(facts["cpus"]), ID_LIST.parse(facts["nodes"]), facts["cpu_limit"]
    )
    model.next_number = int(state["next_number"])
    model.directories = set(state["directories"])
    model.active = []
    for facts in state["trees"]:
        tree = ModelTree(
            facts["number"], tuple(facts["controllers"]), facts["name"], model.hardware
        )
        tree.mounts = [Mount(**mount) for mount in facts["mounts"]]
        _fill(tree.root, facts["root"])
        model.active.append(tree)
    model.ended = {int(task): int(start) for task, start in state["ended"].items()}
    model.known = {}
    for facts in state["tasks"]:
        _restore_task(model, facts)


def _fill(node: Node, facts: dict[str, Any]) -> None:
    rows = node.tree.rows
    node.values = {file: rows[file].type.parse(text) for file, text in facts["values"].items()}
    node.attributes = dict(facts["attributes"])
    node.most = int(facts.get("most", 0))
    node.times = {int(cpu): (times[0], times[1]) for cpu, times in facts["times"].items()}
    for name, below in facts["children"].items():
        node.nodes[name] = Node(node.tree, name, node)
        _fill(node.nodes[name], below)


def _restore_task(model: Model, facts: dict[str, Any]) -> None:
    task = Known(
        facts["id"],
        facts["pid"],
        facts["start"],
        ID_LIST.parse(facts["cpus"]),
        CpuTime(**facts["charged"]),
    )
    model.known[task.id] = task
    for tree in model.active:
        path = facts["paths"].get(str(tree.number))
        if path is not None:
            node = tree.root
            for word in path.split("/"):
                node = node.nodes[word] if word else node
            node.enter(task.id)
            task.nodes[tree.number] = node
