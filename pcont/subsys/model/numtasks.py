"""numtasks in the model: how often containers fork, and in 2006 also the tasks that they may have.

With v1 the limits are in pids.max, and only the rate of forks is counted here: what was set for a
container is among its facts. In 2006 (patch semantics, 4) a container has its shares' part of what
its parent has; only the forks of its own tasks are checked, and refused with ENOSPC. A task is
charged to its container; if that has nothing unused of its own, the container borrows from its
parent, which is charged too.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EAGAIN, EINVAL, ENOSPC
from itertools import pairwise

from pcont.bases import NamedTuple
from pcont.subsys.numtasks import (
    DONT_CARE,
    INTERVAL,
    NUMTASKS,
    RATE,
    RATE_FAILURES,
    STATS,
    SUCCESSES,
    TOTAL,
    UNLIMITED,
    Shares,
    shares,
    unused,
)
from pcont.subsys.v2006.values import PARAMETER
from pcont.tables.behaviour import Behaviour, Enforcement, FileBehaviour
from pcont.tables.control_file import Access, ControlFile
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup, Site, Violation

# Facts of a container. BOUND: numtasks is bound to it. USAGE, BORROWED, FAILURES: only in 2006.
_FORKS, _SINCE, _BOUND = (f"{NUMTASKS}.{word}" for word in ("forks", "since", "bound"))
_USAGE, _BORROWED, _FAILURES = (f"{NUMTASKS}.{word}" for word in ("usage", "borrowed", "failures"))


def _is_bound(site: ModelCgroup) -> bool:
    """Return whether numtasks is bound to this container itself."""
    return _BOUND in site.facts


def _bind(root: ModelCgroup) -> None:
    """Start to count forks in `root` and below, without a limit."""
    root.facts.update({_BOUND: 1, RATE: UNLIMITED, INTERVAL: 1})


def _unbind(root: ModelCgroup) -> None:
    """Stop counting below `root`, and forget counts and rates."""
    for site in _bound_with(root):
        for fact in (_BOUND, RATE, INTERVAL, SUCCESSES, RATE_FAILURES, _FORKS, _SINCE):
            site.facts.pop(fact, None)


def _bound_with(site: ModelCgroup) -> Iterator[ModelCgroup]:
    """Yield a container and its descendants, without those that have a binding of their own."""
    waiting = [site]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [child for child in one.children() if not _is_bound(child)]


def _say(site: ModelCgroup, file: str, number: int) -> None:
    """Set RATE or INTERVAL of a container, and start new periods (patch semantics, 4.7).

    DONT_CARE removes the setting: the nearest ancestor with one decides then.
    """
    if number == DONT_CARE:
        site.facts.pop(file, None)
    else:
        site.facts[file] = number
    for one in _bound_with(site):
        one.facts.pop(_SINCE, None)


def _rate_of(site: ModelCgroup) -> dict[str, int]:
    """Return RATE and INTERVAL as the nearest ancestor sets them; empty if nothing is counted."""
    found: dict[str, int] = {}
    for here in site.upwards() if site.parent else ():  # the root of a tree counts nothing
        found = {**_own_rate(here), **found}
        if _is_bound(here):
            return found
    return {}


def _own_rate(site: ModelCgroup) -> dict[str, int]:
    """Return RATE and INTERVAL, as far as they are set for a container itself."""
    return {file: site.facts[file] for file in (RATE, INTERVAL) if file in site.facts}


def _counted(site: ModelCgroup) -> dict[str, int]:
    """Return what was set for a container itself and what is counted for it, by file or fact."""
    own = _own_rate(site)
    if not _rate_of(site):
        return own
    return own | {fact: site.facts.get(fact, 0) for fact in (SUCCESSES, RATE_FAILURES)}


def _add(site: ModelCgroup, fact: str, number: int) -> None:
    """Add to a fact of a container."""
    site.facts[fact] = site.facts.get(fact, 0) + number


def _begin_fork(site: ModelCgroup, rate: int, interval: int, errno: int) -> Violation | None:
    """Count a fork in the period of a container; a Violation if the rate is reached (4.5)."""
    now = site.now()
    if _SINCE not in site.facts or now - site.facts[_SINCE] > interval * 1000:
        site.facts.update({_SINCE: now, _FORKS: 0})
    if site.facts.get(_FORKS, 0) >= rate:
        _add(site, RATE_FAILURES, 1)
        return Violation(errno, f"{site.path} has forked {rate} times within {interval} s")
    _add(site, _FORKS, 1)
    return None


def _within_rate(site: ModelCgroup) -> Violation | None:
    """Check the rate, before pids is asked: a fork that pids refuses counts in the period."""
    rate = _rate_of(site)
    if not rate or rate[RATE] >= UNLIMITED:
        return None
    return _begin_fork(site, rate[RATE], rate[INTERVAL], EAGAIN)


def _count_fork(site: ModelCgroup) -> None:
    """Count a fork that no rule has refused."""
    if _rate_of(site):
        _add(site, SUCCESSES, 1)


class _Counts(NamedTuple):
    """Tasks that a container has guaranteed, at most, and unshared; None: don't care."""

    min: int | None
    max: int | None
    unused: int | None


_DONT_CARES = _Counts(None, None, None)


