"""Partitions of cpuset on cgroup v2 that become invalid because lists of CPUs change: report and
restore them.

The kernel accepts a list that takes CPUs from a valid partition, and makes the partition invalid.
If the old list is written back, the partition stays invalid.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pcont.errors import BadValue, Busy
from pcont.kernel.paths import below
from pcont.kernel.refusals import vanishing
from pcont.kernel.types import Place
from pcont.subsys import EXCLUSIVE, PARTITION
from pcont.subsys.cpuset import CPUS
from pcont.subsys.partitions import MEMBER, ROOT_PARTITION, VALID
from pcont.subsys.v2.cpuset import CPUS_EFFECTIVE, EXCLUSIVE_EFFECTIVE
from pcont.values import ID_LIST

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader
    from pcont.virtual.files import ControlFiles


def make_partition_again(backend: CgroupState, place: Place, text: str) -> None:
    """Make a container the partition again that it was, for undo. Raises BadValue if it was valid
    and is not now. `text`: what cpuset.cpus.partition read.
    """
    with vanishing():
        if backend.read(place, PARTITION) == text:
            return
        backend.write(place, PARTITION, text.split()[0])
        now = backend.read(place, PARTITION)
        if now != text and "invalid" not in text:
            what = f"{PARTITION} of {place.shown} was {text.strip()} and is now {now.strip()}"
            raise BadValue(what)


def valid_partitions(backend: CgroupState, places: Iterable[Place]) -> dict[Place, str]:
    """Return the valid partitions that a write to a list of these containers can make invalid, with
    what cpuset.cpus.partition reads: the containers, their siblings, and those below the
    containers. Each is after its parent.
    """
    found: dict[Place, str] = {}
    for place in dict.fromkeys(places):
        above = place.parent
        with contextlib.suppress(OSError):  # without cpuset, there are no partitions
            if not place.is_root and _gives_cpus(backend, above):
                for name in backend.children(above):
                    _add(backend, found, above.child(name), place)
    return found


def _gives_cpus(backend: CgroupState, place: Place) -> bool:
    """Return whether partitions can be below a container."""
    if place.is_root:
        online = backend.machine().cpus
        return frozenset(_ids(backend.read(place, CPUS_EFFECTIVE))) != online
    try:
        return bool(backend.read(place, EXCLUSIVE_EFFECTIVE).strip())
    except FileNotFoundError:  # before Linux 6.7, only a partition has partitions below
        return backend.read(place, PARTITION).strip() != MEMBER


def _ids(text: str) -> frozenset[int]:
    found: frozenset[int] = ID_LIST.parse(text)
    return found


def _add(backend: ContainerReader, found: dict[Place, str], one: Place, place: Place) -> None:
    with vanishing():
        text = backend.read(one, PARTITION)
        if text.strip() in VALID:
            found[one] = text
        if below(one.path, place.path) is not None:
            for name in backend.children(one):
                _add(backend, found, one.child(name), place)


def check_remote(backend: ContainerReader, place: Place, text: str, valid: Iterable[Place]) -> None:
    """Raise Busy if a list has a CPU of a sibling that is a remote partition. The parent of a
    remote partition is no partition. Linux 6.12 would make the sibling invalid, and give its CPUs
    to no container.

    `text`: the list for cpuset.cpus. `valid`: the partitions that are valid.
    """
    above = place.parent
    rivals = [one for one in valid if one != place and one.parent == above]
    if not rivals or above.is_root or backend.read(above, PARTITION).strip() in VALID:
        return
    with contextlib.suppress(ValueError, OverflowError):  # the kernel refuses such a text
        wanted = _ids(text)
        for one in rivals:
            theirs = backend.read(one, EXCLUSIVE).strip() or backend.read(one, CPUS)
            if shared := wanted & _ids(theirs):
                noun = "CPU" if len(shared) == 1 else "CPUs"
                has = f"the partition {one.shown} has the {noun} {ID_LIST.show(shared)}"
                raise Busy(
                    f"cannot set {CPUS} of {place.shown} to {text!r}: {has}; the kernel would make "
                    "it invalid, and give its CPUs to no container",
                    hint=f"pcont set {one.word} {PARTITION}={MEMBER}",
                )


def _lost(backend: ContainerReader, before: Mapping[Place, str]) -> dict[Place, str]:
    """Return the partitions that are invalid now, with what cpuset.cpus.partition reads."""
    found: dict[Place, str] = {}
    for place in before:
        with vanishing():
            text = backend.read(place, PARTITION)
            if " invalid" in text:
                found[place] = text
    return found


def notes_on_lost(files: ControlFiles, before: Mapping[Place, str]) -> list[str]:
    """Return a note for each partition that was valid before, and is not now."""
    notes = []
    for place, text in _lost(files.backend, before).items():
        notes.append(note_on_invalid(files, place, text, " now"))
    return notes


def note_on_invalid(files: ControlFiles, place: Place, text: str, since: str = "") -> str:
    """Return the note that a container is an invalid partition. `text`: what cpuset.cpus.partition
    reads.
    """
    from pcont.steps.explain import unmet  # for invalid partitions only

    reason, hint = unmet(files, place, PARTITION, text)
    line = f"the partition {place.shown} is invalid{since}: {reason}"
    if hint.startswith("pcont "):
        hint = f"to change this: {hint}"
    return f"{line}; {hint}" if hint else line


def notes_on_lone(files: ControlFiles, places: Iterable[Place]) -> list[str]:
    """Return a note for each container whose exclusive CPUs are those of no partition. A container
    with children, and the root of a hierarchy, may have them for a partition below.
    """
    notes = []
    for place in places:
        if place.spelling and place.spelling.at == place.path:
            continue
        with contextlib.suppress(OSError):
            is_member = files.backend.read(place, PARTITION).strip() == MEMBER
            if is_member and not files.backend.children(place):
                notes.append(
                    f"{EXCLUSIVE} of {place.shown} alone keeps no other task off these CPUs; a "
                    f"partition does: pcont set {place.word} {PARTITION}={ROOT_PARTITION}"
                )
    return notes
