"""Explain a refusal by the kernel: find the broken rule in the tables, and return an error with
reason and hint.

These functions decide nothing. The kernel has refused before they are called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from errno import (
    EACCES,
    EAGAIN,
    EBADF,
    EBUSY,
    EEXIST,
    EINVAL,
    ENAMETOOLONG,
    ENFILE,
    ENODEV,
    ENOENT,
    ENOSPC,
    EOPNOTSUPP,
    EPERM,
    ESRCH,
)
from shlex import quote
from typing import TYPE_CHECKING, Any

from pcont import subsys
from pcont.errors import (
    BY_ERRNO,
    BY_WRITTEN,
    BadValue,
    Denied,
    LimitReached,
    NotFound,
    PcontError,
    Unsupported,
    from_oserror,
    shortened,
)
from pcont.hierarchy import keys
from pcont.kernel.paths import below
from pcont.kernel.refusals import WriteRefused, exists
from pcont.kernel.types import PID_MAX, PID_MAX_LIMIT, Place
from pcont.subsys import cpuset, freezer, pids
from pcont.tables.control_file import ControlFile
from pcont.tables.rules import Fix, Proposed, Violation
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import LiveSite, entry_of, row_of, table_of
from pcont.virtual.translated import TranslatedFile

if TYPE_CHECKING:
    from pcont.kernel.interfaces import (
        Backend,
        CgroupState,
        ContainerReader,
        Driver,
        Host,
        MountedContainers,
        Programs,
        Tasks,
    )


def make_refusal(backend: CgroupState, place: Place, err: OSError, action: str) -> PcontError:
    """Return the error for a container that could not be created.

    In this module `err` is the OSError of the backend, and `action` what was attempted, as in
    "create cpu:/a".
    """
    reason, hint = "", ""
    with contextlib.suppress(OSError, ValueError):
        files = ControlFiles(backend)
        violation = files.crowded(place) or files.making(place)
        if violation and violation.errno == err.errno:
            reason, hint = violation.reason, _help(violation, place)
    if err.errno == EEXIST:
        reason, hint = _occupied(backend, place)
    elif err.errno == ENOENT:
        reason, hint = f"there is no {place.parent.shown}", f"pcont create -p {place.word}"
        if keys.is_control_file(backend, place.parent):
            reason, hint = _occupied(backend, place.parent)
    elif err.errno == ENAMETOOLONG:
        reason = "the directory's path is too long, the kernel takes up to 4095 bytes"
    return from_oserror(err, action, reason, hint)


def _occupied(backend: ContainerReader, place: Place) -> tuple[str, str]:
    """Return reason and hint for a new container whose name is in use."""
    if place.is_root:
        return "it is the root of the hierarchy", f"pcont create {place.child('NAME').word}"
    if exists(backend, place):
        return "it exists already", f"pcont create -p {place.word}"
    return (
        f"the kernel has a control file {place.name!r} in {place.parent.shown}",
        "control files and containers share the directory: choose another name",
    )


def remove_refusal(backend: Backend, place: Place, err: OSError, action: str) -> PcontError:
    """Return the error for a container that could not be removed. `action` names what was
    attempted.
    """
    reason, hint = "", ""
    if err.errno == EBUSY:
        with contextlib.suppress(OSError):
            reason, hint = in_use(backend, place)
        if not reason:
            reason, hint = _mounted_on(backend, place)
    return from_oserror(err, action, reason, hint)


def _mounted_on(backend: MountedContainers, place: Place) -> tuple[str, str]:
    """Return reason and hint if the directory of a container is a mount point; otherwise empty
    texts.
    """
    path = backend.show(place)
    with contextlib.suppress(OSError):
        if backend.occupied(path, entries=False):
            return "something is mounted on it", f"umount {quote(path)}"
    return "", ""


def in_use(backend: CgroupState, place: Place) -> tuple[str, str]:
    """Return what keeps a container from being removed, and a hint; empty texts if nothing does.

    That can be its tasks, its children, or a rule of a controller.
    """
    tasks, children = backend.read(place, "tasks").split(), backend.children(place)
    if tasks:
        return tasks_inside(tasks, place.word)
    return (
        children_inside(children, place.word)
        if children
        else held_back(ControlFiles(backend), place)
    )


def held_back(files: ControlFiles, place: Place) -> tuple[str, str]:
    """Return the reason why a controller refuses the removal of a container, and a hint; empty
    texts if none does.
    """
    violation = files.removing(place)
    return (violation.reason, violation.hint) if violation else ("", "")


def tasks_inside(tasks: list[str], words: str) -> tuple[str, str]:
    """Return reason and hint for a container with tasks. `words`: the arguments of `pcont rm` for
    the hint.
    """
    return (
        f"tasks are in it: {shortened(sorted(tasks, key=int))}",  # v2 lists them in any order
        f"move them to the parent: pcont rm --evict {words}; kill them: pcont rm --kill {words}",
    )


def children_inside(names: list[str], words: str) -> tuple[str, str]:
    """Return reason and hint for a container with children. `words`: the arguments of `pcont rm`
    for the hint.
    """
    return f"containers are in it: {shortened(names)}", f"remove them, too: pcont rm -r {words}"


def write_refusal(
    backend: CgroupState, place: Place, file: str, text: str, err: OSError
) -> PcontError:
    """Return the error for a refused write of `text`: it names the file, the old and the new value,
    and the broken rule.
    """
    if err.errno == ENOENT and not isinstance(err, WriteRefused):
        return _no_file(backend, place, file, err)
    wanted, now = text.rstrip("\n"), "unreadable"
    with contextlib.suppress(OSError):
        now = ControlFiles(backend).read(place, file).rstrip("\n").replace("\n", "; ")
    row = row_of(backend, file, place.tree) or subsys.row(file)
    change = f"to {wanted!r}" if row and row.undo.many else f"from {now!r} to {wanted!r}"
    action = f"set {file} of {place.shown} {change}"
    if err.errno == EOPNOTSUPP and row and row.virtual.enforced:
        return from_oserror(err, action, *_without_programs(backend, place, file))
    if not isinstance(err, WriteRefused):
        return from_oserror(err, action)
    violation = _broken_rule(backend, place, file, wanted, err.errno or 0)
    if violation is None:
        return from_oserror(err, action, kinds=BY_WRITTEN)
    # EPERM is a rule of the container here, not missing privileges of the caller.
    kinds = {**BY_WRITTEN, EPERM: BadValue}
    return from_oserror(err, action, violation.reason, _help(violation, place), kinds)


def unmet(
    files: ControlFiles, place: Place, file: str, text: str, created: bool = False
) -> tuple[str, str]:
    """Return why the kernel does not do what it accepted, and a hint; empty texts if it does.

    `text`: what the file reads. `created`: the command created the container, and undo removes it.
    """
    row = row_of(files.backend, file, place.tree)
    with contextlib.suppress(OSError, ValueError):
        violation = (
            row.advice.unmet(files.site(place, file), text) if row and row.advice.unmet else None
        )
        return (violation.reason, _help(violation, place, created)) if violation else ("", "")
    return text.strip(), ""  # the container changes at the same time


def _command(place: Place, fix: Fix, created: bool) -> str:
    target = place.elsewhere(fix.path)
    values = [quote(f"{file}={value}") for file, value in fix.values]
    if created and target == place:
        return " ".join([f"pcont create {target.word}", *(f"-s {one}" for one in values)])
    return " ".join([f"pcont set {target.word}", *values])


def _help(violation: Violation, place: Place, created: bool = False) -> str:
    """Return the hint for a broken rule: commands to paste, then words. `created`: the container is
    one that the command created.
    """
    commands = [_command(place, fix, created) for fix in violation.fixes]
    return "; ".join(filter(None, (" && ".join(commands), violation.hint)))


def _without_programs(backend: Programs, place: Place, file: str) -> tuple[str, str]:
    """Return reason and hint if no eBPF program enforces a file."""
    try:
        backend.enforcer.check(file)
    except Unsupported as why:
        return why.what, why.hint
    name = subsys.of(file)
    selector = place.shown.partition(":")[0]
    return (
        f"{name} was bound without its programs",
        f"bind it again: pcont unbind --yes {selector} {name}; pcont bind {selector} {name}",
    )


def _no_file(backend: CgroupState, place: Place, file: str, err: OSError) -> PcontError:
    if file == subsys.AUTO_DELETE:
        return keys.no_auto_delete(place.shown)
    hint = ""
    with contextlib.suppress(OSError):
        hint = keys.near(file, ControlFiles(backend).names(place))
    return from_oserror(err, f"set {file}: {place.shown} has no such file", hint=hint)


def _broken_rule(
    backend: CgroupState, place: Place, file: str, wanted: str, errno: int
) -> Violation | None:
    files = ControlFiles(backend)
    if isinstance(found := files.resolve(place, file), TranslatedFile):
        return _broken_there(backend, files.site(place, file), found, wanted, errno)
    row = row_of(backend, file, place.tree)
    if row is None:
        return None
    if row.virtual.stands_for:
        return _broken_rule(backend, place, row.virtual.stands_for, wanted, errno)
    if not row.access.writable:
        return Violation(errno, f"it can only be read: {row.help}")
    if row.access.root_fixed and place.is_root:
        return Violation(errno, row.access.root_fixed)
    site = files.site(place, file)
    if row.undo.many and not wanted.strip():
        return _unreadable(backend, site, row, wanted, errno, ValueError())
    return _against(backend, site, row, wanted, errno)


def _broken_there(
    backend: CgroupState, site: LiveSite, file: TranslatedFile, wanted: str, errno: int
) -> Violation | None:
    """Return the violation of a text for a KEY that has its value in other files; None if there is
    none. It asks the rules of the KEY first, then those of the other files.
    """
    row = file.row
    if row and not row.access.writable:
        return Violation(errno, f"it can only be read: {row.help}")
    violation = _against(backend, site, row, wanted, errno) if row else None
    for write in () if violation else file.writes(wanted):
        violation = violation or _broken_rule(backend, site.place, write.file, write.text, errno)
    return violation


def _against(
    backend: Host, site: LiveSite, row: ControlFile, wanted: str, errno: int
) -> Violation | None:
    """Return the violation of a text, by a rule or because it cannot be parsed; None if there is
    none.
    """
    # The reason of a rule is better than "the file takes …", so rules are asked with both readings.
    for codec in dict.fromkeys((row.type, row.reader(backend.machine()))):
        try:
            value = codec.parse(wanted)
        except (ValueError, OverflowError) as err:
            return _unreadable(backend, site, row, wanted, errno, err)
        if violation := _breach(site, row, value, errno):
            return violation
    return None


def _unreadable(
    backend: Host,
    site: LiveSite,
    row: ControlFile,
    wanted: str,
    errno: int,
    err: ValueError | OverflowError,
) -> Violation:
    """Return the violation for a text that is no value of the file. Its fix is the value that was
    probably meant.
    """
    fixes: tuple[Fix, ...] = ()
    with contextlib.suppress(OSError, ValueError, OverflowError):
        meant = row.advice.mend(site, wanted) if row.advice.mend else ""
        row.type.parse(meant)
        fixes = (Fix(site.path, ((row.name, meant),)),) if meant else ()
    if isinstance(err, OverflowError) and row.advice.larger:
        return Violation(errno, row.advice.larger(backend.machine()))
    # With these errnos the device that the value names may be the reason.
    for rule in row.rules if errno in (ENODEV, EOPNOTSUPP) else ():
        with contextlib.suppress(OSError, ValueError):
            violation = rule(site, Proposed(site, row.name, wanted))
            if violation and violation.errno == errno:
                return violation
    reason = f"the file takes {row.type.takes} ({row.help})"
    if row.advice.strict and str(err):
        reason = f"{err}; {reason}"
    return Violation(errno, reason, fixes=fixes)


def _breach(now: LiveSite, row: ControlFile, value: Any, errno: int) -> Violation | None:
    """Return the first violation of a value with this errno; None if there is none."""
    with contextlib.suppress(OSError, ValueError):
        file = row.name
        value = row.merged(now, value)
        for rule in row.rules:
            violation = rule(now, Proposed(now, file, value))
            if violation and violation.errno == errno:
                return violation
    return None


def enter_refusal(
    backend: CgroupState, place: Place, task: int, err: OSError, action: str
) -> PcontError:
    """Return the error for a task that could not be moved into a container. `action` names what was
    attempted.
    """
    if not isinstance(err, WriteRefused):
        return from_oserror(err, action)
    number = err.errno or 0
    violation = _no_entry(backend, place, task, number)
    if place.is_unified:
        violation = violation or _not_into_v2(backend, place, task, number)
    violation = violation or _refuses(backend, task, number)
    reason, hint = (violation.reason, _help(violation, place)) if violation else ("", "")
    kinds = {**BY_WRITTEN, EACCES: Denied}
    return from_oserror(err, action, reason, hint, kinds=kinds)


def closed(backend: CgroupState, places: Iterable[Place]) -> tuple[str, str]:
    """Return why no task at all can enter the containers, and a hint; empty texts if tasks can."""
    for place in places:
        # On cgroup v2, an empty list means that of the parent.
        if cpuset.CPUSET in place.controllers and not place.is_unified:
            violation = cpuset.lacks_cpus_or_nodes(ControlFiles(backend).site(place, cpuset.CPUS))
            if violation:
                return violation.reason, _help(violation, place)
    return "", ""


def _no_entry(backend: CgroupState, place: Place, task: int, errno: int) -> Violation | None:
    with contextlib.suppress(OSError, ValueError):
        files = ControlFiles(backend)
        for name in ("", *place.controllers, *files.roots(place)):
            table, site = table_of(backend, place.tree, name), files.site(place, name)
            for rule in table.entry if table else ():
                violation = rule(entry_of(backend, site, task))
                if violation and violation.errno == errno:
                    return violation
    return None


def _not_into_v2(backend: CgroupState, place: Place, task: int, errno: int) -> Violation | None:
    """Return why a task cannot enter a container of cgroup v2; None if that is not known."""
    if errno == EOPNOTSUPP:
        reason = "cgroup v2 moves a thread without its process only within a threaded container"
        return Violation(errno, reason, f"pcont attach {place.word} {task}")
    if errno == ENOSPC:
        return _without_cpus(backend, place, task)
    if errno != EACCES:
        return None
    with contextlib.suppress(OSError):
        there = place.elsewhere(backend.membership(task).get(place.tree, "/"))
        above = place
        while below(there.path, above.path) is None:
            above = above.parent
        if backend.may_change(place) and not backend.may_change(above):
            reason = (
                f"you may move tasks into {place.shown}, but not out of {above.shown}, the nearest "
                f"common parent of {place.shown} and {there.shown}, where task {task} is"
            )
            return Violation(errno, reason, f"sudo pcont attach {place.word} {task}")
    return None


def _without_cpus(backend: ContainerReader, place: Place, task: int) -> Violation:
    """Explain that the kernel accepts no task in a container without a CPU: it is a partition that
    has given its CPUs to partitions below it.
    """
    from pcont.subsys.partitions import VALID  # for partitions only

    reason = f"{place.shown} has no CPU left: it has given them to partitions below it"
    with contextlib.suppress(OSError):
        for child in map(place.child, backend.children(place)):
            if backend.read(child, subsys.PARTITION).strip() in VALID:
                return Violation(ENOSPC, reason, f"pcont attach {child.word} {task}")
    return Violation(ENOSPC, reason)


def _refuses(backend: Tasks, task: int, errno: int) -> Violation | None:
    with contextlib.suppress(OSError):
        known = backend.task(task)
        if known.kernel and errno == EINVAL:
            reason = f"{task} ({known.name}) is a kernel thread that cannot be moved"
            hint = "attach --movable and move --movable skip such threads"
            return Violation(errno, reason, hint)
    if errno in (EACCES, EPERM):
        return Violation(errno, f"{task} belongs to another user", "use sudo")
    if errno == ENOSPC:
        return Violation(errno, "cpuset.cpus or cpuset.mems of the container is empty")
    if errno == EINVAL:
        reason = "the container does not take this task (a real-time task needs cpu.rt_runtime_us)"
        return Violation(errno, reason)
    return None


def act_refusal(backend: Driver, task: int, err: OSError, action: str) -> PcontError:
    """Return the error for an action that a simulated task could not do (fork, open a file)."""
    reasons = {
        EAGAIN: ("the fork rate of its container is used up", ""),
        ESRCH: ("there is no such task", "make one: pcont sim fork"),
        EPERM: ("it is a task of this machine", "make one: pcont sim fork"),
        ENOSPC: ("the shares of its container, or the fork rate, are used up", ""),
        ENFILE: ("as many files are charged to its container as may be", ""),
        EBADF: ("its process holds no such file", ""),
        EBUSY: ("it is frozen", _thaw(backend, task)),
    }
    full = _full(backend, task, err) if err.errno == EAGAIN else None
    known = full or reasons.get(err.errno or 0)
    kinds = {**BY_ERRNO, ENOSPC: LimitReached, ENFILE: LimitReached, EBADF: NotFound}
    return from_oserror(err, action, *(known or ("", "")), kinds)


def frozen_by(backend: ContainerReader, place: Place) -> list[Place]:
    """Return the containers in which FROZEN was written: the place and its parents, the topmost
    first.

    Parents that the mount does not show are left out.
    """
    found: list[Place] = []
    while not place.is_root:
        with contextlib.suppress(FileNotFoundError):
            if backend.read(place, freezer.SELF).strip() == "1":
                found.insert(0, place)
        place = place.parent
    return found


def thawing_setting(place: Place) -> str:
    """Return the KEY=VALUE that thaws a container."""
    return "cgroup.freeze=0" if place.is_unified else f"{freezer.STATE}={freezer.THAWED}"


def _places_of(backend: Driver, task: int) -> list[Place]:
    """Return the containers that a task is in, one for each tree."""
    paths = backend.membership(task)
    return [Place.at(tree, paths[tree.id]) for tree in backend.trees() if tree.id in paths]


def _thaw(backend: Driver, task: int) -> str:
    """Return the commands that thaw a task."""
    with contextlib.suppress(OSError):
        for place in _places_of(backend, task):
            if place.can_freeze:
                frozen = frozen_by(backend, place)
                return " && ".join(f"pcont set {one.word} {thawing_setting(one)}" for one in frozen)
    return ""


def _full(backend: Driver, task: int, err: OSError) -> tuple[str, str] | None:
    """Return reason and hint of the limit of tasks that a fork has reached; None if it is none of
    the known ones.
    """
    if err.filename == PID_MAX:
        return f"all {PID_MAX_LIMIT} ids of tasks are in use", ""
    return _limited(backend, task)


def _limited(backend: Driver, task: int) -> tuple[str, str] | None:
    """Return reason and hint of the pids limit that the task's containers have reached; None if
    none has.
    """
    for place in (one for one in _places_of(backend, task) if pids.PIDS in one.controllers):
        while not place.is_root:
            with contextlib.suppress(FileNotFoundError):  # on cgroup v2, pids may not be enabled
                limit, there = (
                    backend.read(place, file).strip() for file in (pids.PIDS_MAX, pids.PIDS_CURRENT)
                )
                if limit != "max" and int(there) >= int(limit):
                    hint = f"pcont set {place.word} {pids.PIDS_MAX}={int(there) + 1}"
                    return f"{place.shown} has {there} tasks, and {pids.PIDS_MAX} is {limit}", hint
            place = place.parent
    return None