def _counts(site: ModelCgroup) -> _Counts:
    """Calculate a container's counts from the shares on the path from the root (4.4)."""
    total = site.parameter(TOTAL)
    if total == UNLIMITED:
        return _DONT_CARES  # as that of nothing is, all the way down
    found = _Counts(total, total, total)
    for above, below in pairwise(reversed([*site.upwards()])):
        found = _below(found, shares(above), below)
    return found


def _below(above: _Counts, parts: Shares, site: ModelCgroup) -> _Counts:
    own = shares(site)
    least, most = _part(own.min, above.min, parts), _part(own.max, above.max, parts)
    return _Counts(least, most, _part(unused(site), least, own))


def _part(number: int, of: int | None, parts: Shares) -> int | None:
    if of is None or number == DONT_CARE:
        return None
    return number * of // parts.divisor if parts.divisor else 0


def _usage(site: ModelCgroup) -> int:
    """Return the tasks charged to a container; the root adds the tasks that are in it."""
    return site.facts.get(_USAGE, 0) + (0 if site.parent else site.inside())


def _charge(site: ModelCgroup) -> None:
    """Charge one more task (4.5)."""
    _add(site, _USAGE, 1 if site.parent else 0)
    while site.parent and _borrows(site):
        _add(site, _BORROWED, 1)
        site = site.parent
        _add(site, _USAGE, 1)
    _add(site, SUCCESSES, 1)


def _uncharge(site: ModelCgroup) -> None:
    """Take one task off the charges."""
    while site.parent and site.facts.get(_USAGE, 0):
        _add(site, _USAGE, -1)
        if not site.facts.get(_BORROWED, 0):
            return
        _add(site, _BORROWED, -1)
        site = site.parent
        if not site.parent:
            _add(site, _USAGE, -1)


def _borrows(site: ModelCgroup) -> bool:
    own = _counts(site).unused
    return own is None or _usage(site) > own


def _within_machine_rate(site: ModelCgroup) -> Violation | None:
    """Check the rate, which is one for the machine, for this container alone."""
    return _begin_fork(site, site.parameter(RATE), site.parameter(INTERVAL), ENOSPC)


def _within_shares(site: ModelCgroup) -> Violation | None:
    """Check the limit of the container itself; its ancestors are not checked."""
    most, there = _counts(site).max, _usage(site)
    if most is None or there < most:
        return None
    _add(site, _FAILURES, 1)
    return Violation(ENOSPC, f"{site.path} has {there} tasks, and its shares come to {most}")


def _stats(site: ModelCgroup) -> str:
    """Return the four lines of numtasks.stats (4.6)."""
    own = 0 if site.parent else site.inside()
    numbers = {
        "Current usage": _usage(site),
        "Number of successes": site.facts.get(SUCCESSES, 0) + own,
        "Number of failures": site.facts.get(_FAILURES, 0),
        "Number of forkrate failures": site.facts.get(RATE_FAILURES, 0),
    }
    return "\n".join(f"numtasks: {name} {number}" for name, number in numbers.items())


def _one_or_more(now: Site, wanted: Site) -> Violation | None:
    """Check that each parameter is 1 or more (4.7)."""
    bad = [name for name in (TOTAL, RATE, INTERVAL) if wanted.value(name) < 1]
    return Violation(EINVAL, f"{bad[0]} is 1 or more") if bad else None


def _more_than_there_are(now: Site, wanted: Site) -> Violation | None:
    """Check that the total is above the number of tasks."""
    there = now.value("tasks")
    if wanted.value(TOTAL) > there:
        return None
    return Violation(EINVAL, f"there are {there} tasks already")


def _new_period(site: ModelCgroup) -> None:
    """Start a new period for the root; the patch misses those of other containers."""
    site.facts.pop(_SINCE, None)


def _parameter(name: str, help: str, default: int, **more: object) -> ControlFile:
    return ControlFile(name, help, PARAMETER, default=default, access=Access(writable=True), **more)  # type: ignore[arg-type]


def _set(site: ModelCgroup, file: str, number: int) -> bool:
    """Set RATE or INTERVAL of a container; return False if no fork is counted there."""
    if not any(map(_is_bound, site.upwards())):
        return False
    _say(site, file, number)
    return True


BEHAVIOURS = {
    Interface.V1: Behaviour(
        enforcement=Enforcement(
            values=_counted, set=_set, bind=_bind, unbind=_unbind, is_bound=_is_bound
        ),
        fork=(_within_rate,),
        on_fork=_count_fork,
    ),
    Interface.V2006: Behaviour(
        fork=(_within_machine_rate, _within_shares),
        on_enter=_charge,
        on_leave=_uncharge,
        files={
            STATS: FileBehaviour(derived=_stats),
            RATE: FileBehaviour(effect=_new_period),
            INTERVAL: FileBehaviour(effect=_new_period),
        },
        parameters=(
            _parameter(
                TOTAL,
                "how many tasks the root has, of which the shares are parts",
                UNLIMITED,
                rules=(_one_or_more, _more_than_there_are),
            ),
            _parameter(
                RATE,
                "how often a container may fork in a period",
                UNLIMITED,
                rules=(_one_or_more,),
            ),
            _parameter(
                INTERVAL,
                "how many seconds a period has",
                1,
                rules=(_one_or_more,),
            ),
        ),
    ),
}
