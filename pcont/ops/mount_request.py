"""The request of a mount, checked by the patch's rules, and the steps that all mounts share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple
from pcont.errors import (
    BadValue,
    BadWord,
    Busy,
    UnknownName,
    Unsupported,
    UsageProblem,
    from_oserror,
)
from pcont.hierarchy.container import Hierarchy
from pcont.hierarchy.registry import ONLY_V2, REHEARSE, OptionString, Registry
from pcont.kernel.busy import NOT_EMPTY
from pcont.kernel.paths import overlap
from pcont.kernel.types import Place, TreeRequest
from pcont.ops.cpuset_memset import CpusetMemset
from pcont.session import Session
from pcont.steps.enforcement import StartEnforcement
from pcont.steps.mounts import MakeDirectory, MountTree
from pcont.steps.write import Setting, WriteFiles
from pcont.steps.xattr import SetXattr
from pcont.subsys import memset
from pcont.subsys.cpuset import CPUSET
from pcont.subsys.memset import MEMSET
from pcont.subsys.numtasks import NUMTASKS
from pcont.transaction.step import Step
from pcont.virtual.bindings import BINDINGS, NO_TIE, binding_lines, bindings_in, with_holder

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader, Subsystems

# kernel/cgroup/cgroup-v1.c, cgroup1_parse_param(); not like a word for a directory or an option.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")


class MountRequest(NamedTuple):
    """What the caller of mount asks for, checked.

    `virtual`: the subsystems that pcont provides itself; some require a controller.
    `cpuset_memset`: which of cpuset and memset the caller named. `notify`: set notify_on_release=1
    of the root, which new containers inherit.
    """

    controllers: tuple[str, ...]
    virtual: tuple[str, ...]
    name: str
    point: str
    release_agent: str
    at: str
    freezer: bool
    cpuset_memset: CpusetMemset
    notify: bool = False

    @property
    def subsystems(self) -> tuple[str, ...]:
        """All subsystems of the request."""
        return (*self.controllers, *self.virtual)


def requested_subsystems(registry: Registry, options: OptionString) -> tuple[str, ...]:
    """Return the subsystems that an option string names, in the kernel's order.

    A subsystem that pcont provides is included if it is named, together with the controller that it
    requires.
    """
    words, known = options.words, registry.known_subsystems()
    if not all(words):
        raise BadWord(f"empty name in {options.text!r}")
    unknown = [word for word in words if word not in (*known, "all", "none")]
    for word in unknown:
        subsys.by_key(word)  # raises the reason, for a broken subsystem of another package
    if unknown:
        raise UnknownName(
            f"no subsystem {', '.join(map(repr, unknown))}", hint=f"known: {', '.join(known)}"
        )
    if "none" in words and len(set(words)) > 1:
        raise BadWord(f"none excludes every other subsystem: {options.text!r}")
    virtual = registry.virtual_in(words)
    asked = {*words, *map(subsys.requires, virtual)}
    for word in virtual:
        if subsys.is_enforced(word) and not subsys.requires(word):
            registry.backend.enforcer.check(word)
    if "all" in words:
        asked |= {one for one in known if not registry.virtual_in([one])}
        asked -= {"blkio"} if "io" in asked else set()
    return tuple(one for one in known if one in asked)


def split_virtual(
    registry: Registry, names: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the kernel's controllers, and the subsystems that pcont provides."""
    all_names = list(names)
    virtual = registry.virtual_in(all_names)
    return tuple(name for name in all_names if name not in virtual), virtual


def lineage(root: Place, path: str) -> list[Place]:
    """Return the containers on the path, itself the last; none for the root."""
    words = path.strip("/").split("/") if path != "/" else []
    return [root.elsewhere("/" + "/".join(words[: end + 1])) for end in range(len(words))]


