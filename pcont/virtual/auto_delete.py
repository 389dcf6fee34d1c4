"""auto_delete: remove a container when it becomes empty, with the kernel's release agent.

The 2006 patch announced auto_delete (patch semantics, 6.4), but no kernel has it. The kernel runs
the release agent of a hierarchy for each container with notify_on_release=1 that becomes empty. For
a container with auto_delete, pcont sets that flag and installs its own agent. The values that the
user has set for flag and agent are stored in attributes of the container, which `pcont get` and
`pcont set` use.

A new container inherits the flags of its parent, as in the kernel. Other programs may create
containers without the attribute, so an absent attribute means the value of the nearest parent that
has it. Before pcont changes a flag, it writes the old value to those children that have no
attribute.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from errno import EINVAL, ENOENT
from typing import TYPE_CHECKING

from pcont.errors import BadValue
from pcont.kernel.refusals import refuse, refuse_text
from pcont.kernel.types import Place, Tree
from pcont.subsys import AGENT, AUTO_DELETE, NOTIFY
from pcont.trust import ownership
from pcont.values import FLAG
from pcont.virtual.changes import AttributeChange, Change, FileWrite
from pcont.virtual.site import row_of

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader, Subsystems

FILES = (AUTO_DELETE, NOTIFY, AGENT)


def is_lacking(backend: Subsystems) -> bool:
    """Return whether pcont provides auto_delete because the kernel lacks it; the 2006
    model has it.
    """
    row = row_of(backend, AUTO_DELETE)
    return row is not None and row.virtual.everywhere


def is_ours(tree: Tree) -> bool:
    """Return whether pcont made every mount of a hierarchy, and so may set its release agent.

    A container can have auto_delete only in such a hierarchy.
    """
    return tree.mounted and all(mount.ours for mount in tree.mounts)


def deletes(backend: ContainerReader, place: Place) -> bool:
    """Return whether auto_delete applies to a container. The root's flag applies to its children
    only.
    """
    return _nearest(backend, place, AUTO_DELETE) == "1"


def notifies(backend: ContainerReader, place: Place) -> bool:
    """Return whether the user's release agent runs when the container becomes empty."""
    if deletes(backend, place):
        return _nearest(backend, place, NOTIFY) == "1"
    return backend.read(place, NOTIFY).strip() == "1"


def agent(backend: CgroupState, tree: str) -> str:
    """Return the release agent that the user has set for a hierarchy; empty if there is none."""
    program = _kernels_agent(backend, tree)
    if program == backend.releases.program(tree):
        return backend.attributes(Place(tree)).get(AGENT, "")
    return program


def _is_armed(backend: CgroupState, tree: str) -> bool:
    """Return whether the kernel reports empty containers of a hierarchy to pcont."""
    return _kernels_agent(backend, tree) == backend.releases.program(tree)


def _kernels_agent(backend: ContainerReader, tree: str) -> str:
    return backend.read(Place(tree), AGENT).rstrip("\n")


def _nearest(backend: ContainerReader, place: Place, name: str) -> str:
    """Return the attribute of a container, or of the nearest parent that has it; "0"
    without any.
    """
    while True:
        found = backend.attributes(place).get(name)
        if found is not None or place.is_root:
            return found or "0"
        place = place.parent


