"""Partitions of cpuset on cgroup v2: which CPUs containers have, and why a partition is invalid.

A partition has its CPUs for itself: the kernel takes them from its parent, or from the root if the
parent is no partition (a *remote* partition). The kernel accepts a partition that it cannot make,
and shows it as invalid. Everything here follows from what was written to the files and from the
states of the partitions, so that it also answers for a plan. Source: kernel/cgroup/cpuset.c, and
what Linux 6.12 was seen to answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pcont.subsys import EXCLUSIVE, PARTITION
from pcont.subsys.cpuset import CPUS
from pcont.tables.rules import Follows, Site
from pcont.values import Ids

MEMBER, ROOT_PARTITION, ISOLATED = "member", "root", "isolated"
VALID = (ROOT_PARTITION, ISOLATED)  # what cpuset.cpus.partition reads of a valid one
PARTITIONS = (MEMBER, *VALID)

# Why a partition is invalid, in the kernel's words.
INVALID_CPUS = "Invalid cpu list in cpuset.cpus.exclusive"
INVALID_PARENT = "Parent is an invalid partition root"
NO_PARENT = "Parent is not a partition root"
NOT_EXCLUSIVE = "Cpu list in cpuset.cpus not exclusive"
NO_CPUS = "Parent unable to distribute cpu downstream"
NO_HOTPLUG = "No cpu available due to hotplug"
NO_LIST = "cpuset.cpus and cpuset.cpus.exclusive are empty"
HOUSEKEEPING = "partition config conflicts with housekeeping setup"
NOT_PERMITTED = "Enable partition not permitted"
REMOTE_BELOW = "Have remote partition underneath"

# A fact of the model: the kernel noted a list as an error before it refused the list. For a valid
# partition, that is the reason which shows when a sibling makes it invalid. An invalid one was
# made invalid by a sibling, although the kernel shows a reason.
REFUSED_LIST = "cpuset.refused_list"
# Another fact of the model: a sibling made the partition invalid, and afterwards another change
# made the kernel compute its effective CPUs as it does for a container that is no partition.
COMPUTED = "cpuset.computed"
# The parent has found that a valid partition can keep its CPUs.
CHECKED = "cpuset.checked"

NO_CPU: Ids = frozenset()
_Changes = dict[tuple[str, str], Any]  # by path, and by file or mark (COMPUTED, CHECKED)


def reason_of(text: str) -> str | None:
    """Return why a partition is invalid, in the kernel's words, given what cpuset.cpus.partition
    reads; None if it is valid or no partition. The kernel need not give a reason: it is empty then.

    >>> reason_of("root invalid (Cpu list in cpuset.cpus not exclusive)")
    'Cpu list in cpuset.cpus not exclusive'
    """
    _, invalid, reason = text.strip().partition(" invalid")
    return reason.strip(" ()") if invalid else None


def invalid(kind: str, reason: str) -> str:
    """Return what cpuset.cpus.partition reads of an invalid partition."""
    return f"{kind} invalid ({reason})" if reason else f"{kind} invalid"


class Cpuset:
    """A container as partitions depend on it. `changes`: values that replace the present ones, by
    path and file; containers that are reached from this one have the same.
    """

    def __init__(self, site: Site, changes: _Changes | None = None) -> None:
        self.site = site
        self.changes: _Changes = {} if changes is None else changes

    @property
    def parent(self) -> Cpuset | None:
        above = self.site.parent
        return None if above is None else Cpuset(above, self.changes)

    def children(self) -> list[Cpuset]:
        return [Cpuset(one, self.changes) for one in self.site.children()]

    def siblings(self) -> list[Cpuset]:
        above = self.parent
        found = above.children() if above else []
        return [one for one in found if one.site.path != self.site.path]

    def ancestors(self) -> Iterator[Cpuset]:
        """Yield the parent and those above it, the root last."""
        above = self.parent
        while above:
            yield above
            above = above.parent

    @property
    def root(self) -> Cpuset:
        return [self, *self.ancestors()][-1]

    @property
    def original(self) -> Cpuset:
        """The container without the changes."""
        return Cpuset(self.site)

    def _value(self, file: str, without: Any) -> Any:
        """Return the value of a file; `without` if the container does not have cpuset."""
        if (self.site.path, file) in self.changes:
            return self.changes[self.site.path, file]
        try:
            return self.site.value(file)
        except (KeyError, FileNotFoundError):
            return without

    def change(self, file: str, value: Any) -> None:
        self.changes[self.site.path, file] = value

    def mark(self, what: str) -> None:
        """Note what has happened to the container: COMPUTED or CHECKED. `marked` returns it."""
        self.change(what, self.site)

    # What was written

    @property
    def cpus(self) -> Ids:
        found: Ids = self._value(CPUS, NO_CPU)
        return found

    @property
    def only(self) -> Ids:
        """The list of cpuset.cpus.exclusive."""
        found: Ids = self._value(EXCLUSIVE, NO_CPU)
        return found

    @property
    def wanted(self) -> Ids:
        """The CPUs that a partition would have."""
        return self.only or self.cpus

    @property
    def list_file(self) -> str:
        """The file that has them."""
        return EXCLUSIVE if self.only else CPUS

    # States

    @property
    def text(self) -> str:
        """What cpuset.cpus.partition reads. The root is a partition without this file."""
        return (
            ROOT_PARTITION
            if self.site.parent is None
            else str(self._value(PARTITION, MEMBER)).strip()
        )

    @property
    def kind(self) -> str:
        return self.text.partition(" ")[0]

    @property
    def is_valid(self) -> bool:
        return self.text in VALID

    @property
    def is_invalid(self) -> bool:
        return reason_of(self.text) is not None

    @property
    def is_stale(self) -> bool:
        """Whether the kernel has made it invalid because of a sibling: the kernel gives no reason,
        or that of an earlier list, and still shows the CPUs of the partition.
        """
        reason, facts = reason_of(self.text), getattr(self.site, "facts", ())
        if (self.site.path, COMPUTED) in self.changes:
            return False
        if (self.site.path, PARTITION) in self.changes:
            return reason == ""
        return COMPUTED not in facts and (reason == "" or (bool(reason) and REFUSED_LIST in facts))

    @property
    def is_remote(self) -> bool:
        """Whether it is a partition whose parent is none, so that it has its CPUs from the root."""
        above = self.parent
        if above is None or above.is_valid or not self.is_valid:
            return False
        return above.kind == MEMBER or bool(above.only)

    def become(self, kind: str, reason: str | None = None) -> None:
        """Give the container another state. `reason`: why it is invalid; None if it is valid."""
        self.change(PARTITION, kind if reason is None else invalid(kind, reason))

    # CPUs

    @property
    def online(self) -> Ids:
        return self.site.machine.cpus

    def exclusive(self) -> Ids:
        """Return the CPUs of which partitions can be made here or below."""
        above = self.parent
        if above is None:
            return frozenset(range(self.site.machine.cpu_limit))
        if not (self.only or self.is_valid or self.is_stale):
            return NO_CPU
        if self.is_valid and not (above.is_valid or self.is_remote) and above.parent:
            # The kernel has only made the parent invalid, and has not looked at its children yet.
            return self.wanted & above.wanted & above.parent.exclusive()
        return self.wanted & above.exclusive()

    def given(self) -> Ids:
        """Return the CPUs that partitions below have from this container."""
        found = NO_CPU
        for child in self.children():
            if child.is_valid:
                found |= child.exclusive()
            elif self.parent is None or not self.is_valid:
                found |= child.given() if child.only else NO_CPU
        return found

    def effective(self) -> Ids:
        """Return the CPUs in force."""
        if self.parent is None or ((self.is_valid or self.is_stale) and self.exclusive()):
            return (self.exclusive() & self.online) - self.given()
        return self.inherited()

    def inherited(self) -> Ids:
        """Return the CPUs in force in a container that is no partition, and not the root."""
        assert self.parent
        there = self.parent.effective()
        return (self.cpus & there) or there

    def has_tasks(self, but: Cpuset | None = None) -> bool:
        """Return whether tasks need CPUs of this container: tasks in it, or below it outside of
        partitions and of the child `but`. The root always has tasks.
        """
        if self.parent is None or self._has_own_tasks():
            return True
        return any(one._needs_cpus(but) for one in self.children())

    def _has_own_tasks(self) -> bool:
        return bool(self._value("tasks", "").split())

    def _needs_cpus(self, but: Cpuset | None) -> bool:
        """Return whether tasks are in a container or below it, outside of partitions. Those below
        the container `but` count, its own do not.
        """
        if self.is_valid or not self.site.populated():
            return False
        if (but is None or self.site.path != but.site.path) and self._has_own_tasks():
            return True
        return any(one._needs_cpus(but) for one in self.children())

    def leaves_none(self, cpus: Ids) -> bool:
        """Return whether tasks would have no CPU if these were those of a partition here: tasks of
        the parent, or of the partition.
        """
        above = self.parent
        assert above
        if above.effective() <= cpus and above.has_tasks(self):
            return True
        return not cpus & self.online and self.site.populated()


def isolated(one: Cpuset) -> Ids:
    """Return the CPUs of the machine that isolated partitions have and give to no other one."""
    found, others = NO_CPU, NO_CPU
    waiting = [one.root]
    while waiting:
        there = waiting.pop()
        waiting += there.children()
        if there.text == ISOLATED:
            found |= there.exclusive()
        elif there.is_valid and there.parent:
            others |= there.exclusive()
    return found - others


def why_invalid(one: Cpuset) -> str | None:
    """Return why the kernel would make no valid partition of a container that is none; None if it
    would. The order is the kernel's.
    """
    above, cpus = one.parent, one.wanted
    assert above
    if any(cpus & other.wanted for other in one.siblings()):
        return NOT_EXCLUSIVE
    if not cpus:
        return NO_LIST
    found = cpus & above.exclusive()
    if not above.is_valid:
        top = one.root
        taken = found & top.given() or top.effective() <= found
        return INVALID_CPUS if not found or taken else None
    if not found:
        return INVALID_CPUS
    return NO_CPUS if one.leaves_none(cpus) else None


def consequences(now: Site, file: str, value: Any) -> list[Follows]:
    """Return what cpuset.cpus.partition reads of the container and of others, as far as a write
    that the kernel accepts changes it. `file`: CPUS, EXCLUSIVE or PARTITION.
    """
    return follows(written(now, file, value))


def written(now: Site, file: str, value: Any) -> Cpuset:
    """Return a container after such a write, with the changes that follow from it."""
    one = Cpuset(now)
    if file == PARTITION:
        _write_partition(one, value)
    elif file == CPUS:
        _write_cpus(one, value)
    else:
        _write_exclusive(one, value)
    for other in one.siblings() if one.changes else ():  # update_sibling_cpumasks()
        is_fixed = other.is_valid or other.is_stale
        if not is_fixed and other.effective() != other.original.effective():
            _update_below(other)
    return one


def _compute_effective(made_invalid: list[Cpuset], one: Cpuset) -> None:
    """Let the kernel compute the effective CPUs of partitions that a sibling has made invalid, one
    after the other: each time, it does so for all siblings but the one that it makes invalid.
    """
    last_is_left = not (one.original.is_valid and one.is_invalid)
    for other in made_invalid[: -1 if last_is_left else None]:
        if other.inherited() != other.effective():
            other.mark(COMPUTED)


def follows(one: Cpuset) -> list[Follows]:
    """Return the states that have changed."""
    return [
        Follows(site, PARTITION, text) for site, text in _touched(one) if text != Cpuset(site).text
    ]


def marked(one: Cpuset, what: str) -> list[Any]:
    """Return the containers with this mark."""
    return [site for (_, mark), site in one.changes.items() if mark == what]


def refused_list(now: Site) -> str | None:
    """Return the error that the kernel notes for a partition when it refuses an empty list of
    cpuset.cpus: update_cpumask() does so before it asks whether the list is allowed.
    """
    one = Cpuset(now)
    above = one.parent
    found = one.only & above.exclusive() if above and one.only else NO_CPU
    return _lost(one, found, empty=one.is_valid and not found)


def _touched(one: Cpuset) -> Iterator[tuple[Site, str]]:
    """Yield the containers whose state was changed, each with the state."""
    paths = {path for path, file in one.changes if file == PARTITION}
    above = one.parent
    waiting = [above, *above.ancestors()][-1:] if above else []
    while waiting and paths:
        there = waiting.pop()
        if there.site.path in paths:
            paths.discard(there.site.path)
            yield there.site, there.text
        if any(path.startswith(there.site.path.rstrip("/") + "/") for path in paths):
            waiting += there.children()


def _write_partition(one: Cpuset, kind: str) -> None:
    """As update_prstate()."""
    if one.text == kind:
        return
    if kind == MEMBER or one.is_valid:
        one.become(kind)
    else:
        one.become(kind, why_invalid(one))
    _update_below(one, force=kind == MEMBER)


def _write_cpus(one: Cpuset, cpus: Ids) -> None:
    """As update_cpumask()."""
    above, only = one.parent, one.only
    if above is None or cpus == one.cpus:
        return
    found = (only or cpus) & above.exclusive() if only or one.is_valid else NO_CPU
    reason = _lost(one, found, empty=one.is_valid and not found)
    rivals = _rivals(one, cpus, only)
    made_invalid = [
        other
        for other in one.siblings()
        if rivals and other.is_valid and (only or cpus) & other.exclusive()
    ]
    for other in made_invalid:
        other.become(other.kind, "")
    before = one.exclusive()
    _apply(one, found or (cpus if one.is_invalid else NO_CPU), reason, bool(rivals))
    one.change(CPUS, cpus)
    _compute_effective(made_invalid, one)
    _update_below(one, force=before != one.exclusive())


def _write_exclusive(one: Cpuset, only: Ids) -> None:
    """As update_exclusive_cpumask()."""
    above = one.parent
    if above is None or only == one.only:
        return
    before, found = one.exclusive(), only & above.exclusive()
    if one.kind != MEMBER:
        _apply(one, found, _lost(one, found, empty=not found), False)
    one.change(EXCLUSIVE, only)
    if one.is_valid or before != one.exclusive():
        _update_below(one, force=before != one.exclusive())


def _lost(one: Cpuset, cpus: Ids, empty: bool) -> str | None:
    """Return why a partition, valid or not, cannot have these CPUs; None if it can."""
    if one.kind == MEMBER:
        return None
    if empty:
        return INVALID_CPUS
    return NO_CPUS if one.leaves_none(cpus) else None


def _rivals(one: Cpuset, cpus: Ids, only: Ids) -> list[Cpuset]:
    """Return the siblings with which these lists are not compatible (validate_change())."""
    return [other for other in one.siblings() if _collide(one.is_valid, cpus, only, other)]


def _collide(valid: bool, cpus: Ids, only: Ids, other: Cpuset) -> bool:
    if valid or other.is_valid or (only and other.only):
        return bool((only or cpus) & other.wanted)
    if not (only or other.only):
        return False
    theirs, own = (other.cpus, only) if only else (cpus, other.only)
    return bool(theirs) and theirs <= own


def collides(now: Site, only: Ids) -> Site | None:
    """Return the sibling because of which the kernel refuses a list of cpuset.cpus.exclusive; None
    if it accepts the list.
    """
    one = Cpuset(now)
    return next((other.site for other in _rivals(one, one.cpus, only)), None)


def _apply(one: Cpuset, cpus: Ids, reason: str | None, rivals: bool) -> None:
    """Give a partition, valid or not, the CPUs of a new list. `reason`: why it cannot have them."""
    if one.is_invalid and (reason or rivals):
        if reason:
            one.become(one.kind, reason)
    elif one.is_remote:
        _apply_remote(one, cpus, reason)
    elif one.is_valid and (reason or rivals):
        one.become(one.kind, reason or "")
    elif one.kind != MEMBER:
        _apply_local(one, cpus)


def _apply_remote(one: Cpuset, cpus: Ids, reason: str | None) -> None:
    """As remote_cpus_update()."""
    top, more = one.root, cpus - one.exclusive()
    if reason or not cpus or (more and (more & top.given() or top.effective() <= more)):
        one.become(one.kind, reason or INVALID_CPUS)


def _apply_local(one: Cpuset, cpus: Ids) -> None:
    """As update_parent_effective_cpumask() with a new list."""
    above = one.parent
    if above is None or not above.is_valid:
        return
    returned = (one.wanted - cpus) & above.exclusive() & one.online if one.is_valid else NO_CPU
    reason = None if cpus else NO_LIST
    if cpus and not returned and (one.leaves_none(one.wanted) or one.leaves_none(cpus)):
        reason = NO_CPUS
    one.become(one.kind, reason)


def _update_below(one: Cpuset, force: bool = False) -> None:
    """Check the partitions below a container that has changed (update_cpumasks_hier())."""
    if one.is_valid:
        _check_given(one)
    elif one.kind == MEMBER and not force and one.effective() == one.original.effective():
        return
    for child in one.children():
        if child.original.is_remote:
            if child.exclusive() == child.original.exclusive():
                continue
            _check_remote(child)
        elif child.kind != MEMBER:
            _check_state(child)
        _update_below(child, force)


def _check_remote(one: Cpuset) -> None:
    """Check a remote partition below a container whose exclusive CPUs have changed."""
    before, top = one.original, one.root.original
    more = one.exclusive() - before.exclusive()
    if not one.exclusive() or (more and (more & top.given() or top.effective() <= more)):
        one.become(one.kind, NO_PARENT)


def _check_given(one: Cpuset) -> None:
    """Check whether a partition can still give its partitions their CPUs
    (compute_partition_effective_cpumask()).
    """
    own = one.exclusive()
    left, populated = own & one.online, one.has_tasks()
    for child in one.children():
        if child.is_valid:
            cpus = child.original.exclusive()
            child.mark(CHECKED)
            if not cpus <= own:
                child.become(child.kind, INVALID_CPUS)
            elif populated and left <= cpus:
                child.become(child.kind, NO_CPUS)
            else:
                left -= cpus


def _check_state(one: Cpuset) -> None:
    """Check a partition, valid or not, below a container that has changed."""
    above = one.parent
    assert above
    if not above.is_valid:
        one.become(one.kind, INVALID_PARENT if above.is_invalid else NO_PARENT)
    elif not one.wanted:
        return
    elif one.leaves_none(one.wanted):
        one.become(one.kind, NO_CPUS)
    elif one.is_invalid:
        shared = any(one.wanted & other.wanted for other in one.siblings())
        inside = one.wanted <= above.exclusive()
        one.become(one.kind, NOT_EXCLUSIVE if inside and shared else None)


def check_hotplug(now: Site) -> list[Follows]:
    """Return what cpuset.cpus.partition reads after CPUs went offline or online, if it changes."""
    one = Cpuset(now)
    above = one.parent
    if above is None or one.kind == MEMBER:
        return []
    if one.is_valid and not one.is_remote and one.leaves_none(one.effective()):
        one.become(one.kind, "")
    elif above.is_valid and one.is_invalid:
        _check_state(one)
    return [Follows(now, PARTITION, one.text)] if one.changes else []
