"""Whether a container is there in each tree, and what to do where a tree is not mounted."""

from __future__ import annotations

import contextlib
import difflib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from shlex import quote

from pcont.errors import NotFound
from pcont.hierarchy.container import TIE, Container, Hierarchy
from pcont.kernel.interfaces import (
    Backend,
    CgroupState,
    ContainerReader,
    MountedContainers,
    Mounts,
    exists,
)
from pcont.kernel.types import Place, Tree
from pcont.virtual.bindings import BINDINGS, binding_lines, bindings_from
from pcont.virtual.files import ControlFiles


def as_seen_from(
    backend: ContainerReader, container: Container
) -> Iterator[tuple[Place, str, str]]:
    """What the container has to remember for those who see it as the root: PLACE, name and text.

    So it is in a cgroup namespace (cgroup_namespaces(7)): what is above cannot be read there.
    """
    for place in container.places:
        if text := binding_lines(bindings_from(backend, place)):
            yield place, BINDINGS, text
    if tie := container.hierarchy.tie:
        yield container.places[0], TIE, replace(tie, at="/", made_at=(), mounted=()).dump()


def present(backend: MountedContainers, container: Container) -> list[Place]:
    """The places of the container that are there: all, none, or some where it is partial.

    NotFound where a tree is active but not mounted: what is in it cannot be seen.
    """
    check_seen(backend, container.hierarchy, gone=False)
    return [place for place in container.places if exists(backend, place)]


def at_least_partial(backend: Backend, container: Container) -> list[Place]:
    """The places that are there, of which there must be one; NotFound otherwise."""
    there = present(backend, container)
    if not there:
        required(backend, container)
    return there


def with_evidence(container: Container, there: Iterable[Place]) -> list[Place]:
    """The places that tell who is in the container: in the root of a home is everybody."""
    places = list(there)
    if container.is_root and container.hierarchy.tie and len(places) > 1:
        return [place for place in places if place != container.places[0]]
    return places


def required(backend: Backend, container: Container) -> Container:
    """The container, which must be there in every tree; NotFound otherwise."""
    check_seen(backend, container.hierarchy)
    there = present(backend, container)
    missing = [place for place in container.places if place not in there]
    if missing and there:
        raise NotFound(
            f"{container.name} is partial: it is missing in {', '.join(p.tree for p in missing)}",
            path=backend.show(there[0]),
            hint=f"complete it: pcont create {container.word}; "
            f"or remove what is there: pcont rm {container.word}",
        )
    if missing:
        raise NotFound(
            f"there is no container {container.name}",
            path=backend.show(missing[0]),
            hint=_neighbours(backend, container),
        )
    return container


def _neighbours(backend: CgroupState, container: Container) -> str:
    """The containers beside one that is not there whose names look like it."""
    near: list[str] = []
    last = container.path.rpartition("/")[2]
    with contextlib.suppress(OSError):
        files = ControlFiles(backend)
        for parent in container.parent.places:
            if last in [backend.spelled(parent, file) for file in files.names(parent)]:
                return f"that is a control file: pcont get {container.parent.word} {last}"
        names = backend.children(container.parent.places[0])
        near = difflib.get_close_matches(last, names, n=3)
    if near:
        return f"near: {', '.join(container.parent.child(name).name for name in near)}"
    return f"pcont tree {quote(container.hierarchy.name)}"


def inactive(id: str) -> Tree:
    """Return a tree that the kernel has removed, or has with other controllers."""
    words = id.split(",")
    name = next((word.removeprefix("name=") for word in words if "=" in word), "")
    return Tree(id, 0, tuple(word for word in words if "=" not in word), name)


def is_active(tree: Tree) -> bool:
    """Whether the kernel has it, mounted or not."""
    return tree.number > 0


def where_to_find(one: Hierarchy, subsystem: str) -> str:
    """The hint for a subsystem that a hierarchy lacks: bind it there, where more can be bound."""
    home = one.members[0].tree
    if home.name and any(mount.ours for mount in home.mounts):
        return f"pcont bind {quote(one.name)} {subsystem}"
    return "use a hierarchy that has it: pcont subsys"


def reachable(backend: Mounts, tree: Tree) -> None:
    """NotFound where a hierarchy is active but mounted nowhere."""
    if not tree.mounted:
        raise NotFound(
            f"the hierarchy {tree.id} is active but not mounted", hint=how_to_mount(backend, tree)
        )


def check_seen(backend: Mounts, one: Hierarchy, *, gone: bool = True) -> None:
    """Raise NotFound if a tree of the hierarchy is not mounted, so that pcont cannot look into it.

    `gone`: also for a member of a tie that the kernel has removed, and which is therefore empty.
    """
    for member in one.members:
        tree = member.tree
        if tree.mounted or not (gone or is_active(tree)):
            continue
        if not one.tie:
            reachable(backend, tree)
        state = "is active but not mounted" if is_active(tree) else "was removed"
        raise NotFound(
            f"a part of {one.name} is not visible: its tree {tree.id} {state}",
            hint=f"mount its missing trees: pcont mount --name {one.name}",
        )


def how_to_mount(backend: Mounts, tree: Tree) -> str:
    """The command that makes an active hierarchy reachable again.

    With a MOUNTPOINT where the usual one is taken, as in a cgroup namespace by the mount that shows
    nothing in there.
    """
    usual = backend.default_directory(word := tree.name or ",".join(tree.controllers))
    point = next(one for one in _directories(usual, word) if _is_free(backend, one))
    return brings_back(tree, point if point != usual else "")


def brings_back(tree: Tree, point: str = "") -> str:
    """The command that mounts an active hierarchy, at a directory or at the usual one."""
    what = f"--name {tree.name}" if tree.name else f"-o {','.join(tree.controllers)}"
    return f"pcont mount {what}{f' {quote(point)}' * bool(point)}"


def _directories(usual: str, name: str) -> Iterator[str]:
    """The directories to mount a hierarchy at, the usual one first."""
    yield usual
    yield f"/run/cgroup/{name}"
    yield from (f"/run/cgroup/{name}-{number}" for number in itertools.count(2))


def _is_free(backend: Mounts, directory: str) -> bool:
    with contextlib.suppress(OSError):
        return not backend.occupied(directory, entries=True)
    return False