def virtual_bind_steps(
    backend: ContainerReader,
    virtual: Sequence[str],
    roots: Sequence[Place],
    holder: str,
    cpuset_memset: CpusetMemset,
) -> list[Step]:
    """Return the steps that bind the subsystems `virtual`, which pcont provides, to the roots of
    trees.

    `roots`: the root container in each tree, that of the hierarchy's own tree first. A subsystem
    that requires a controller is bound in the tree of that controller, any other in the first tree.
    `holder`: the name of the hierarchy, which the other trees record as the user of the binding.
    `cpuset_memset`: the subset of cpuset and memset that the hierarchy has after the bind.
    """
    steps: list[Step] = []
    for root in roots:
        own = NO_TIE if root == roots[0] else ""
        has = [*root.controllers, *[""] * bool(own)]
        mine = [name for name in virtual if subsys.requires(name) in has]
        action = f"bind {', '.join(mine)}"
        enforced = [name for name in mine if subsys.is_enforced(name)]
        steps += [
            StartEnforcement(name, root, action, bool(subsys.requires(name))) for name in enforced
        ]
        if mine:
            text = binding_lines(
                with_holder(bindings_in(backend, root.tree), root, mine, own or holder)
            )
            steps.append(SetXattr(root.root, BINDINGS, text, action))
        if MEMSET in mine and CPUSET in cpuset_memset:
            steps.append(SetXattr(root, memset.CPUS_FOLLOW, "0", action))
    return steps


def check_name(registry: Registry, name: str, lent: bool = False) -> None:
    """Raise BadValue for a name that a hierarchy cannot have.

    `lent`: it is the name of its only subsystem, which pcont provides.
    """
    if not name:
        return
    if not NAME.fullmatch(name):
        raise BadWord(
            f"not a name for a hierarchy: {name!r}. Use 1 to 63 letters, digits, dots, dashes and "
            "underscores; the first must not be a dot or a dash"
        )
    taken_words = (
        *registry.v2_controllers,
        *(one.name for one in registry.controllers),
        *subsys.virtual_names(),
        *subsys.RESERVED,
    )
    if name in taken_words and not lent:
        raise BadValue(f"{name!r} is reserved, or the name of a subsystem")


def refuse_unified(session: Session, registry: Registry, names: Iterable[str]) -> None:
    """Raise Unsupported for controllers that cgroup v2 has: taking them for v1 could break programs
    on v2.

    If the caller named the backend, or forces it, print a warning instead; raise Busy for a
    controller in use.
    """
    wanted = {*names}
    if "io" in wanted:
        raise Unsupported("cgroup v1 calls io blkio", hint="name blkio")
    there = [one.name for one in registry.controllers if one.unified and one.name in wanted]
    if not there:
        return
    from pcont.ops.users_of_v2 import cannot_take, in_use_by, users_of

    users = users_of(registry, there)
    if not (session.chosen or session.force):
        message = f"{', '.join(there)}: {ONLY_V2}{in_use_by(users)}"
        called = "cgroup v2 calls blkio io: name io; " * any(map(registry.is_io_of_v2, there))
        raise Unsupported(message, hint=called + REHEARSE)
    if users:
        raise cannot_take(users, there)
    option = "--backend cgroupfs" if session.chosen else "--force"
    session.warn(f"{option} takes {', '.join(there)} from cgroup v2 for v1")


def refuse_virtual(virtual: Iterable[str], names: Sequence[str]) -> None:
    """Raise Unsupported for subsystems that pcont provides over controllers of v1 only: those of
    other packages.
    """
    others = [name for name in virtual if name not in (NUMTASKS, MEMSET)]
    lent = [name for name in others if subsys.requires(name) in names]
    if lent:
        raise Unsupported(
            f"pcont does not provide {', '.join(lent)} over cgroup v2",
            hint="leave out " + ", ".join(lent),
        )


def whereabouts(one: Hierarchy) -> str:
    """Return the name of a hierarchy, and where it is mounted."""
    points = [mount.point for mount in one.members[0].tree.mounts]
    return f"{one.name} " + (f"at {', '.join(points)}" if points else "(active, not mounted)")


