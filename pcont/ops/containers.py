"""create and rm: create and remove containers in every tree of their hierarchy, or in none."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable, Sequence
from errno import EEXIST, ENOENT
from functools import cached_property, partial
from typing import TYPE_CHECKING

from pcont import signals, subsys
from pcont.errors import Busy, Denied, PcontError, UsageProblem
from pcont.hierarchy import keys
from pcont.hierarchy.container import MODE_THREADED, Container, Hierarchy
from pcont.hierarchy.presence import at_least_partial, check_root, check_seen, present
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import exists, vanishing
from pcont.kernel.types import Place
from pcont.ops import cpuset_memset, guards
from pcont.ops.ties import note_left, note_partial, note_split
from pcont.session import Session, checks_first
from pcont.steps.creation import CreateContainer
from pcont.steps.new_settings import NewSettings, SettingsPattern
from pcont.steps.tasks import processes_in, tasks_in, would_freeze_itself
from pcont.steps.write import Setting, WriteFiles
from pcont.subsys import cpuset
from pcont.tables.control_file import ControlFile
from pcont.transaction.step import Step
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, ContainerReader, MountedContainers
    from pcont.ops.enabling import Enabling
    from pcont.steps.move_all import Move, MoveAll

# The containers to remove, children before their parents, and the places where each exists.
Doomed = dict[Container, list[Place]]


@checks_first
def create(
    session: Session,
    places: Sequence[str],
    *,
    parents: bool = False,
    inherit: bool = False,
    settings: Iterable[str] = (),
    owner: str | None = None,
    tasks_owner: str | None = None,
) -> list[str]:
    """Create containers, all or none; returns their names.

    `parents`: also create missing parents, and accept what exists. `inherit`: the new containers
    get the settings of their parents. `settings`: KEY=VALUE for each place. `owner`, `tasks_owner`:
    the users that get each new place, as for `chown`. Raises Busy for one that exists,
    NotFound for a missing parent or key, BadValue for a refused value.
    """
    pairs = keys.split_assignments(settings)
    with session.exclusive() as registry:
        planner = Planner(session.backend, inherit)
        containers = [registry.place(text) for text in places]
        if not (inherit or parents):
            planner.expect(containers)
        for container in containers:
            planner.create(container, parents, pairs)
        for one in planner.guarded:
            guards.check_freezing(session, [one.place], one.file, one.text)
        giving = planner.giving(containers, owner, tasks_owner)
        session.carry_out([*planner.steps, *giving])
        _note_owners(session, planner, containers, owner)
        if parents and not pairs:
            there = [one for one in containers if planner.made.isdisjoint(one.places)]
            _note_roots(session, there)
        for container, changed in planner.changed:
            guards.note_set(session, container, [(one.file, one.text) for one in changed])
        for container in containers:
            if inherit:
                _note_settings(session, planner, container)
            note_partial(session, registry, container)
        return [container.canonical for container in containers]


def _note_roots(session: Session, containers: Iterable[Container]) -> None:
    """Warn about each root of a hierarchy: it always exists, and a container was probably meant."""
    for container in containers:
        if container.is_root:
            session.warn(
                f"{container.name} is the root of a hierarchy, and always exists; to create a "
                f"container in it: pcont create {container.child('NAME').word}"
            )


def _note_owners(
    session: Session, planner: Planner, containers: Iterable[Container], owner: str | None
) -> None:
    """Warn about each container that `--owner` does not give away, because it exists."""
    for container in containers if owner is not None else ():
        if planner.made.isdisjoint(container.places):
            session.warn(f"{container.name} exists: it keeps its owner (pcont chown)")


def _note_settings(session: Session, planner: Planner, container: Container) -> None:
    """Warn if `pcont create -i` copied nothing because the container exists, or if no task can
    enter the container.
    """
    from pcont.steps import explain

    if not planner.made & set(container.places):
        session.warn(f"{container.name} exists: it keeps its settings (pcont set)")
        return
    with contextlib.suppress(OSError):  # a dry run has made nothing
        reason, hint = explain.closed(session.backend, container.places)
        if reason:
            session.warn(f"{reason}: {hint}")


def _refused(backend: Backend, place: Place, err: OSError, action: str) -> PcontError:
    """Return the error for a container that cannot be created."""
    from pcont.steps import explain  # only mistakes need it

    return explain.make_refusal(backend, place, err, action)


class Planner:
    """Plans creations one after another; each takes the earlier ones into account.

    `cpus_follow`: each container gets the parent's CPUs, as it does if memset is bound and cpuset
    is not. What containers of one parent, or of one hierarchy, have in common is looked up once.
    """

    def __init__(
        self,
        backend: Backend,
        inherit: bool,
        cpus_follow: bool = False,
    ) -> None:
        self.backend, self.inherit, self.cpus_follow = backend, inherit, cpus_follow
        self.files = ControlFiles(backend)
        self.steps: list[Step] = []
        self.made: set[Place] = set()
        self.texts: dict[tuple[Place, str], str] = {}
        self.guarded: list[Setting] = []
        self.changed: list[tuple[Container, list[Setting]]] = []  # of containers that exist
        self.without_leaf: set[Place] = set()  # containers to make that never get a leaf
        self.names: dict[Place, frozenset[str]] = {}
        self._seen: dict[int, Hierarchy] = {}
        self._with_roots: set[int] = set()  # of `_seen`
        self._parents: dict[Place, bool] = {}
        self._passed_on: dict[Place, list[tuple[str, str]]] = {}
        self._meant: dict[tuple[int, tuple[tuple[str, str], ...]], list[str]] = {}
        self._patterns: dict[tuple[int, tuple[tuple[str, str], ...]], SettingsPattern] = {}
        self._expected: dict[tuple[str, str], list[str]] = {}
        self._in_use: dict[tuple[str, str], set[str]] = {}
        self._types_seen: set[Place] = set()  # containers of which _threaded knows the type

    def expect(self, containers: Iterable[Container]) -> None:
        """Announce all containers of a plan in which none inherits settings, so that what those
        below one parent have in common is read once.
        """
        for container in containers:
            for place in container.places:
                above, _, name = place.path.rpartition("/")
                self._expected.setdefault((place.tree, above), []).append(name)

    def _there(self, place: Place) -> bool:
        return place in self.made or exists(self.backend, place)

    def _is_parent_there(self, parent: Place) -> bool:
        if parent not in self._parents:
            self._parents[parent] = exists(self.backend, parent)
        return self._parents[parent] or parent in self.made

    def _need_seen(self, hierarchy: Hierarchy) -> None:
        if id(hierarchy) not in self._seen:
            check_seen(self.backend, hierarchy)
            self._seen[id(hierarchy)] = hierarchy  # kept, so that no other one gets its id

    def _need_root(self, hierarchy: Hierarchy) -> None:
        """Raise NotFound if another program has removed the root, and the plan does not make it."""
        if id(hierarchy) not in self._with_roots:
            places = hierarchy.container("/").places if hierarchy.tie else ()
            if not all(place.is_root or self._is_parent_there(place) for place in places):
                check_root(self.backend, hierarchy)
            self._with_roots.add(id(hierarchy))

    def create(
        self, container: Container, parents: bool, pairs: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Plan the missing places of a container, and its settings."""
        self._need_seen(container.hierarchy)
        alike = self._expected and not container.places[-1].is_unified
        if alike and all(map(self._is_new, container.places)):
            self._create_new(container, tuple(pairs))
        else:
            self._create_missing(container, parents, pairs)

    def _pattern(self, container: Container, pairs: tuple[tuple[str, str], ...]) -> SettingsPattern:
        """Return what each new container of a hierarchy gets."""
        key = (id(container.hierarchy), pairs)  # a hierarchy in `_seen`
        if key not in self._patterns:
            found, places = self._wanted(container, pairs), container.places
            lines = [(places.index(one.place), one.file, one.text) for one in found]
            guarded = any(guards.acts_on_all(one.file, one.text) for one in found)
            self._patterns[key] = SettingsPattern(lines, guarded)
        return self._patterns[key]

    def _is_new(self, place: Place) -> bool:
        """Return whether a container is missing, below a parent from which it inherits nothing."""
        above, _, name = place.path.rpartition("/")
        in_use = self._in_use.get((place.tree, above))
        if in_use is None:
            in_use = self._names_in_use(place, above)
        return in_use is not None and name not in in_use

    def _names_in_use(self, place: Place, above: str) -> set[str] | None:
        """Return the expected names that no new container below the same parent can have: control
        files or containers have them. None if the parent does not exist, or a new container
        inherits from it.
        """
        parent = place.parent
        if place.is_root or not self._is_parent_there(parent) or self._inherited(parent, place):
            return None
        if parent in self.made:
            found = {*self._control_files(parent)}
        else:
            found = self.backend.names_in_use(parent, self._expected[place.tree, above])
        self._in_use[place.tree, above] = found
        return found

    def _create_new(self, container: Container, pairs: tuple[tuple[str, str], ...]) -> None:
        """Plan a container that is missing in each tree, and inherits nothing."""
        places = container.places
        self.made.update(places)
        for place in places:
            above, _, name = place.path.rpartition("/")
            self._in_use[place.tree, above].add(name)
        pattern = self._pattern(container, pairs)
        if cpuset.CPUS in pattern.files:  # a child may inherit them
            self._add(container, places, pattern.settings(places))
            return
        then = NewSettings(places, pattern, f"set {container.name}") if pattern.lines else None
        if pattern.guarded:
            settings = pattern.settings(places)
            self.guarded += [one for one in settings if guards.acts_on_all(one.file, one.text)]
        action = f"create {container.name}"
        for place in places:
            last = place is places[-1]
            self.steps.append(CreateContainer(place, action, then if last else None))

    def _create_missing(
        self, container: Container, parents: bool, pairs: Sequence[tuple[str, str]]
    ) -> None:
        missing = [place for place in container.places if not self._there(place)]
        if not missing and not parents:
            err = FileExistsError(EEXIST, os.strerror(EEXIST), self.backend.show(_first(container)))
            action = f"create {container.name}"
            raise _refused(self.backend, _first(container), err, action)
        if parents and not container.is_root:
            self._need_root(container.hierarchy)
        elif not parents:
            self._need_parent(container)
        for level in container.lineage()[:-1] if parents else ():
            lacking = [place for place in level.places if not self._is_parent_there(place)]
            self._add(level, lacking, self._make(level, lacking) + self._threaded(level, lacking))
        inherited = self._make(container, missing)
        wanted = self._wanted(container, pairs)
        if container.places[-1].is_unified:
            self.steps += self._enabling.steps(container, [one.file for one in wanted])
        self.guarded += [one for one in wanted if guards.acts_on_all(one.file, one.text)]
        given = {(one.place, one.file) for one in wanted}
        inherited += self._threaded(container, missing)
        rest = [one for one in inherited if (one.place, one.file) not in given]
        self._add(container, missing, rest + wanted)

    @cached_property
    def _enabling(self) -> Enabling:
        from pcont.ops.enabling import Enabling  # only cgroup v2 needs it

        return Enabling(self.backend, self.made)

    def enable_for_children(self, container: Container) -> None:
        """Plan to enable the controllers of a hierarchy for the children of a container of cgroup
        v2.
        """
        self.steps += self._enabling.for_children(container)

    def giving(
        self, containers: Iterable[Container], owner: str | None, tasks_owner: str | None
    ) -> list[Step]:
        """Return the steps that give the containers to others, where the plan makes them."""
        if owner is None and tasks_owner is None:
            return []
        from pcont.ops.owners import Owners  # few commands need it

        owners, found = Owners(owner, tasks_owner), list[Step]()
        for container in containers:
            new = [place for place in container.places if place in self.made]
            found += owners.steps(self.backend, container, new)
        return found

    def _need_parent(self, container: Container) -> None:
        for place in container.places:
            if not self._is_parent_there(place.parent):
                check_root(self.backend, container.hierarchy)
                err = FileNotFoundError(ENOENT, os.strerror(ENOENT), self.backend.show(place))
                action = f"create {container.name}"
                raise _refused(self.backend, place, err, action)

    def _make(self, container: Container, missing: Sequence[Place]) -> list[Setting]:
        """Plan to create a container in the trees where it is missing; returns the settings that it
        inherits there.
        """
        found = []
        for place in missing:
            parent = place.parent
            # A dry run is refused what the kernel would refuse.
            if place.name in self._control_files(parent):
                err = FileExistsError(EEXIST, os.strerror(EEXIST), self.backend.show(place))
                raise _refused(self.backend, place, err, f"create {container.name}")
            if place.is_unified:
                self._enabling.check_making(place, f"create {container.name}")
            found += [Setting(place, file, text) for file, text in self._inherited(parent, place)]
        self.made.update(missing)
        return found

    def _threaded(self, container: Container, missing: Sequence[Place]) -> list[Setting]:
        """Return the setting that makes a new container of a threaded hierarchy threaded, and plan
        to make one threaded that another program has made with mkdir.
        """
        member = container.hierarchy.members[-1]
        if member.mode != MODE_THREADED or container.is_root:
            return []
        from pcont.steps.threaded import MakeThreaded, is_domain  # only cgroup v2 needs it
        from pcont.subsys.v2 import core

        place = container.places[-1]
        if place in missing:
            return [Setting(place, core.TYPE, core.THREADED)]
        if not (place in self.made or place in self._types_seen):
            self._types_seen.add(place)
            if is_domain(self.backend, place):
                self.steps.append(MakeThreaded(place, f"make {container.name} threaded"))
        return []

    def _control_files(self, place: Place) -> frozenset[str]:
        if place not in self.names:
            # New containers have the same files, however many there are one below another.
            above = self.names.get(place.parent) if place.parent in self.made else None
            self.names[place] = above or keys.control_files(self.backend, place)
        return self.names[place]

    def _inherited(self, parent: Place, place: Place) -> list[tuple[str, str]]:
        """Return what a new container inherits of its parent, as pairs of file and text."""
        if parent not in self._passed_on:
            found = []
            # On cgroup v2, a container without a value of its own uses that of its parent.
            for row in subsys.rows(() if place.is_unified else place.controllers):
                text = self._read(parent, row) if self._is_inherited(parent, row) else ""
                if text and text != row.type.show(row.default):
                    found.append((row.name, text))
            self._passed_on[parent] = found
        return self._passed_on[parent]

    def _is_inherited(self, parent: Place, row: ControlFile) -> bool:
        if self.inherit or row.name != cpuset.CPUS:
            return self.inherit and row.creation.inherit
        return self.cpus_follow or cpuset_memset.cpus_follow(self.backend, parent)

    def _read(self, place: Place, row: ControlFile) -> str:
        """Return the text of a file after the plan; a new container has the table's defaults."""
        planned = self.texts.get((place, row.name))
        if planned is not None:
            return planned
        if place in self.made:
            return row.type.show(row.default)
        return self.files.stored(place, row.name).rstrip("\n")

    def _wanted(self, container: Container, pairs: Sequence[tuple[str, str]]) -> list[Setting]:
        found: list[Setting] = []
        files = self._files_of(container.hierarchy, tuple(pairs))
        for file, (key, text) in zip(files, pairs, strict=True):
            if file in subsys.TASK_FILES:
                raise UsageProblem(
                    f"{key} takes tasks, not settings",
                    hint=f"create it, then: pcont attach {container.word} {shlex.quote(text)}",
                )
            places = keys.owners(container, file)
            if not places:
                raise keys.unknown(container, key, self._files(container))
            found += [Setting(place, file, text) for place in places]
        old = [one for one in found if one.place not in self.made and subsys.lasting(one.file)]
        if old:
            raise UsageProblem(
                f"{container.name} exists, and {old[0].file} cannot be undone once written",
                hint=f"pcont set {container.word} {old[0].file}={shlex.quote(old[0].text)}",
            )
        return found

    def _files_of(self, hierarchy: Hierarchy, pairs: tuple[tuple[str, str], ...]) -> list[str]:
        key = (id(hierarchy), pairs)  # a hierarchy in `_seen`
        if key not in self._meant:
            self._meant[key] = keys.files_of(hierarchy, pairs)
        return self._meant[key]

    def _files(self, container: Container) -> list[str]:
        """Return the files of the container, or of its hierarchy's root if it does not exist."""
        there = [place for place in container.places if exists(self.backend, place)]
        found: list[str] = []
        for place in there or container.hierarchy.container("/").places:
            with contextlib.suppress(OSError):  # in a dry run of bind the tree is not mounted
                found += self.files.names(place)
        return found

    def _add(
        self, container: Container, missing: Sequence[Place], settings: Sequence[Setting]
    ) -> None:
        """Add the steps that make the missing places and write the settings of a container."""
        new = [one for one in settings if one.place in self.made]
        old = [one for one in settings if one.place not in self.made]
        action = f"set {container.name}"
        then = WriteFiles(new, action, created=True) if new else None
        for place in missing:
            writing = then if place is missing[-1] else None
            takes_leaf = place not in self.without_leaf
            doing = f"create {container.name}"
            self.steps.append(CreateContainer(place, doing, writing, takes_leaf))
        if then and not missing:
            self.steps.append(then)
        if old:
            self.steps.append(WriteFiles(old, action))
            self.changed.append((container, old))
        for one in settings:
            self.texts[one.place, one.file] = one.text
            self._passed_on.pop(one.place, None)


