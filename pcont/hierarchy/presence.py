"""Check in which trees a container exists, and report trees that are not mounted."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from pcont.errors import NotFound, Unsupported, similar_words
from pcont.hierarchy.container import MODE_THREADED, TIE, Container, Hierarchy
from pcont.kernel.refusals import exists
from pcont.kernel.types import Place, Tree, words_of
from pcont.virtual.bindings import BINDINGS, binding_lines, bindings_from
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import (
        Backend,
        CgroupState,
        ContainerReader,
        MountedContainers,
        Mounts,
    )


def attributes_as_namespace_root(
    backend: ContainerReader, container: Container
) -> Iterator[tuple[Place, str, str]]:
    """Yield the attributes that a container needs if it becomes the root of a cgroup namespace:
    place, name and text.

    Inside of the namespace, the attributes of its parents cannot be read (cgroup_namespaces(7)).
    """
    for place in container.places:
        if text := binding_lines(bindings_from(backend, place)):
            yield place, BINDINGS, text
    if tie := container.hierarchy.tie:
        yield (
            container.places[0],
            TIE,
            tie._replace(at="/", unified_at="", made_at=(), mounted=()).dump(),
        )


def present(backend: MountedContainers, container: Container) -> list[Place]:
    """Return the places where the container exists: all, none, or some if it is partial.

    Raises NotFound if a tree is active but not mounted, because its containers are not visible.
    """
    check_seen(backend, container.hierarchy, inactive=False)
    return [place for place in container.places if exists(backend, place)]


def at_least_partial(backend: Backend, container: Container) -> list[Place]:
    """Return the places where the container exists. Raises NotFound if there is none."""
    there = present(backend, container)
    if not there:
        required(backend, container)
    return there


def with_evidence(container: Container, there: Iterable[Place]) -> list[Place]:
    """Return the places whose task lists tell which tasks are in the container.

    Leaves out the root of a home, which contains all tasks of the machine.
    """
    places = list(there)
    if container.is_root and container.hierarchy.tie and len(places) > 1:
        return [place for place in places if place != container.places[0]]
    return places


def required(backend: Backend, container: Container) -> Container:
    """Return the container. Raises NotFound unless it exists in every tree."""
    check_seen(backend, container.hierarchy)
    there = present(backend, container)
    missing = [place for place in container.places if place not in there]
    if missing and there:
        raise incomplete(backend, container, there, missing)
    if missing:
        raise NotFound(
            f"there is no container {container.name}",
            path=backend.show(missing[0]),
            hint=_neighbours(backend, container),
        )
    return container


def check_root(backend: CgroupState, one: Hierarchy) -> None:
    """Raise NotFound if the root of a tie was removed in one of its trees."""
    root = one.container("/")
    places = root.places if one.tie else ()
    missing = [place for place in places if not (place.is_root or exists(backend, place))]
    if missing:
        there = [place for place in root.places if place not in missing]
        raise incomplete(backend, root, there, missing)


def incomplete(
    backend: CgroupState, container: Container, there: Sequence[Place], missing: Sequence[Place]
) -> NotFound:
    """Return the error for a container that is missing in some trees. In cgroup v2, only `mount`
    restores all of a root.
    """
    hint = f"complete it: pcont create {container.word}"
    if not container.is_root:
        hint += f"; or remove what is there: pcont rm {container.word}"
    elif any(place.is_unified for place in missing):
        hint = f"restore it: pcont mount --name {quote(container.hierarchy.name)}"
    return NotFound(
        f"{container.name} is partial: it is missing in {', '.join(p.tree for p in missing)}",
        path=backend.show(there[0]),
        hint=hint,
    )


def _neighbours(backend: CgroupState, container: Container) -> str:
    """Return the hint for a container that does not exist: siblings with a similar name."""
    similar: list[str] = []
    last = container.path.rpartition("/")[2]
    with contextlib.suppress(OSError):
        files = ControlFiles(backend)
        for parent in container.parent.places:
            if last in [backend.spelled(parent, file) for file in files.names(parent)]:
                return f"that is a control file: pcont get {container.parent.word} {last}"
        names = backend.children(container.parent.places[0])
        similar = similar_words(last, names)
    if similar:
        return f"near: {', '.join(container.parent.child(name).name for name in similar)}"
    return f"pcont tree {quote(container.hierarchy.name)}"


def inactive(id: str) -> Tree:
    """Return a Tree for an id whose hierarchy the kernel has removed, or mounted with other
    controllers.
    """
    return Tree(id, 0, *words_of(id))


def is_active(tree: Tree) -> bool:
    """Return whether the kernel has the hierarchy, mounted or not."""
    return tree.number > 0 or tree.is_unified


def refuse_unified_tree(one: Hierarchy, action: str) -> None:
    """Raise Unsupported if the hierarchy is that of cgroup v2, and no tie. `action`: what was
    attempted.
    """
    if not one.tie and any(member.tree.is_unified for member in one.members):
        raise Unsupported(
            f"cannot {action} {one.name}: it is the whole tree of cgroup v2",
            hint="make a hierarchy in it: pcont mount -o SUBSYSTEMS --name NAME",
        )


def where_to_find(one: Hierarchy, subsystem: str) -> str:
    """Return the hint for a controller that a hierarchy lacks: bind it there, if pcont can."""
    member = one.unified_member
    if member and member.mode == MODE_THREADED:
        from pcont.subsys.v2.core import needs_processes  # only cgroup v2 needs it

        if needs_processes([subsystem]):
            return f"{one.name} is threaded: pcont mount -o {subsystem} --name NAME --at /NAME"
    home = one.members[0].tree
    if home.name and any(mount.ours for mount in home.mounts):
        return f"pcont bind {quote(one.name)} {subsystem}"
    return "use a hierarchy that has it: pcont subsys"


def reachable(backend: Mounts, tree: Tree) -> None:
    """Raise NotFound if a hierarchy is active but mounted nowhere."""
    if not tree.mounted:
        raise NotFound(
            f"the hierarchy {tree.id} is active but not mounted", hint=how_to_mount(backend, tree)
        )


def check_seen(backend: Mounts, one: Hierarchy, *, inactive: bool = True) -> None:
    """Raise NotFound if a tree of the hierarchy is not mounted, so that pcont cannot read it.

    `inactive`: also raise it for a member of a tie that the kernel has removed. Such a member
    contains nothing.
    """
    for member in one.members:
        tree = member.tree
        if tree.mounted or not (inactive or is_active(tree)):
            continue
        if not one.tie:
            reachable(backend, tree)
        state = "is active but not mounted" if is_active(tree) else "was removed"
        raise NotFound(
            f"a part of {one.name} is not visible: its tree {tree.id} {state}",
            hint=f"mount its missing trees: pcont mount --name {one.name}",
        )


def how_to_mount(backend: Mounts, tree: Tree) -> str:
    """Return the command that mounts an active hierarchy again.

    It names a directory if the usual one is in use. In a cgroup namespace a mount that shows
    nothing can be in use there.
    """
    usual = backend.default_directory(word := tree.name or ",".join(tree.controllers))
    point = next(one for one in _directories(usual, word) if _is_free(backend, one))
    return brings_back(tree, point if point != usual else "")


def brings_back(tree: Tree, point: str = "") -> str:
    """Return the command that mounts an active hierarchy, at `point` or at the usual directory."""
    options = f"--name {tree.name}" if tree.name else f"-o {','.join(tree.controllers)}"
    return f"pcont mount {options}{f' {quote(point)}' * bool(point)}"


def _directories(usual: str, name: str) -> Iterator[str]:
    """Yield directories to mount a hierarchy at, the usual one first."""
    yield usual
    yield f"/run/cgroup/{name}"
    yield from (f"/run/cgroup/{name}-{number}" for number in itertools.count(2))


def _is_free(backend: Mounts, directory: str) -> bool:
    with contextlib.suppress(OSError):
        return not backend.occupied(directory, entries=True)
    return False
