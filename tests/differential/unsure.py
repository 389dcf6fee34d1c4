"""Steps that a walk leaves out, because the kernel does not always answer them in the same way, or
because its answer is a bug. Both kinds are about partitions of cgroup v2 on Linux 6.12.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pcont.kernel.types import UNIFIED, Place
from pcont.values import ID_LIST, Ids

if TYPE_CHECKING:
    from tests.differential.steps import Seen, Step

LIST, EXCLUSIVE, PARTITION = (
    "cpuset.cpus",
    "cpuset.cpus.exclusive",
    "cpuset.cpus.partition",
)


def is_unsure(seen: Seen, step: Step) -> bool:
    """Whether a walk leaves a step out."""
    return any(
        _gets_cpus_of_a_sibling(seen, place, text)
        if file == LIST
        else _changes_balancing_above_an_invalid_one(seen, place, text)
        for place, file, text in _writes(seen, step)
    )


def _gets_cpus_of_a_sibling(seen: Seen, place: Place, text: str) -> bool:
    """An invalid partition gets a list with CPUs that a sibling has in cpuset.cpus.exclusive: the
    kernel makes it valid, but these CPUs are in force in no container then (walk 300124).
    """
    is_invalid = "invalid" in seen.text(place, PARTITION)
    return is_invalid and any(
        _ids(text) & _ids(seen.text(one, EXCLUSIVE)) for one in _siblings(seen, place)
    )


def _changes_balancing_above_an_invalid_one(seen: Seen, place: Place, text: str) -> bool:
    """A root partition becomes isolated, an isolated one becomes a root, or a container becomes a
    partition beside an isolated one. If a partition below is invalid, the kernel sometimes shows
    another reason then. According to the kernel's source, the reason depends on a flag that no
    control file shows: whether the scheduler balances the load of the containers in between
    (walk 400011).
    """
    if text not in ("root", "isolated"):
        return False
    before = seen.text(place, PARTITION)
    changed = [place] if before in ("root", "isolated") and before != text else []
    beside = [one for one in _siblings(seen, place) if seen.text(one, PARTITION) == "isolated"]
    return any(_has_invalid_below(seen, one) for one in (*changed, *beside))


def _writes(seen: Seen, step: Step) -> Iterator[tuple[Place, str, str]]:
    """The containers, files and texts that a step may write. A command is assumed to write in every
    container.
    """
    if step.verb == "write" and step.args[1] in (LIST, PARTITION):
        yield step.args
    for word in step.args if step.verb == "pcont" else ():
        file, _, text = word.partition("=")
        if file in (LIST, PARTITION):
            yield from ((place, file, text) for place in seen.containers(UNIFIED))


def _siblings(seen: Seen, place: Place) -> list[Place]:
    if place.is_root:
        return []
    return [
        one
        for one in seen.containers(UNIFIED)
        if not one.is_root and one.parent == place.parent and one != place
    ]


def _has_invalid_below(seen: Seen, place: Place) -> bool:
    return any(
        "invalid" in seen.text(one, PARTITION)
        for one in seen.containers(UNIFIED)
        if one.path.startswith(f"{place.path}/")
    )


def _ids(text: str) -> Ids:
    try:
        found: Ids = ID_LIST.parse(text)
    except (ValueError, OverflowError):
        return frozenset()
    return found
