"""The control files that every container of cgroup v2 has.

Source: the kernel's admin-guide/cgroup-v2.rst, and what Linux 6.12 and 6.18 were seen to answer.
The patch set of 2006 had nothing like it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import EAGAIN, EBUSY, EEXIST, EINVAL, ENOENT, EOPNOTSUPP, ERANGE

from pcont.tables.control_file import (
    BELOW_ROOT,
    SETTING_BELOW_ROOT,
    Access,
    ControlFile,
    Listed,
    Subsystem,
    Undo,
)
from pcont.tables.interface import Interface
from pcont.tables.rules import Entry, Fix, Mover, Rule, Site, Violation
from pcont.values import INTEGER, LIMIT, TEXT, WORD

TYPE, CONTROL, OFFERED = "cgroup.type", "cgroup.subtree_control", "cgroup.controllers"
MAX_DEPTH, MAX_DESCENDANTS, STAT = "cgroup.max.depth", "cgroup.max.descendants", "cgroup.stat"
FREEZE, KILL, PRESSURE = "cgroup.freeze", "cgroup.kill", "cgroup.pressure"
THREADED, INVALID = "threaded", "domain invalid"

INT_MAX = (1 << 31) - 1

# The controllers of cgroup v2, in the kernel's order.
CONTROLLERS = (*("cpuset", "cpu", "io", "memory", "perf_event", "hugetlb", "pids", "rdma", "misc"),)

# The controllers that single threads can have; every other one needs whole processes.
FOR_THREADS = ("cpu", "cpuset", "perf_event", "pids")
# Subsystems of v1 that every container of cgroup v2 has: cpu.stat counts, cgroup.freeze freezes.
IMPLICIT = ("cpuacct", "freezer")


def needs_processes(names: Iterable[str]) -> list[str]:
    """Return those of the subsystems that single threads cannot have."""
    return [name for name in names if name not in (*FOR_THREADS, *IMPLICIT)]


def enabled(text: str, now: str) -> list[tuple[str, str]]:
    """Return the write that enables for the children what `text` lists, instead of what `now`
    lists; none if they are equal.
    """
    wanted, there = text.split(), now.split()
    words = [f"+{name}" for name in wanted if name not in there]
    words += [f"-{name}" for name in there if name not in wanted]
    return [(CONTROL, " ".join(words))] if words else []


def _kind(site: Site) -> str:
    """Return the type of a container; that of the root is empty."""
    return "" if site.parent is None else str(site.value(TYPE)).strip()


def _tasks(site: Site) -> int:
    """Return how many tasks are in the container itself, not in its leaf."""
    return len(site.value("cgroup.threads").split())


def takes_tasks(entry: Entry) -> Violation | None:
    """Check that tasks can be in the container at all."""
    return no_tasks(entry.site)


def no_tasks(site: Site) -> Violation | None:
    """Return why no task can be in a container; None if tasks can.

    If no task is in its children, and only controllers for threads are enabled for them, the kernel
    accepts tasks: the container becomes the root of a threaded subtree.
    """
    kind = _kind(site)
    if kind == INVALID:
        fix = Fix(site.path, ((TYPE, THREADED),))
        reason = f"{site.shown} is below a threaded container, and is not threaded itself"
        return Violation(EOPNOTSUPP, reason, fixes=(fix,))
    names = site.value(CONTROL).split()
    if kind != "domain" or not names or _may_be_threaded_root(site, names):
        return None
    return Violation(
        EBUSY,
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} enabled for the children of "
        f"{site.shown}, so tasks must be in a child",
        f"pcont create {site.word.rstrip('/')}/NAME",
    )


def _may_be_threaded_root(site: Site, names: Iterable[str]) -> bool:
    """Return whether a container can have tasks, and these controllers enabled for its children."""
    return {*names} <= {*FOR_THREADS} and not any(child.populated() for child in site.children())


def has_room(site: Site, mover: Mover) -> Violation | None:
    """Check the limits of containers below each container, for a new child of `site`."""
    above: Site | None = site
    level = 1
    while above is not None:
        most, depth = above.value(MAX_DESCENDANTS), above.value(MAX_DEPTH)
        if most is not None and _descendants(above) >= most:
            reason = f"the limit of {most} containers below {above.shown} is reached"
            fix = Fix(above.path, ((MAX_DESCENDANTS, str(most + 1)),))
            return Violation(EAGAIN, reason, fixes=(fix,))
        if depth is not None and level > depth:
            reason = f"the limit of {depth} levels below {above.shown} is reached"
            return Violation(EAGAIN, reason, fixes=(Fix(above.path, ((MAX_DEPTH, str(level)),)),))
        above, level = above.parent, level + 1
    return None


def _descendants(site: Site) -> int:
    there = dict(line.split() for line in site.value(STAT).splitlines())
    return int(there["nr_descendants"])


def is_switch(file: str, *, only_on: bool = False) -> Rule:
    """Return the rule of a file that takes 0 or 1; `only_on`: nothing but 1."""

    def check(now: Site, wanted: Site) -> Violation | None:
        value = wanted.value(file)
        if value == 1 or (value == 0 and not only_on):
            return None
        return Violation(ERANGE, f"it takes {'1' if only_on else '0 or 1'}, not {value}")

    return check


def is_no_threaded_one(now: Site, wanted: Site) -> Violation | None:
    """Check that the container is not threaded: its processes are those of another container."""
    if _kind(now) != THREADED:
        return None
    return Violation(
        EOPNOTSUPP,
        f"{now.shown} is threaded, and the kernel kills whole processes",
        f"pcont rm --kill {now.word}",
    )


def is_a_limit(file: str) -> Rule:
    """Return the rule of a file that takes a number of containers or levels."""

    def check(now: Site, wanted: Site) -> Violation | None:
        value = wanted.value(file)
        if value is None or 0 <= value <= INT_MAX:
            return None
        return Violation(ERANGE, f"it takes 0 to {INT_MAX}, or max")

    return check


def is_threaded(now: Site, wanted: Site) -> Violation | None:
    """Check a new type: a container can only become threaded."""
    kind, old = wanted.value(TYPE), _kind(now)
    if kind == THREADED:
        return None
    if old == THREADED:
        return Violation(
            EINVAL, "a threaded container cannot become a domain again: remove it, and create it"
        )
    return Violation(EINVAL, f"the file takes {THREADED}")


def can_be_threaded(now: Site, wanted: Site) -> Violation | None:
    """Check whether a container can become threaded."""
    above = now.parent
    if _kind(now) == THREADED or above is None:
        return None
    if _kind(above) == INVALID:
        reason = f"{above.shown} is not threaded itself"
        return Violation(EOPNOTSUPP, reason, fixes=(Fix(above.path, ((TYPE, THREADED),)),))
    for site in (now, above) if above.parent else (now,):
        names = [one for one in site.value(CONTROL).split() if one not in FOR_THREADS]
        if names:
            reason = f"{', '.join(names)} of {site.shown} does not support threads"
            return Violation(EOPNOTSUPP, reason)
    return _tasks_around(now, above)


def _tasks_around(now: Site, above: Site) -> Violation | None:
    """Check that no task is in the container, and none in a sibling that is not threaded."""
    if now.populated():
        reason = "tasks are in it or below it: a container becomes threaded while it is empty"
        return Violation(EOPNOTSUPP, reason, sure=False)
    for child in above.children() if above.parent and _kind(above) == "domain" else ():
        if child.populated():
            reason = f"tasks are in {child.shown}, which is not threaded"
            return Violation(EOPNOTSUPP, reason)
    return None


def _words(wanted: Site) -> list[str]:
    """Return the words of a write: the kernel takes blanks between them, but no tabs."""
    return list(filter(None, wanted.value(CONTROL).strip().split(" ")))


def changes(words: Iterable[str], before: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the controllers that a write enables, and those that it disables, given those that
    were enabled before. The last word about a controller counts.
    """
    signs = {word[1:]: word[:1] for word in words}
    on = [name for name, sign in signs.items() if sign == "+" and name not in before]
    return on, [name for name, sign in signs.items() if sign == "-" and name in before]