class AutoDeleteFile:
    """One of FILES in a container, with the value that the user has set.

    `ours`: returns whether pcont mounted the hierarchy; called only if the answer is needed.
    """

    def __init__(
        self, backend: CgroupState, place: Place, file: str, ours: Callable[[], bool]
    ) -> None:
        self.backend = backend
        self.place = place
        self.file = file
        self._ours = ours

    def read(self) -> str:
        """Return the text of the file.

        Raises FileNotFoundError for auto_delete in a hierarchy that pcont did not mount.
        """
        if self.file == AUTO_DELETE:
            self._check_ours()
            return f"{int(deletes(self.backend, self.place))}\n"
        if self.file == NOTIFY:
            return f"{int(notifies(self.backend, self.place))}\n"
        if self.place.is_root:
            return f"{agent(self.backend, self.place.tree)}\n"
        return self.backend.read(self.place, self.file)

    def plan_write(self, text: str) -> tuple[Change, ...]:
        """Return the changes that a write of `text` consists of.

        Raises OSError as the kernel would, and BadValue for an agent that users other than root can
        replace.
        """
        if self.file == AGENT:
            return _plan_agent(self.backend, self.place, text)
        if self.file == NOTIFY:
            return self._plan_notify(text)
        wanted = _flag(self.backend, self.place, self.file, text)
        self._check_ours()
        if wanted == str(int(deletes(self.backend, self.place))):
            return (AttributeChange(self.place, self.file, wanted),)
        return self._plan_set() if wanted == "1" else self._plan_clear()

    def _check_ours(self) -> None:
        if not self._ours():
            refuse(ENOENT, self.backend.show(self.place, self.file))

    def _plan_notify(self, text: str) -> tuple[Change, ...]:
        if not deletes(self.backend, self.place):
            return (FileWrite(self.place, self.file, text),)
        wanted = _flag(self.backend, self.place, self.file, text)
        younger = _children_as_they_are(self.backend, self.place, NOTIFY)
        return (*younger, AttributeChange(self.place, NOTIFY, wanted))

    def _plan_set(self) -> tuple[Change, ...]:
        place, armed = self.place, arming(self.backend, self.place.tree)
        return (
            *_children_as_they_are(self.backend, place, AUTO_DELETE),
            *(one for one in armed if isinstance(one, AttributeChange)),
            AttributeChange(place, NOTIFY, self._notify()),
            AttributeChange(place, AUTO_DELETE, "1"),
            *(one for one in armed if isinstance(one, FileWrite)),
            FileWrite(place, NOTIFY, "1"),
        )

    def _plan_clear(self) -> tuple[Change, ...]:
        place = self.place
        return (
            *_children_as_they_are(self.backend, place, AUTO_DELETE),
            AttributeChange(place, AUTO_DELETE, "0"),
            AttributeChange(place, NOTIFY, None),
            FileWrite(place, NOTIFY, self._notify()),
        )

    def _notify(self) -> str:
        return str(int(notifies(self.backend, self.place)))


def arming(backend: CgroupState, tree: str) -> tuple[Change, ...]:
    """Return the changes that make the kernel report empty containers to pcont; none if it already
    does.
    """
    root, before = Place(tree), _kernels_agent(backend, tree)
    program = backend.releases.program(tree)
    if before == program:
        return ()
    return (AttributeChange(root, AGENT, before), FileWrite(root, AGENT, program))


def _children_as_they_are(
    backend: ContainerReader, place: Place, name: str
) -> Iterator[AttributeChange]:
    """Yield the attributes that keep the present value of children which inherit a value that is
    about to change.
    """
    for child in map(place.child, backend.children(place)):
        kept_there = backend.attributes(child)
        if AUTO_DELETE in kept_there or name in kept_there:
            continue
        deleted = deletes(backend, child)
        if deleted and NOTIFY not in kept_there:
            yield AttributeChange(child, NOTIFY, str(int(notifies(backend, child))))
        if name == AUTO_DELETE:
            yield AttributeChange(child, AUTO_DELETE, str(int(deleted)))


def _flag(backend: ContainerReader, place: Place, file: str, text: str) -> str:
    try:
        return FLAG.show(FLAG.parse(text))
    except (ValueError, OverflowError) as err:
        refuse_text(EINVAL, backend.show(place, file), err)


def _plan_agent(backend: CgroupState, place: Place, text: str) -> tuple[Change, ...]:
    program = text.strip()
    check_agent(program)
    if place.is_root and _is_armed(backend, place.tree):
        return (AttributeChange(place, AGENT, program),)
    return (FileWrite(place, AGENT, text),)


def check_agent(program: str) -> None:
    """Raise BadValue for a program that users other than root can replace.

    A user that can write to a directory or a link on the way to the program can replace it.
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
    """Return why the kernel would run nothing for this release agent, although it accepts the text;
    empty if it would run it.

    The kernel takes the text as one path, without arguments.
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
