"""Read all containers below one for `tree`, with few system calls for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pcont import signals, subsys
from pcont.errors import Unseen
from pcont.hierarchy.container import Container, Member
from pcont.hierarchy.presence import with_evidence
from pcont.kernel.refusals import vanishing
from pcont.kernel.survey import look
from pcont.kernel.types import Place, Surveyed
from pcont.records import ContainerNode, Scalar
from pcont.tables.control_file import ControlFile, Listed
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import table_of

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend

_TASKS = "tasks"
_MEMORY_EVENTS, _OOM_CONTROL = "memory.events", "memory.oom_control"  # of cgroup v2, and of v1
_OOM_KILL = "oom_kill "  # the beginning of a line that both have

# A place with what was read of a container: the one at the place, or a child of it.
_Look = tuple[Place, Surveyed]


class _TreeReader:
    """Reads what `tree` shows of the containers of one tree.

    `controllers`: those that any of the containers can have. `names`: the files that are read of
    each of them. `provides`: some of the files are those that pcont provides, which are read one by
    one.
    """

    def __init__(
        self, backend: Backend, files: ControlFiles, member: Member, controllers: Sequence[str]
    ) -> None:
        self._backend, self._files = backend, files
        self.names = [_TASKS]
        self._rows: list[tuple[int, ControlFile]] = []  # 0: a file that pcont provides
        for row in _listed_rows(backend, member, controllers):
            ours = subsys.is_virtual_file(row.name, member.tree.controllers)
            self._rows.append((0 if ours else len(self.names), row))
            self.names += [] if ours else [row.name]
        self.provides = any(not index for index, _ in self._rows)
        self._spelled: dict[str, str] = {}
        self._events = ""  # the file that counts the tasks killed because memory ran out
        if "memory" in controllers:
            self._events = _MEMORY_EVENTS if member.tree.is_unified else _OOM_CONTROL
            self.names.append(self._events)

    def settings(self, place: Place, child: Surveyed, is_root: bool = False) -> dict[str, Scalar]:
        """Return the settings that listings show, and the limits that are set."""
        found: dict[str, Scalar] = {}
        for index, row in self._rows:
            text = child.texts[index] if index else self._stored(place, row)
            if isinstance(text, str):
                value = _shown(row.name, text, row.listed is Listed.ALWAYS, is_root)
                if value is not None:
                    found[self._name(place, row)] = value
        if self._events and isinstance(text := child.texts[-1], str) and (killed := _killed(text)):
            found[self._events] = killed
        return found

    def _stored(self, place: Place, row: ControlFile) -> str | None:
        with contextlib.suppress(OSError):
            return self._files.stored(place, row.name)
        return None

    def _name(self, place: Place, row: ControlFile) -> str:
        if row.name not in self._spelled:
            self._spelled[row.name] = self._backend.spelled(place, row.name)
        return self._spelled[row.name]


@lru_cache(maxsize=64)
def _killed(text: str) -> str:
    """Return the line with the number of tasks that were killed because memory ran out; empty if
    there are none.
    """
    lines = (one for one in text.splitlines() if one.startswith(_OOM_KILL))
    return next((one for one in lines if one != f"{_OOM_KILL}0"), "")


@lru_cache(maxsize=512)
def _shown(file: str, text: str, always: bool, is_root: bool) -> Scalar | None:
    """Return the value of a file, or None if it is that of a new container and need not be shown
    `always`.
    """
    if always or not subsys.is_as_new(file, text, is_root):
        return subsys.typed(file, text)
    return None


class NodeReader:
    """Reads a container and those below it for `tree`. What they have in common is found once.

    `there`: the places where the container exists.
    """

    def __init__(self, backend: Backend, container: Container, there: Sequence[Place]) -> None:
        hierarchy = container.hierarchy
        self._backend, self._name = backend, hierarchy.name
        self._container, self._there = container, there
        files = ControlFiles(backend)
        self._readers = {
            place.tree: _TreeReader(backend, files, member, _available(backend, member, place))
            for member, place in zip(hierarchy.members, container.places, strict=True)
        }
        self._provides = any(reader.provides for reader in self._readers.values())

    def top(self) -> ContainerNode:
        """Return the container with those below it."""
        container = self._container
        looks: list[_Look] = []
        for place in self._there:
            with vanishing():  # another program may remove the container at any time
                looks.append((place, look(self._backend, place, self._readers[place.tree].names)))
        evidence = with_evidence(container, [place for place, _ in looks])
        tasks = _task_count([child for place, child in looks if place in evidence])
        return self._node(container, looks, tasks)

    def _node(self, container: Container, looks: Sequence[_Look], tasks: int) -> ContainerNode:
        """Return a container with those below it, given what was read of it."""
        signals.beat()
        seen = [place for place, _ in looks]
        settings: dict[str, Scalar] = {}
        for place, child in looks:
            settings |= self._readers[place.tree].settings(place, child, place.is_root)
        return ContainerNode(
            container.path.rpartition("/")[2],
            container.path,
            tasks,
            settings,
            tuple(place.tree for place in container.places if place not in seen),
            tuple(self._children(container, looks)),
            container.canonical,
        )

    def _children(self, above: Container, looks: Sequence[_Look]) -> Iterator[ContainerNode]:
        below: dict[str, list[_Look]] = {}
        for place, child in looks:
            for one in self._survey(place) if child.has_children else ():
                below.setdefault(one.name, []).append((place, one))
        for name in sorted(below):
            found = below[name]
            children = [child for _, child in found]
            tasks = _task_count(children)
            is_whole = len(found) == len(self._readers) and not self._provides
            if is_whole and not any(child.has_children for child in children):
                yield self._leaf(above, name, found, tasks)
            else:
                own = [(place.child(name), child) for place, child in found]
                yield self._node(above.child(name), own, tasks)

    def _survey(self, place: Place) -> Sequence[Surveyed]:
        with vanishing():
            return self._backend.survey(place, self._readers[place.tree].names)
        return ()

    def _leaf(
        self, above: Container, name: str, found: Sequence[_Look], tasks: int
    ) -> ContainerNode:
        """Return a container in every tree, without containers below it. `found`: the places of
        the parent.
        """
        settings: dict[str, Scalar] = {}
        for place, child in found:
            settings |= self._readers[place.tree].settings(place, child)
        path = f"{above.path.rstrip('/')}/{name}"
        return ContainerNode(name, path, tasks, settings, (), (), f"{self._name}:{path}")


def _task_count(found: Iterable[Surveyed]) -> int:
    """Return how many tasks are in the places of a container. Raises OSError if a list cannot be
    read.
    """
    inside: set[str] = set()
    for child in found:
        text = child.texts[0]
        if isinstance(text, str):
            inside.update(text.split())
        elif not isinstance(text, FileNotFoundError) or isinstance(text, Unseen):
            raise text
    return len(inside)


def _available(backend: Backend, member: Member, place: Place) -> Sequence[str]:
    """Return the controllers that a container, and those below it, can have.

    In cgroup v2, a container has only what its parent enables: other files need not be read.
    """
    if not place.is_unified or member.mode:
        return member.tree.controllers
    with vanishing():
        return backend.read(place, "cgroup.controllers").split()
    return ()


def _listed_rows(
    backend: Backend, member: Member, controllers: Sequence[str]
) -> Iterator[ControlFile]:
    """Yield the rows of the files in one tree that listings may show."""
    for name in ("", *controllers, *member.virtual):
        if table := table_of(backend, member.tree.id, name):
            yield from (row for row in table.files if _is_shown(row, member))


def _is_shown(row: ControlFile, member: Member) -> bool:
    """Return whether listings may show a file. All containers of a hierarchy that pcont makes in
    cgroup v2 have the type of that hierarchy, and enable its controllers.
    """
    if row.listed is Listed.NEVER:
        return False
    return not (member.mode and row.name in ("cgroup.type", "cgroup.subtree_control"))
