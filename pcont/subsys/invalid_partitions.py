"""Why a partition of cpuset is invalid, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL

from pcont.subsys import EXCLUSIVE, PARTITION
from pcont.subsys.cpuset import CPUS
from pcont.subsys.partitions import (
    HOUSEKEEPING,
    INVALID_CPUS,
    INVALID_PARENT,
    ISOLATED,
    MEMBER,
    NO_CPUS,
    NO_HOTPLUG,
    NO_LIST,
    NO_PARENT,
    NOT_EXCLUSIVE,
    NOT_PERMITTED,
    REMOTE_BELOW,
    ROOT_PARTITION,
    Cpuset,
    reason_of,
    why_invalid,
)
from pcont.tables.rules import Fix, Site, Violation
from pcont.values import ID_LIST, Ids

# How older kernels say it.
_OLDER = {"cpuset.cpus is empty": NO_LIST, "Invalid cpu list in cpuset.cpus": INVALID_CPUS}


def explain(now: Site, text: str) -> Violation | None:
    """Return why a partition is invalid, given what cpuset.cpus.partition reads; None if it is
    valid or no partition.
    """
    said = reason_of(text)
    if said is None:
        return None
    one = Cpuset(now)
    known = _OLDER.get(said, said)
    if not known:  # the kernel has lost the reason
        known = why_invalid(one) or ""
    found = _EXPLAINERS[known](one) if known in _EXPLAINERS else _unknown(one, said)
    return found._replace(reason=f"{found.reason} ({said})" if said else found.reason)


def _shown(cpus: Ids) -> str:
    return ID_LIST.show(cpus) or "none"


def _noun(cpus: Ids) -> str:
    return f"{'CPU' if len(cpus) == 1 else 'CPUs'} {_shown(cpus)}"


def _violation(reason: str, *fixes: Fix, hint: str = "") -> Violation:
    return Violation(EINVAL, reason, hint, fixes)


def _fix(one: Cpuset, *values: tuple[str, str]) -> Fix:
    return Fix(one.site.path, values)


def _with_cpus(one: Cpuset, cpus: Ids) -> tuple[Fix, ...]:
    """Return the fix that gives a partition these CPUs, and makes it valid; none without CPUs."""
    values = ((one.list_file, _shown(cpus)), (PARTITION, one.kind))
    return (_fix(one, *values),) if cpus else ()


def _unknown(one: Cpuset, said: str) -> Violation:
    if said:
        return _violation("the kernel does not make this partition")
    return _again(one, "it had no CPUs, or no valid parent, for a time")


def _again(one: Cpuset, reason: str) -> Violation:
    """Return that nothing is in the way any more: the container can become a partition again."""
    fixes = [_fix(one, (PARTITION, kind)) for kind in (MEMBER, one.kind)]
    return _violation(f"{reason}, and stays invalid until you set it again", *fixes)


def _not_exclusive(one: Cpuset) -> Violation:
    for other in one.siblings():
        if shared := one.wanted & other.wanted:
            reason = f"{other.site.shown} has the {_noun(shared)} in {other.list_file}, too"
            if rest := other.wanted - shared:
                return _violation(reason, _fix(other, (other.list_file, _shown(rest))))
            fixes = _with_cpus(one, one.wanted - shared)
            hint = (
                ""
                if fixes
                else f"give one of them other CPUs; to see them: pcont get {other.site.word}"
            )
            return _violation(reason, *fixes, hint=hint)
    return _violation("a sibling has some of its CPUs, too")


def _no_list(one: Cpuset) -> Violation:
    reason = f"a partition needs CPUs in {CPUS} or {EXCLUSIVE}, and both are empty"
    return _violation(reason, *_with_cpus(one, _free(one)))


def _free(one: Cpuset) -> Ids:
    """Return a CPU that a partition could have: one that no sibling names, if others are left for
    the parent.
    """
    above = one.parent
    there = above.effective() if above else frozenset()
    left = there - frozenset().union(*(other.wanted for other in one.siblings()))
    return frozenset({max(left)}) if left and len(there) > 1 else frozenset()


def _invalid_cpus(one: Cpuset) -> Violation:
    above = one.parent
    assert above
    if above.is_valid and not one.wanted & above.exclusive():
        there = above.exclusive() & above.online
        reason = (
            f"its parent {above.site.shown} is a partition of the {_noun(there)}, and does not "
            f"have the {_noun(one.wanted)}"
        )
        return _violation(reason, hint=f"choose some of the {_noun(there)}")
    if above.is_valid:
        return _again(one, "its parent did not have its CPUs for a time")
    return _remote(one, above)


def _remote(one: Cpuset, above: Cpuset) -> Violation:
    """Explain why there is no partition of these CPUs whose parent is none."""
    names = [each for each in one.ancestors() if each.site.parent and not one.wanted <= each.only]
    if names:
        fixes = [
            _fix(each, (EXCLUSIVE, _shown(each.only | one.wanted))) for each in reversed(names)
        ]
        reason = (
            f"{above.site.shown} is no partition, so each container above {one.site.shown} needs "
            f"the {_noun(one.wanted)} in {EXCLUSIVE}"
        )
        return _violation(reason, *fixes)
    top = one.root
    if taken := one.wanted & top.given():
        return _violation(
            f"another partition has the {_noun(taken)}", *_with_cpus(one, one.wanted - taken)
        )
    if not top.effective() <= one.wanted:
        return _again(one, "its CPUs were not free for a time")
    fixes_of_own = _with_cpus(one, one.wanted - frozenset({min(one.wanted, default=0)}))
    return _violation("no CPU would be left for other tasks", *fixes_of_own)


def _invalid_parent(one: Cpuset) -> Violation:
    above = one.parent
    assert above
    found = explain(above.site, above.text)
    if found is None:
        return _again(one, "its parent was no valid partition for a time")
    return found._replace(reason=f"its parent {above.site.shown} is invalid: {found.reason}")


def _no_parent(one: Cpuset) -> Violation:
    above = one.parent
    assert above
    if above.is_valid:
        return _again(one, "its parent was no partition for a time")
    if above.parent and not above.parent.is_valid:
        return _remote(one, above)
    cpus = () if above.wanted else ((CPUS, _shown(one.wanted)),)
    reason = f"its parent {above.site.shown} is no partition any more"
    return _violation(reason, _fix(above, *cpus, (PARTITION, ROOT_PARTITION)))


def _no_cpus(one: Cpuset) -> Violation:
    above = one.parent
    assert above
    if one.wanted and not one.wanted & one.online:
        return _offline(one)
    there = above.effective()
    reason = f"no CPU would be left for the tasks in {above.site.shown} ({_noun(there)})"
    if above.site.parent:
        reason += " and in its children that are no partitions"
    fewer = one.wanted - frozenset({min(there & one.wanted, default=0)})
    return _violation(reason, *_with_cpus(one, fewer))


def _offline(one: Cpuset) -> Violation:
    first = min(one.wanted, default=0)
    return _violation(
        f"none of the {_noun(one.wanted)} is online",
        hint=f"echo 1 > /sys/devices/system/cpu/cpu{first}/online",
    )


def _housekeeping(one: Cpuset) -> Violation:
    reason = "the kernel was started with isolcpus=: a partition of those CPUs has to be isolated"
    return _violation(reason, _fix(one, (PARTITION, ISOLATED)))


def _not_permitted(one: Cpuset) -> Violation:
    reason = "its parent is no partition: only root may make a partition there"
    return _violation(reason, hint="use sudo")


def _remote_below(one: Cpuset) -> Violation:
    for child in one.children():
        if child.is_remote:
            reason = f"{child.site.shown} below it is a partition with CPUs from the root"
            return _violation(reason, _fix(child, (PARTITION, MEMBER)))
    return _violation("a container below it is a partition with CPUs from the root")


_EXPLAINERS: dict[str, Callable[[Cpuset], Violation]] = {
    NOT_EXCLUSIVE: _not_exclusive,
    NO_LIST: _no_list,
    INVALID_CPUS: _invalid_cpus,
    INVALID_PARENT: _invalid_parent,
    NO_PARENT: _no_parent,
    NO_CPUS: _no_cpus,
    NO_HOTPLUG: _offline,
    HOUSEKEEPING: _housekeeping,
    NOT_PERMITTED: _not_permitted,
    REMOTE_BELOW: _remote_below,
}
