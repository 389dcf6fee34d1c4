"""numtasks: how many tasks a container may have, as its share of what its parent may have.

The controller of ResGroups in the patch set of 2006 (patch semantics, 4), over the kernel's pids:
pcont writes the limits that follow from the shares into pids.max, and the kernel enforces them.
fork fails with EAGAIN (2006: ENOSPC), and a limit holds for tasks of descendants, too (2006: only
for the container's own). A container without shares of its own keeps its pids.max.

BPF programs that pcont loads limit how often a container may fork (pcont/bpf); everything else
works without them. A container without a rate of its own has that of the nearest ancestor with one,
and counts for itself (2006: one rate for all).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from errno import EINVAL

from pcont.bases import NamedTuple
from pcont.subsys import pids
from pcont.tables.rules import Counted, Follows, Site, Violation
from pcont.values import integer

NUMTASKS = "numtasks"
SHARES, TOTAL, STATS, RATE, INTERVAL = (
    f"{NUMTASKS}.{word}"
    for word in ("shares", "total_numtasks", "stats", "forkrate", "forkrate_interval")
)
# What is counted for a container.
SUCCESSES, RATE_FAILURES = (f"{NUMTASKS}.{word}" for word in ("successes", "forkrate_failures"))
_UNCHANGED, DONT_CARE = -1, -3
UNLIMITED = (1 << 31) - 1
_UNKNOWN = "unknown"


class Shares(NamedTuple):
    """The shares of a container. `min` and `max`: reserved and at most, in parts of the parent's
    `divisor`. `divisor`: the number of parts that the own tasks are divided into for the
    children.
    """

    min: int = DONT_CARE
    max: int = DONT_CARE
    divisor: int = 100


class SharesCodec:
    """The codec of `min_shares=N,max_shares=N,child_shares_divisor=N`. A word that is left out
    keeps its value.
    """

    takes = "NUMTASKS=NUMBER words with commas between"
    words = ("min_shares", "max_shares", "child_shares_divisor")

    def parse(self, text: str) -> Shares:
        found = dict.fromkeys(self.words, _UNCHANGED)
        resources = 0
        for word in filter(None, text.removesuffix("\n").split(",")):
            name, _, value = word.partition("=")
            if name == "res" and value and not resources:
                resources += 1
            elif name in found:
                found[name] = integer(value, -(1 << 31), 1 << 31)
            else:
                raise ValueError(f"{word!r} is no share")
        return Shares(*found.values())

    def show(self, value: Shares) -> str:
        parts = zip(self.words, value, strict=True)
        return ",".join(["res=numtasks", *(f"{name}={number}" for name, number in parts)])


def joined(old: Shares, new: Shares) -> Shares:
    """Return the new shares, with the old number for each that was left out."""
    pairs = zip(old, new, strict=True)
    return Shares(*(was if new == _UNCHANGED else new for was, new in pairs))


def shares(site: Site) -> Shares:
    """Return the shares of a container."""
    found = site.value(SHARES)
    assert isinstance(found, Shares)
    return found


def _reserved(site: Site) -> int:
    """Return the sum of the children's min_shares."""
    return sum(max(shares(child).min, 0) for child in site.children())


def unused(site: Site) -> int:
    """Return how many of the container's shares no child has reserved."""
    return shares(site).divisor - _reserved(site)


def _rule(check: Callable[[Site, Shares, Shares], str]) -> Callable[[Site, Site], Violation | None]:
    def rule(now: Site, wanted: Site) -> Violation | None:
        reason = check(now, shares(now), shares(wanted))
        return Violation(EINVAL, reason) if reason else None

    return rule


def _min_is_to_be_had(now: Site, old: Shares, new: Shares) -> str:
    """Rule 1 of the patch: the parent has enough unreserved parts for min_shares."""
    if now.parent is None or new.min < 0:
        return ""
    left = unused(now.parent) + max(old.min, 0)
    return f"min_shares: {now.parent.shown} has {left} left to reserve" if new.min > left else ""


def _max_is_a_part(now: Site, old: Shares, new: Shares) -> str:
    """Rule 2 of the patch: max_shares is not above the parent's divisor."""
    whole = shares(now.parent).divisor if now.parent else new.max
    return f"max_shares: child_shares_divisor above is {whole}" if new.max > whole else ""


