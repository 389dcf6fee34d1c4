"""numtasks in 2006 (patch semantics, 4): ResGroups' shares of the number of tasks, and its counts.

What a container may have is its shares' part of what its parent may have; only the forks of its own
tasks are tested, and refused with ENOSPC. A task is charged to its container; where that has
nothing unused of its own, also to the one above, from which it is borrowed.
"""

from __future__ import annotations

from dataclasses import replace
from errno import EINVAL, ENOSPC
from itertools import pairwise
from typing import NamedTuple

from pcont.subsys import numtasks
from pcont.subsys.numtasks import (
    DONT_CARE,
    INTERVAL,
    RATE,
    RATE_FAILURES,
    RULES,
    SHARES,
    SINCE,
    STATS,
    SUCCESSES,
    TOTAL,
    UNLIMITED,
    Shares,
    SharesCodec,
    add,
    begin_fork,
    shares,
    unused,
)
from pcont.subsys.v2006.core import PAGE
from pcont.subsys.v2006.values import PARAMETER, less_than
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import ModelCgroup, Site, Violation
from pcont.values import TEXT

USAGE, BORROWED, FAILURES = (f"numtasks.{word}" for word in ("usage", "borrowed", "failures"))


class _SharesV6(SharesCodec):
    """The same, but that a number ends with its last digit."""

    def parse(self, text: str) -> Shares:
        for word in text.split(","):
            if word.endswith("\n") and not word.startswith("res="):
                raise ValueError(f"{word!r} ends with a newline")
        return super().parse(text)


class Counts(NamedTuple):
    """How many tasks a container has for sure, at the most, and for itself; None: don't care."""

    min: int | None
    max: int | None
    unused: int | None


DONT_CARES = Counts(None, None, None)


def counts(site: ModelCgroup) -> Counts:
    """What follows from the shares, from the root on (4.4)."""
    total = site.parameter(TOTAL)
    if total == UNLIMITED:
        return DONT_CARES  # as that of nothing is, all the way down
    lineage, here = [site], site
    while here.parent:
        here = here.parent
        lineage.insert(0, here)
    found = Counts(total, total, total)
    for above, below in pairwise(lineage):
        found = _below(found, shares(above), below)
    return found


def _below(above: Counts, parts: Shares, site: ModelCgroup) -> Counts:
    own = shares(site)
    least, most = _part(own.min, above.min, parts), _part(own.max, above.max, parts)
    return Counts(least, most, _part(unused(site), least, own))


def _part(number: int, of: int | None, parts: Shares) -> int | None:
    if of is None or number == DONT_CARE:
        return None
    return number * of // parts.divisor if parts.divisor else 0


def usage(site: ModelCgroup) -> int:
    """The tasks that are charged to a container; those in the root itself are counted there."""
    return site.facts.get(USAGE, 0) + (0 if site.parent else site.inside())


def charge(site: ModelCgroup) -> None:
    """A task more (4.5)."""
    add(site, USAGE, 1 if site.parent else 0)
    while site.parent and _borrows(site):
        add(site, BORROWED, 1)
        site = site.parent
        add(site, USAGE, 1)
    add(site, SUCCESSES, 1)


def uncharge(site: ModelCgroup) -> None:
    """A task less."""
    while site.parent and site.facts.get(USAGE, 0):
        add(site, USAGE, -1)
        if not site.facts.get(BORROWED, 0):
            return
        add(site, BORROWED, -1)
        site = site.parent
        if not site.parent:
            add(site, USAGE, -1)


def _borrows(site: ModelCgroup) -> bool:
    own = counts(site).unused
    return own is None or usage(site) > own


def not_too_often(site: ModelCgroup) -> Violation | None:
    """Forks within a period, of each container for itself."""
    return begin_fork(site, site.parameter(RATE), site.parameter(INTERVAL), ENOSPC)


def not_too_many(site: ModelCgroup) -> Violation | None:
    """The limit of the container itself; those above are not asked."""
    most, there = counts(site).max, usage(site)
    if most is None or there < most:
        return None
    add(site, FAILURES, 1)
    return Violation(ENOSPC, f"{site.path} has {there} tasks, and its shares come to {most}")


def stats(site: ModelCgroup) -> str:
    """Four lines (4.6)."""
    own = 0 if site.parent else site.inside()
    numbers = {
        "Current usage": usage(site),
        "Number of successes": site.facts.get(SUCCESSES, 0) + own,
        "Number of failures": site.facts.get(FAILURES, 0),
        "Number of forkrate failures": site.facts.get(RATE_FAILURES, 0),
    }
    return "\n".join(f"numtasks: {what} {number}" for what, number in numbers.items())


def one_or_more(now: Site, wanted: Site) -> Violation | None:
    """Of each parameter (4.7)."""
    bad = [name for name in (TOTAL, RATE, INTERVAL) if wanted.value(name) < 1]
    return Violation(EINVAL, f"{bad[0]} is 1 or more") if bad else None


def more_than_there_are(now: Site, wanted: Site) -> Violation | None:
    """Everybody who is there already has to find room."""
    there = now.value("tasks")
    if wanted.value(TOTAL) > there:
        return None
    return Violation(EINVAL, f"there are {there} tasks already")


def new_period(site: ModelCgroup) -> None:
    """The root's starts anew; the patch misses those of other containers."""
    site.facts.pop(SINCE, None)


def _parameter(name: str, help: str, default: int, **more: object) -> ControlFile:
    return ControlFile(name, help, PARAMETER, writable=True, default=default, **more)  # type: ignore[arg-type]


TABLE = Subsystem(
    name="numtasks",
    help="shares of the number of tasks",
    fork=(not_too_often, not_too_many),
    entered=charge,
    left=uncharge,
    files=(
        replace(
            numtasks.TABLE.by_name[SHARES],
            type=_SharesV6(),
            rules=RULES,
            longest=less_than(PAGE),
        ),
        replace(
            numtasks.TABLE.by_name[STATS],
            help="the tasks here, and the forks that were refused",
            type=TEXT,
            computed=None,
            derived=stats,
            longest=less_than(PAGE),
        ),
    ),
    parameters=(
        _parameter(
            TOTAL,
            "how many tasks the root has, of which the shares are parts",
            UNLIMITED,
            rules=(one_or_more, more_than_there_are),
        ),
        _parameter(
            RATE,
            "how often a container may fork in a period",
            UNLIMITED,
            rules=(one_or_more,),
            effect=new_period,
        ),
        _parameter(
            INTERVAL,
            "how many seconds a period has",
            1,
            rules=(one_or_more,),
            effect=new_period,
        ),
    ),
)