def _first(container: Container) -> Place:
    return container.places[0]


def create_steps(backend: Backend, *containers: Container, parents: bool = True) -> list[Step]:
    """Return the steps that create containers with the settings of their parents."""
    planner = Planner(backend, inherit=True)
    for container in containers:
        planner.create(container, parents)
    return planner.steps


@checks_first
def remove(
    session: Session,
    places: Sequence[str],
    *,
    recursive: bool = False,
    kill: bool = False,
    evict: bool = False,
    missing_ok: bool = False,
) -> list[str]:
    """Remove containers, all or none; returns the names of those that were removed.

    `recursive`: also remove all below them. `evict`: first move their tasks to the parent of the
    place; `kill`: first kill them, which cannot be undone. `missing_ok`: ignore a container that
    does not exist, but not one that cannot be seen. Raises Busy if tasks or children are in one, or
    files are charged to it (unless it is forced), LimitReached if the tasks fork faster than they
    die.
    """
    from pcont.steps.removal import removals

    if kill and evict:
        raise UsageProblem("--kill and --evict cannot be combined")
    with session.exclusive() as registry:
        doomed = _doomed(session, registry, places, recursive, missing_ok)
        guards.check_removal(session, [place for there in doomed.values() for place in there])
        steps: list[Step] = []
        words = shlex.join(["-r"] * recursive + ["--evict"] * evict + ["--kill"] * kill + [*places])
        if not recursive:
            _need_childless(session.backend, doomed, words)
        evictions = _evictions(session, doomed) if evict else []
        if evict:
            steps += [step for step, _ in evictions]
        elif kill:
            steps.append(_killing(session, doomed))
        else:
            _need_empty(session, doomed, words)
        session.carry_out([*steps, *removals(doomed, session.force)])
        for container in doomed:
            note_partial(session, registry, container, removed=True)
        for step, refuge in evictions:
            note_split(session, registry, note_left(session, refuge, step))
        return [container.canonical for container in doomed]


