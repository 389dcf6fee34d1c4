"""auto_delete: a container that goes when it has become empty; and what it shares with the kernel.

The patch set announced auto_delete (patch semantics, 6.4), and no kernel got it. The kernel runs
the release agent of a hierarchy for each container with notify_on_release=1 that becomes empty:
where a container is to go, that flag stands, and the agent is pcont's. What the user has said of
the flag and of the agent is kept in attributes then, and get and set speak of that.

A new container has its parent's flags, as with the kernel's own; who made it need not be pcont: an
absent attribute is the nearest ancestor's. Before a flag changes, the children that have none get
what they had so far.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from errno import EINVAL, ENOENT
from typing import Any, cast

from pcont.errors import BadValue
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, Tree
from pcont.trust import ownership
from pcont.values import FLAG
from pcont.virtual import files as virtual_files
from pcont.virtual.files import Keep, Plan
from pcont.virtual.site import row_of

AUTO_DELETE, NOTIFY, AGENT = FILES = ("auto_delete", "notify_on_release", "release_agent")


def with_auto_delete(backend: Backend) -> Backend:
    """The same backend, with auto_delete in the containers that can have it."""
    return cast(Backend, _Deleting(backend))


def is_lacking(backend: Backend) -> bool:
    """Whether pcont keeps auto_delete, since the kernel lacks it; dialects of 2006 have it."""
    row = row_of(backend, AUTO_DELETE)
    return row is not None and row.kept


def is_ours(tree: Tree) -> bool:
    """Whether pcont has mounted a hierarchy, and nobody else: its release agent is pcont's to set.

    Only there a container can have auto_delete.
    """
    return tree.mounted and all(mount.ours for mount in tree.mounts)


def deletes(backend: Backend, place: Place) -> bool:
    """Whether a container goes when it has become empty; of the root it is its children's flag."""
    return _nearest(backend, place, AUTO_DELETE) == "1"


def notifies(backend: Backend, place: Place) -> bool:
    """Whether the user's agent is to be told when a container has become empty."""
    if deletes(backend, place):
        return _nearest(backend, place, NOTIFY) == "1"
    return backend.read(place, NOTIFY).strip() == "1"


def agent(backend: Backend, tree: str) -> str:
    """The release agent that the user has set for a hierarchy; empty where there is none."""
    root = Place(tree)
    if is_armed(backend, tree):
        return backend.attributes(root).get(AGENT, "")
    return backend.read(root, AGENT).rstrip("\n")


def is_armed(backend: Backend, tree: str) -> bool:
    """Whether the kernel tells pcont of containers that become empty."""
    return backend.read(Place(tree), AGENT).rstrip("\n") == backend.releases.program(tree)


def text(backend: Backend, place: Place, file: str) -> str:
    """The text of a control file as the user means it."""
    if file == NOTIFY:
        return f"{int(notifies(backend, place))}\n"
    if file == AGENT and place.is_root:
        return f"{agent(backend, place.tree)}\n"
    return backend.read(place, file)


def _nearest(backend: Backend, place: Place, name: str) -> str:
    """What is kept under a name with a container, or else with the nearest one above."""
    while True:
        found = backend.attributes(place).get(name)
        if found is not None or place.is_root:
            return found or "0"
        place = place.parent


def plan_flag(backend: Backend, place: Place, file: str, text: str) -> Plan:
    """A write to one of the three files; OSError as the kernel would have it.

    Raises BadValue for an agent that others than root could put another program in the place of.
    """
    if not is_lacking(backend):
        return Plan(follows=((place, file, text),))
    if file == AGENT:
        return _plan_agent(backend, place, text)
    if file == NOTIFY and not deletes(backend, place):
        return Plan(follows=((place, file, text),))
    wanted = _flag(backend, place, file, text)
    if file == NOTIFY:
        younger = _children_as_they_are(backend, place, NOTIFY)
        return Plan((*younger, (place, NOTIFY, wanted)))
    if not any(one.id == place.tree and is_ours(one) for one in backend.trees()):
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), backend.show(place, file))
    if wanted == str(int(deletes(backend, place))):
        return Plan(((place, file, wanted),))
    notify = str(int(notifies(backend, place)))
    younger = _children_as_they_are(backend, place, AUTO_DELETE)
    if wanted == "1":
        armed = arming(backend, place.tree)
        keeps = (*younger, *armed.keeps, (place, NOTIFY, notify), (place, AUTO_DELETE, "1"))
        return Plan(keeps, (*armed.follows, (place, NOTIFY, "1")))
    return Plan(
        (*younger, (place, AUTO_DELETE, "0"), (place, NOTIFY, None)), ((place, NOTIFY, notify),)
    )


