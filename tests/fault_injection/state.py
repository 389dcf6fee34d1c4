"""All that can be observed of a workspace, as one value that compares; a difference can be read."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from pcont.backend_model import Model
from pcont.bpf.enforcer import BpfEnforcer
from pcont.bpf.numfiles import LIMITS_MAP
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import exists, vanishing
from pcont.kernel.types import Place, Tree
from pcont.subsys import AUTO_DELETE, numfiles
from pcont.values import ID_LIST
from pcont.virtual.bindings import BINDINGS
from pcont.virtual.files import ControlFiles
from tests.fault_injection.workspace import Workspace, without_pids

State = dict[str, str]

PINNED = Path("/sys/fs/bpf/pcont")

# Files that show what tasks did or do, not what was set.
MOVING = re.compile(
    r".*\.pressure|cgroup\.(stat.*|events|threads)|cpu\.stat\..*|memory\.(current|peak|events.*|.*stat)"
    r"|cpuacct\..*|pids\.(current|peak|events.*)|numtasks\.stats|cpuset\.memory_pressure|tasks|cgroup\.procs"
    r"|.*\.(.*usage.*|stat|failcnt)|bc\.numfiles\.(max)?held"
)


def observe(workspace: Workspace, *, tasks: bool = True) -> State:
    """Hierarchies, mounts, their directories, containers with settings, owners and attributes.

    With `tasks`, also where each thread is, and the CPUs that it may run on.
    """
    backend = workspace.pcont.backend()
    trees = [tree for tree in backend.trees() if not tree.name or workspace.owns(tree.id)]
    state: State = {}
    for tree in trees:
        state[tree.id] = "active" if tree.mounted else "active, not mounted"
        for mount in tree.mounts:
            if workspace.owns(mount.point):
                state[f"{tree.id} at {mount.point}"] = f"{mount.root} {mount.source}"
        if tree.mounted:
            kept = backend.attributes(Place(tree.id)).get(BINDINGS, "").splitlines()
            state[f"{tree.id} keeps"] = "; ".join(line for line in kept if workspace.name in line)
        for place in _containers(workspace, backend, tree):
            state.update(_container(workspace, backend, place, tasks))
    state.update(_enabled(workspace, backend, trees))
    state.update(_enforced(workspace, backend))
    pins = backend.pins().get(workspace.name, {})
    state.update({f"{workspace.name} pins {kind}": "" for kind in pins})
    state.update({_directory(path): "" for path in _directories(workspace, backend)})
    if tasks:
        for label, task in workspace.threads():
            state.update(_task(backend, {tree.id for tree in trees}, label, task))
    return {without_pids(key): without_pids(value) for key, value in state.items()}


def _enabled(workspace: Workspace, backend: Backend, trees: Sequence[Tree]) -> State:
    """What the root of cgroup v2 enables, on a machine where no other program uses it."""
    return {
        f"{tree.id} enables": backend.read(Place(tree.id), "cgroup.subtree_control")
        for tree in trees
        if tree.is_unified and workspace.alone
    }


def _containers(workspace: Workspace, backend: Backend, tree: Tree) -> Iterator[Place]:
    """The containers of the test; the roots of others' trees are others'."""
    if not tree.mounted:
        return
    root = Place(tree.id)
    waiting = [root]
    if not tree.name:
        tops = [root.child(name) for name in backend.children(root)]
        waiting = [place for place in tops if workspace.owns(place.name)]
    while waiting:
        place = waiting.pop()
        yield place
        with vanishing():
            waiting += [place.child(name) for name in backend.children(place)]


def _container(workspace: Workspace, backend: Backend, place: Place, tasks: bool) -> State:
    """What a container has; nothing of one that auto_delete removes at the same time."""
    try:
        return _content(workspace, backend, place, tasks)
    except FileNotFoundError:
        if exists(backend, place):
            raise
    return {}


def _content(workspace: Workspace, backend: Backend, place: Place, tasks: bool) -> State:
    where = f"{place.tree}:{place.path}"
    state = {where: ""}
    if place.is_unified and exists(backend, place.leaf):
        state[f"{where} leaf"] = ""
    files = ControlFiles(backend)
    for file in files.names(place):
        if not MOVING.fullmatch(file):
            with contextlib.suppress(OSError):  # some can only be written
                state[f"{where} {file}"] = _read(files, place, file)
    for name, text in backend.attributes(place).items():
        state[f"{where} attribute {name}"] = text
    for name, owner in backend.owners(place).items():
        state[f"{where} owner of {name or 'it'}"] = f"{owner.uid}:{owner.gid} {owner.mode:o}"
    if tasks and not place.is_root:
        names = {task: label for label, task in workspace.threads()}
        inside = map(int, backend.read(place, "tasks").split())
        state[f"{where} tasks"] = " ".join(sorted(names.get(one, str(one)) for one in inside))
    return state


def _read(files: ControlFiles, place: Place, file: str) -> str:
    """What the kernel has, and not what the user means; auto_delete is only the latter."""
    return files.read(place, file) if file == AUTO_DELETE else files.stored(place, file)


def _enforced(workspace: Workspace, backend: Backend) -> State:
    """Where programs of pcont are at work, and which of them are pinned."""
    state = {}
    for subsystem, at in backend.enforcer.trees().items():
        if at and not workspace.owns(at):
            continue
        state[f"{subsystem} is counted"] = at
        tree = next((tree for tree in backend.trees() if at and tree.id == at), None)
        charging = tree if subsystem == numfiles.NUMFILES else None
        for place in _containers(workspace, backend, charging) if charging else ():
            state[f"{place.tree}:{place.path} may go"] = str(_may_go(backend, place))
    if not workspace.on_model and PINNED.is_dir():
        state.update({f"{path} is pinned": "" for path in PINNED.rglob("*")})
    return state


def without_programs(after: State, subsystem: str) -> State:
    """The same with a subsystem that does without its programs, as they could not be started."""
    lacking = f"{subsystem} is counted", f"{PINNED / subsystem}"
    return {key: text for key, text in after.items() if not key.startswith(lacking)}


def _may_go(backend: Backend, place: Place) -> bool:
    """Whether a container may be removed though files are charged to it."""
    enforcer = backend.enforcer
    if not isinstance(enforcer, BpfEnforcer):
        return False
    number = enforcer._files.counted_in(place)
    limits = (
        enforcer._files.entry(LIMITS_MAP, enforcer._files.key(place, number)) if number else None
    )
    return bool(limits and limits[1])


def _task(backend: Backend, trees: set[str], label: str, task: int) -> State:
    paths = sorted(backend.membership(task).items())
    state = {f"task {label} in {tree}": path for tree, path in paths if tree in trees}
    state[f"task {label} affinity"] = ID_LIST.show(backend.affinity(task))
    return state


def _directory(path: str) -> str:
    return f"{path} is a directory"


def with_directory(after: State, before: State, path: str) -> State:
    """The state after, but for a directory that is still there, and so those above it."""
    kept = {_directory(str(one)) for one in (Path(path), *Path(path).parents) if path}
    return {**after, **{key: text for key, text in before.items() if key in kept}}


def _directories(workspace: Workspace, backend: Backend) -> Iterator[str]:
    """What there is to mount on: below the test's directory, and where mounts go by default."""
    if workspace.on_model:
        yield from cast(Model, backend).config.directories
        return
    usual = os.path.dirname(backend.default_directory(workspace.name))
    for base in (usual, str(workspace.scratch)):
        names = os.listdir(base) if os.path.isdir(base) else []
        for top in (os.path.join(base, name) for name in names if workspace.owns(name)):
            if os.path.isdir(top):
                yield from _below(top)


def _below(top: str) -> Iterator[str]:
    yield top
    if not os.path.ismount(top):
        for name in os.listdir(top):
            if os.path.isdir(os.path.join(top, name)):
                yield from _below(os.path.join(top, name))


def difference(wanted: State, found: State) -> str:
    """What is missing (-) and what is there instead (+), line by line; empty where they agree."""
    changes = difflib.unified_diff(_lines(wanted), _lines(found), lineterm="", n=0)
    return "\n".join(line for line in changes if not line.startswith(("---", "+++", "@@")))


def _lines(state: State) -> list[str]:
    return [f"{key} = {text!r}" if text else key for key, text in sorted(state.items())]


def nearest(allowed: Sequence[State], found: State) -> str:
    """The difference from the nearest of several states; empty where it is one of them."""
    if found in allowed:
        return ""
    return min((difference(one, found) for one in allowed), key=len)