def _doomed(
    session: Session,
    registry: Registry,
    places: Sequence[str],
    recursive: bool,
    missing_ok: bool,
) -> Doomed:
    """Return the containers to remove, children before their parents, and where each exists."""
    found: Doomed = {}
    for text in places:
        container = registry.place(text)
        if container.is_root:
            raise Denied(
                f"{container.name} is a root container, and cannot be removed",
                hint=f"unmount the hierarchy: pcont umount {shlex.quote(container.hierarchy.name)}",
            )
        if missing_ok:
            check_seen(session.backend, container.hierarchy)
            if not present(session.backend, container):
                continue
        there = at_least_partial(session.backend, container)
        found.update(beneath(session.backend, container, there) if recursive else ())
        found[container] = there
    return found


def beneath(
    backend: MountedContainers, top: Container, there: Sequence[Place]
) -> list[tuple[Container, list[Place]]]:
    """Return every container below, children before their parents, and where each exists.

    `there`: the places of `top` that exist.
    """
    found: list[tuple[Container, list[Place]]] = []
    waiting: list[tuple[Container, Sequence[Place]]] = [(top, there)]
    while waiting:
        signals.beat()
        container, places = waiting.pop()
        below: dict[str, list[Place]] = {}
        for place in places:
            with vanishing():
                for name in backend.children(place):
                    below.setdefault(name, []).append(place.child(name))
        children = [(container.child(name), below[name]) for name in sorted(below)]
        found += children
        waiting += children
    return found[::-1]