def _changes(now: Site, wanted: Site) -> tuple[list[str], list[str]]:
    """Return what a write enables and disables, in the kernel's order."""
    known, (on, off) = _known(now), changes(_words(wanted), now.value(CONTROL).split())
    return [one for one in known if one in on], [one for one in known if one in off]


def _known(site: Site) -> Sequence[str]:
    """Return the controllers of cgroup v2, in the kernel's order. A later kernel may have others:
    those that it offers come last.
    """
    return [*dict.fromkeys((*CONTROLLERS, *site.value(OFFERED).split()))]


def can_change(now: Site, wanted: Site) -> Violation | None:
    """Check each controller to enable or to disable, in the kernel's order."""
    on, off = _changes(now, wanted)
    offered = now.value(OFFERED).split()
    for name in _known(now):
        violation = None
        if name in on and name not in offered:
            violation = _not_offered(now, name)
        elif name in off:
            violation = _passed_on(now, name)
        if violation:
            return violation
    return None


def _not_offered(now: Site, name: str) -> Violation:
    if name == "perf_event":
        return Violation(ENOENT, "perf_event is always enabled, in every container")
    above = now.parent
    if above is None:
        return Violation(ENOENT, f"cgroup v2 does not have {name} here: see pcont subsys")
    fix = Fix(above.path, ((CONTROL, f"+{name}"),))
    reason = f"{name} is not enabled for the children of {above.shown}"
    return Violation(ENOENT, reason, fixes=(fix,))