def mountpoint(backend: Subsystems, words: Sequence[str], options: str | None = None) -> str:
    """Return the absolute directory of a MOUNTPOINT argument; empty without arguments.

    Raises UsageProblem for several words, for the name of a subsystem, as in `-o cpuset cpuacct`,
    and for a relative directory that does not start with `./`.
    """
    taken = [
        *(one.name for one in backend.controllers()),
        *backend.virtual_subsystems(),
        *subsys.virtual_names(),
    ]
    if words and all(subsys.called(part) in taken for part in words[0].split(",")):
        asked = [part for part in (options or "").split(",") if part]
        asked += [part for word in words for part in word.split(",") if part and "/" not in part]
        hint = f"did you mean -o {','.join(dict.fromkeys(asked))}"
        if options is None:
            hint += f": pcont mount -o {','.join(dict.fromkeys(asked))}"
        raise UsageProblem(f"{words[0]} is a subsystem, not a MOUNTPOINT", hint=hint)
    if len(words) > 1:
        raise UsageProblem(f"more than one MOUNTPOINT: {' '.join(words)}")
    point = words[0] if words else ""
    if point and not point.startswith(("/", "./")):
        raise UsageProblem(
            f"a MOUNTPOINT is absolute, or starts with ./: {point!r}",
            hint=f"did you mean {os.path.abspath(point)}",
        )
    return os.path.abspath(point) if point else ""


def mount_steps(session: Session, request: TreeRequest, point: str = "") -> list[Step]:
    """Return the steps that mount a hierarchy at a directory, by default the usual one for it.

    Raises Busy if something is mounted there, and without --force if the directory is not empty;
    NotFound (ENOTDIR) for a file.
    """
    backend, usual = session.backend, not point
    point = point or backend.default_directory(request.name or ",".join(request.controllers))
    action = f"mount {request.options} at {point}"
    try:
        reason = backend.occupied(point, entries=usual or not session.force)
    except OSError as err:
        raise from_oserror(err, action) from err
    if reason:
        raise Busy(
            f"cannot {action}: {reason}", path=point, hint=_elsewhere(request, usual, reason)
        )
    missing = backend.missing(point)
    made: list[Step] = [MakeDirectory(directory, action) for directory in missing]
    return [*made, MountTree(request, point, action, made=len(missing))]


def _elsewhere(request: TreeRequest, usual: bool, reason: str) -> str:
    """Return the hint for a directory that cannot be mounted on."""
    if usual:
        name = f" --name {request.name}" if request.name else ""
        words = f"pcont mount -o {','.join(request.controllers) or 'none'}{name} MOUNTPOINT"
        return f"mount it at an empty directory: {words}"
    force = "; --force hides what is in it until umount" if reason == NOT_EMPTY else ""
    return f"name an empty directory as MOUNTPOINT{force}"


def check_apart(steps: Iterable[Step]) -> None:
    """Raise Busy if a command would mount one of its hierarchies over, or inside of, another."""
    points = [step.point for step in steps if isinstance(step, MountTree)]
    for number, point in enumerate(points):
        for other in points[:number]:
            if overlap(point, other):
                raise Busy(
                    f"cannot mount at {other}: another hierarchy of this command is mounted at "
                    f"{point}",
                    path=other,
                    hint="name another MOUNTPOINT",
                )


def point_of(steps: Iterable[Step]) -> str:
    """Return the first mount point of these steps."""
    return next(step.point for step in steps if isinstance(step, MountTree))


def agent_steps(request: MountRequest, tree: str) -> list[Step]:
    """Return the step that sets the release agent and its flag, if they were asked for."""
    root, settings = Place(tree), []
    # release_agent= as a mount option is ignored on a hierarchy that exists; the file is not.
    if request.release_agent:
        settings.append(Setting(root, subsys.AGENT, request.release_agent))
    if request.notify:
        settings.append(Setting(root, subsys.NOTIFY, "1"))
    return [WriteFiles(settings, f"set the release agent of {tree}")] if settings else []