def _need_childless(backend: MountedContainers, doomed: Doomed, words: str) -> None:
    """Raise what would be refused half-way, before any task is killed or moved. For `rm` without
    -r: with it, children are removed as well.
    """
    from pcont.steps import explain

    for container, places in doomed.items():
        for place in places:
            found: list[str] = []
            with vanishing():
                found = backend.children(place)
            if names := [name for name in found if container.child(name) not in doomed]:
                raise _in_use(backend, container, place, explain.children_inside(names, words))


def _need_empty(session: Session, doomed: Doomed, words: str) -> None:
    """Raise Busy if a container is in use. Leave out a place where another program has removed it
    since.
    """
    from pcont.steps import explain

    backend = session.backend
    files = ControlFiles(backend)
    for container, places in doomed.items():
        for place in list(places):
            try:
                tasks = backend.read(place, "tasks").split()
            except FileNotFoundError:
                places.remove(place)
                continue
            why = explain.tasks_inside(tasks, words) if tasks else ("", "")
            if not (tasks or session.force):
                why = explain.held_back(files, place)
            if any(why):
                raise _in_use(backend, container, place, why)


def _in_use(
    backend: ContainerReader, container: Container, place: Place, why: tuple[str, str]
) -> Busy:
    reason, hint = why
    message = f"cannot remove {container.name}: {reason}"
    return Busy(message, path=backend.show(place), hint=hint)