def _passed_on(now: Site, name: str) -> Violation | None:
    """Check that no child enables a controller that is to be disabled."""
    for child in now.children():
        if name in child.value(CONTROL).split():
            reason = f"{name} is enabled for the children of {child.shown}"
            fix = Fix(child.path, ((CONTROL, f"-{name}"),))
            return Violation(EBUSY, reason, fixes=(fix,))
    return None


def have_signs(now: Site, wanted: Site) -> Violation | None:
    """Check that each word is a controller with a sign."""
    known = _known(now)
    for word in _words(wanted):
        if word[0] not in "+-":
            return Violation(
                EINVAL, "write +NAME to enable a controller for the children, -NAME to end that"
            )
        if word[1:] not in known:
            return Violation(EINVAL, f"{word[1:] or 'no name'} is no controller of cgroup v2")
    return None


def suit_threads(now: Site, wanted: Site) -> Violation | None:
    """Check that the controllers to enable can be in a threaded container."""
    kind, on = _kind(now), _changes(now, wanted)[0]
    names = [name for name in on if name not in FOR_THREADS]
    if kind == INVALID and on:
        return Violation(
            EOPNOTSUPP,
            f"{now.shown} is not threaded yet",
            fixes=(Fix(now.path, ((TYPE, THREADED),)),),
        )
    if names and kind in (THREADED, "domain threaded"):
        reason = f"{now.shown} is {kind}, and {', '.join(names)} does not support threads"
        return Violation(EOPNOTSUPP, reason)
    return None


def find_no_tasks(now: Site, wanted: Site, strict: bool = False) -> Violation | None:
    """Check that no task is in a container that is to enable controllers for its children.

    The kernel accepts controllers for threads if no task is below: the container then becomes the
    root of a threaded subtree, and its other children take no tasks. `strict` refuses these, too.
    """
    if now.parent is None or _kind(now) != "domain":
        return None
    names = _changes(now, wanted)[0]
    if not names or not (there := _tasks(now)):
        return None
    if not strict and _may_be_threaded_root(now, names):
        return None
    noun = "task is" if there == 1 else "tasks are"
    reason = f"{there} {noun} in {now.shown} itself: they must be in a child first"
    child = f"{now.word.rstrip('/')}/NAME"
    return Violation(EBUSY, reason, f"pcont create {child}; pcont move {now.word} {child}")