def _number_or_dont_care(now: Site, old: Shares, new: Shares) -> str:
    """Rule 3 of the patch: a negative number of shares is DONT_CARE."""
    bad = [number for number in (new.min, new.max) if number < 0 and number != DONT_CARE]
    return f"{bad[0]} is no share: 0 and more, or {DONT_CARE} for don't care" if bad else ""


def _divisor_is_enough(now: Site, old: Shares, new: Shares) -> str:
    """Rule 4 of the patch: the divisor is not below the sum that children have reserved."""
    if new.divisor < 0:
        return "child_shares_divisor: 0 and more"
    held = _reserved(now)
    return f"child_shares_divisor: children have {held} reserved" if new.divisor < held else ""


def _divisor_is_the_whole(now: Site, old: Shares, new: Shares) -> str:
    """Rule 5 of the patch: the divisor is not below max_shares of any child."""
    most = max((shares(child).max for child in now.children()), default=0)
    return f"child_shares_divisor: a child has max_shares {most}" if new.divisor < most else ""


def _min_is_within_max(now: Site, old: Shares, new: Shares) -> str:
    """Rule 6 of the patch: min_shares is not above max_shares."""
    return "min_shares is more than max_shares" if 0 <= new.max < new.min else ""


RULES = tuple(
    map(
        _rule,
        (
            *(_min_is_to_be_had, _max_is_a_part, _number_or_dont_care, _divisor_is_enough),
            *(_divisor_is_the_whole, _min_is_within_max),
        ),
    )
)


def total_is_enough(now: Site, wanted: Site) -> Violation | None:
    """Check that the total is at least 1, and above the number of tasks."""
    total, there = wanted.value(TOTAL), _count(now)
    if total < 1:
        return Violation(EINVAL, "total_numtasks is 1 or more")
    return None if total > there else Violation(EINVAL, f"there are {there} tasks already")


def _count(site: Site) -> int:
    """Count the tasks here and below; the root of a tree has no pids.current."""
    try:
        return int(site.value("pids.current"))
    except FileNotFoundError:
        below = sum(_count(child) for child in site.children())
        return len(site.value("tasks").split()) + below


def limits(root: Site) -> Iterator[Follows]:
    """Yield pids.max of the root, and of descendants with shares, parents first."""
    total = int(root.value(TOTAL))
    limit = None if total == UNLIMITED else total
    yield from _limit(root, limit)
    yield from _below(root, limit)


def _below(site: Site, limit: int | None) -> Iterator[Follows]:
    divisor = shares(site).divisor
    for child in site.children():
        most = shares(child).max
        own = None
        if limit is not None and most != DONT_CARE:
            own = most * limit // divisor if divisor else 0
        yield from _limit(child, own)
        yield from _below(child, own)


def _limit(site: Site, limit: int | None) -> Iterable[Follows]:
    high = limit is None or limit > pids.HIGHEST
    return [Follows(site, pids.PIDS_MAX, "max" if high else str(limit))]


def stats(site: Counted) -> str:
    """Return the four lines of numtasks.stats (4.6); without BPF programs, two are unknown."""
    found: dict[str, object] = {
        "Current usage": _count(site),
        "Number of successes": site.facts.get(SUCCESSES, _UNKNOWN),
        "Number of failures": _failures(site),
        "Number of forkrate failures": site.facts.get(RATE_FAILURES, _UNKNOWN),
    }
    return "\n".join(f"{NUMTASKS}: {name} {number}" for name, number in found.items())


def _failures(site: Site) -> str:
    """Return how many forks a limit has refused; the root of a tree has no pids.events."""
    try:
        return str(site.value("pids.events")).split()[-1]
    except FileNotFoundError:
        return _UNKNOWN


def names_a_resource(now: Site, wanted: Site) -> Violation | None:
    """Check that a reset names the resource; the reset itself has no effect."""
    if re.search(r"(^|,)res=[^,\n]", str(wanted.value(STATS))):
        return None
    return Violation(EINVAL, "a reset says res=numtasks")


def a_rate(now: Site, wanted: Site) -> Violation | None:
    """Check that a rate is 1 or more (4.7); a container with a parent may have DONT_CARE."""
    may_leave = {DONT_CARE} if now.parent else set()
    for file in (RATE, INTERVAL):
        number = wanted.value(file)
        if not 1 <= number <= UNLIMITED and number not in may_leave:
            above = f", or {DONT_CARE} for what counts above" if may_leave else ""
            return Violation(EINVAL, f"{file} is 1 to {UNLIMITED}{above}")
    return None