def _refuge(container: Container, doomed: Doomed) -> Container:
    """Return the nearest container above that is not removed."""
    parent = container.parent
    while parent in doomed:
        parent = parent.parent
    return parent


def _evictions(session: Session, doomed: Doomed) -> list[tuple[MoveAll, Container]]:
    """Return the step that empties each container, and where its tasks go."""
    targets = [(one, _refuge(one, doomed)) for one in doomed]
    return [(_eviction(session, one, doomed[one], refuge), refuge) for one, refuge in targets]


def _eviction(
    session: Session, container: Container, there: Sequence[Place], refuge: Container
) -> MoveAll:
    """Return the step that empties a container, in each tree in which it exists."""
    from pcont.steps.move_all import Move

    pairs = zip(container.places, refuge.places, strict=True)
    routes = [Move(place, target) for place, target in pairs if place in there]
    return drain(session, routes, f"move the tasks of {container.name} to {refuge.name}")


def drain(session: Session, routes: Sequence[Move], action: str, movable: bool = False) -> MoveAll:
    """Return the step that moves all tasks along the routes. Raises Denied if a source contains a
    protected task.
    """
    from pcont.steps.move_all import MoveAll

    backend = session.backend
    inside = {task for route in routes for task in tasks_in(backend, route.source)}
    guards.check_move_of(session, inside)
    freeze = not would_freeze_itself(backend, [route.source for route in routes])
    return MoveAll(routes, action, freeze, movable)


def _killing(session: Session, doomed: Doomed) -> Step:
    from pcont.steps.kill import Kill

    places = [place for there in doomed.values() for place in there]
    guards.check_kill(session, processes_in(session.backend, places))
    guards.check_frozen_above(session, [*doomed])
    names = ", ".join(one.name for one in doomed)
    freeze = not would_freeze_itself(session.backend, places)
    return Kill(places, f"kill all in {names}", partial(guards.check_kill, session), freeze)