def no_name_is_taken(now: Site, wanted: Site) -> Violation | None:
    """Check that no container has the name of a file that its parent gets with a controller."""
    from pcont import subsys  # only a write that enables something needs the tables

    on = set(_changes(now, wanted)[0])
    for child in now.children() if on else ():
        for one in child.children():
            name = one.path.rpartition("/")[2]
            table = subsys.load(name.partition(".")[0], Interface.V2) if "." in name else None
            if table and table.name in on and name in table.by_name and _shows(child, table, name):
                reason = f"the container {one.shown} has the name of a file of {table.name}"
                return Violation(EEXIST, reason, f"pcont rm {one.word}")
    return None


def _shows(site: Site, table: Subsystem, file: str) -> bool:
    """Return whether a container has a file if its parent enables the controller."""
    if table.by_name[file].access.always:
        return False
    return table.name in FOR_THREADS or _kind(site) != THREADED


def _limit(file: str, help: str) -> ControlFile:
    """Return the row of a limit of containers or levels."""
    return ControlFile(
        file,
        help,
        LIMIT,
        default=None,
        rules=(is_a_limit(file),),
        listed=Listed.IF_SET,
        access=Access(writable=True),
    )


TABLE = Subsystem(
    name="",
    help="every container",
    files=(
        ControlFile(OFFERED, "the controllers that can be enabled for the children"),
        ControlFile(
            "cgroup.events",
            "populated: tasks are in it or below; frozen: all of them are frozen",
            access=BELOW_ROOT,
        ),
        ControlFile(
            FREEZE,
            "1 freezes the tasks here and below, 0 thaws them",
            INTEGER,
            default=0,
            rules=(is_switch(FREEZE),),
            order=90,  # every limit holds before the tasks go on
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT,
        ),
        ControlFile(
            KILL,
            "1 kills all processes here and below",
            INTEGER,
            rules=(is_switch(KILL, only_on=True), is_no_threaded_one),
            access=SETTING_BELOW_ROOT,
            undo=Undo(lasting=True),
        ),
        _limit(MAX_DEPTH, "the most levels of containers below it, or max"),
        _limit(MAX_DESCENDANTS, "the most containers below it, or max"),
        ControlFile(
            PRESSURE,
            "1: the kernel measures pressure; 0 removes the pressure files",
            INTEGER,
            default=1,
            rules=(is_switch(PRESSURE),),
            access=Access(writable=True),
        ),
        ControlFile(
            "cgroup.procs", "the processes in the container, by pid", access=Access(writable=True)
        ),
        ControlFile(STAT, "how many containers are below it, and how many were removed"),
        ControlFile(
            CONTROL,
            "the controllers that are enabled for the children: write +NAME or -NAME",
            TEXT,
            rules=(have_signs, can_change, suit_threads, find_no_tasks, no_name_is_taken),
            order=10,
            listed=Listed.IF_SET,
            access=Access(writable=True),
            undo=Undo(write_back=enabled, many=True),
        ),
        ControlFile(
            "cgroup.threads", "the threads in the container, by id", access=Access(writable=True)
        ),
        ControlFile(
            TYPE,
            "domain, threaded, domain threaded or domain invalid",
            WORD,
            default="domain",
            rules=(is_threaded, can_be_threaded),
            order=0,
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT,
            undo=Undo(
                lasting=True,
                write_back=lambda text, now: [(TYPE, THREADED)] if text.strip() == THREADED else [],
            ),
        ),
    ),
    entry=(takes_tasks,),
    making=(has_room,),
)