def arming(backend: Backend, tree: str) -> Plan:
    """What lets the kernel tell pcont of containers that become empty; nothing where it does."""
    root = Place(tree)
    if is_armed(backend, tree):
        return Plan()
    users = (root, AGENT, agent(backend, tree))
    return Plan((users,), ((root, AGENT, backend.releases.program(tree)),))


def _children_as_they_are(backend: Backend, place: Place, name: str) -> Iterator[Keep]:
    """What the children are to keep that have only what their parent has, which changes."""
    for child in map(place.child, backend.children(place)):
        kept_there = backend.attributes(child)
        if AUTO_DELETE in kept_there or name in kept_there:
            continue
        deleted = deletes(backend, child)
        if deleted and NOTIFY not in kept_there:
            yield child, NOTIFY, str(int(notifies(backend, child)))
        if name == AUTO_DELETE:
            yield child, AUTO_DELETE, str(int(deleted))


def _flag(backend: Backend, place: Place, file: str, text: str) -> str:
    try:
        return FLAG.show(FLAG.parse(text))
    except (ValueError, OverflowError) as err:
        where = backend.show(place, file)
        raise WriteRefused(EINVAL, os.strerror(EINVAL), where) from err


def _plan_agent(backend: Backend, place: Place, text: str) -> Plan:
    program = text.strip()
    check_agent(program)
    if place.is_root and is_armed(backend, place.tree):
        return Plan(((place, AGENT, program),))
    return Plan(follows=((place, AGENT, text),))


def check_agent(program: str) -> None:
    """BadValue for a program that the kernel could be made to run for others than root.

    Whoever can write a directory on the way to it, or a link, can put another one in its place.
    """
    if not program:
        return
    if not program.startswith("/"):
        raise BadValue(
            f"a release agent must be an absolute path, and {program!r} is not",
            hint="write the path from / on, since the kernel runs it",
        )
    if weak := ownership.weak_point(program):
        raise BadValue(
            f"the kernel would run {program} as root, and users other than root can change "
            f"{weak.path} (owner {weak.owner}, mode {weak.mode:o})",
            path=weak.path,
            hint="put it where only root can write, such as /usr/local/sbin",
        )


def runs_nothing(program: str) -> str:
    """Why the kernel would run nothing for this release agent, which it accepts; empty if it would.

    The text of release_agent is one path: there are no arguments in it.
    """
    if not program or not program.startswith("/"):
        return ""
    try:
        found = os.stat(program)
    except OSError as err:
        if "\n" not in program and " " in program and os.path.exists(program.split()[0]):
            return f"{program!r} is taken for one path: a release agent has no arguments"
        return f"{program}: {os.strerror(err.errno or 0)}"
    if not stat.S_ISREG(found.st_mode):
        return f"{program} is not a file"
    return "" if found.st_mode & 0o111 else f"{program} is not executable"


class _Deleting:
    """A backend that answers for auto_delete, too."""

    def __init__(self, backend: Backend) -> None:
        self._below = backend
        self._ours: set[str] | None = None

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._below, verb)

    @property
    def inner(self) -> Backend:
        """The backend that this one stands on."""
        return self._below

    @property
    def _self(self) -> Backend:
        return cast(Backend, self)

    def trees(self) -> tuple[Tree, ...]:
        """What is there; which of them are pcont's is known until somebody asks again."""
        found = self._below.trees()
        self._ours = {tree.id for tree in found if is_ours(tree)}
        return found

    def _has(self, place: Place) -> bool:
        if self._ours is None:
            self.trees()
        return place.tree in (self._ours or ()) and is_lacking(self._below)

    def files(self, place: Place) -> dict[str, bool]:
        """With auto_delete, where it can be."""
        found = self._below.files(place)
        return {AUTO_DELETE: True, **found} if self._has(place) else found

    def read(self, place: Place, file: str) -> str:
        """The whole text of a control file."""
        if file != AUTO_DELETE or not is_lacking(self._below):
            return self._below.read(place, file)
        if not self._has(place):
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), self._below.show(place, file))
        return f"{int(deletes(self._below, place))}\n"

    def write(self, place: Place, file: str, text: str) -> None:
        """One write(2); or what auto_delete comes to, one after the other."""
        if file != AUTO_DELETE or not is_lacking(self._below):
            self._below.write(place, file, text)
        else:
            virtual_files.write_all(self._below, plan_flag(self._self, place, file, text))
