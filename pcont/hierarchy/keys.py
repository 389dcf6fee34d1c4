"""Find the control file that a KEY argument means, and the trees of a hierarchy that have it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import (
    BadWord,
    PcontError,
    UnknownName,
    Unsupported,
    UsageProblem,
    similar_words,
)
from pcont.hierarchy.container import Container, Hierarchy
from pcont.hierarchy.presence import where_to_find
from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.tables.face import Face, KeyFace, file_of_face
from pcont.tables.interface import Interface
from pcont.tables.rules import Where
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import interface_of

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader

# The places that have a file, each with its text; None if that was not read.
Texts = dict[Place, "str | None"]

NO_AUTO_DELETE = (
    "it needs a hierarchy that pcont mounted, in which no other program uses the release agent: "
    "mount --tie makes one over hierarchies of others"
)


def split_assignments(assignments: Iterable[str], meant: str = "") -> list[tuple[str, str]]:
    """Split KEY=VALUE words into pairs. Raises UsageProblem, with the hint `meant`, for a word
    without a key or "=".
    """
    pairs = []
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageProblem(f"{text!r} is not of the form KEY=VALUE", hint=meant)
        pairs.append((key, value))
    return pairs


def files_of(hierarchy: Hierarchy, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return the control file of each KEY, for pairs of KEY and VALUE.

    Raises UsageProblem if a file gets two values. A file with entries (one for each device,
    interface or resource, which is the first word of the value) may get one value for each entry.
    """
    found = [(file_of(hierarchy, key), value) for key, value in pairs]
    once = [(file, _entry(file, value)) for file, value in found]
    doubled = sorted({file for file, entry in once if once.count((file, entry)) > 1})
    if doubled:
        raise UsageProblem(f"one value for a key: {', '.join(doubled)}")
    return [file for file, _ in found]


def _entry(file: str, value: str) -> str:
    """Return the entry that a value sets in a file with several entries; the whole line if it adds
    one.
    """
    row = subsys.row(file)
    if row is None or not row.undo.many:
        return ""
    return value.strip() if row.undo.lasting else " ".join(value.split()[:1])


def file_of(hierarchy: Hierarchy, key: str) -> str:
    """Return the full name of the control file for a KEY, which may be the name in another cgroup
    interface.

    Raises BadWord if several controllers of the hierarchy have a file of that name.
    """
    if "." in key or key in subsys.core_table().by_name:
        return key
    meant = [full for name, full in other_names(hierarchy.controllers) if name == key]
    if len(meant) > 1:
        raise BadWord(f"{key!r} could be {' or '.join(meant)}")
    return meant[0] if meant else key


def face_of(key: str, interface: Interface) -> KeyFace:
    """Return where an interface has the value of a KEY: by default in the file of that name."""
    return subsys.face(key, interface) or Face(key)


def other_names(subsystems: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names that other cgroup interfaces have for the files of these controllers: pairs
    of name and KEY.

    A name is left out if it is the full name of a file, only a field of one, or has another unit.
    """
    # Each file of cgroup v2 has a dot in its name.
    interfaces = (Interface.V1, Interface.V2006)
    found = [(name, interface) for name in subsystems for interface in interfaces]
    tables = [table for name, interface in found if (table := subsys.load(name, interface))]
    faces = [pair for table in tables for pair in table.faces.items()]
    return [
        (face.file, key)
        for key, face in faces
        if isinstance(face, Face) and face == Face(face.file) and "." not in face.file
    ]


def owners(container: Container, file: str) -> list[Place]:
    """Return the places of the container where a file belongs, whether it exists there or not."""
    hierarchy, places = container.hierarchy, container.places
    if file in subsys.HOME_FILES and hierarchy.tie:
        return [places[0]]
    if file in subsys.core_table().by_name:
        return [one for one in places if not one.is_unified or _is_everywhere(file)] or [*places]
    if file.startswith("cgroup.") and any(place.is_unified for place in places):
        return [place for place in places if place.is_unified]
    members = list(zip(hierarchy.members, places, strict=True))
    found = [place for member, place in members if _serves(place, file, set(member.subsystems))]
    # Every container of cgroup v1 has the value of such a KEY: it is enough to ask one tree.
    everywhere = file.startswith("cgroup.") and subsys.face(file, Interface.V1)
    return found or (list(places[:1]) if everywhere else [])


def _is_everywhere(file: str) -> bool:
    """Return whether containers of v1 and of cgroup v2 have a file of the core."""
    return file in subsys.TASK_FILES


def _serves(place: Place, file: str, subsystems: set[str]) -> bool:
    """Return whether a tree with these subsystems may have the value of a KEY."""
    interface = interface_of(place)
    if interface is Interface.V2 and subsys.face(file, interface):
        return True  # such as CPU time, which needs no controller there
    return not subsystems.isdisjoint(_holders(file, interface))


def _holders(key: str, interface: Interface) -> tuple[str, ...]:
    """Return the subsystems of which a tree needs one to have the value of a KEY."""
    return subsys.with_face(key, interface) if subsys.face(key, interface) else (subsys.of(key),)


def find_files(control: ControlFiles, container: Container, key: str) -> tuple[str, Texts]:
    """Return the control file that a KEY means, and the places that have it.

    Each place is mapped to the text of the file; None if it was not read. Raises UnknownName, with
    similar keys as the hint, if no place has the file.
    """
    file = file_of(container.hierarchy, key)
    return file, find_places(control, container, file, key)


def find_places(control: ControlFiles, container: Container, file: str, key: str = "") -> Texts:
    """Return the places that have a control file, as `find_files` does. `key`: what an error calls
    it.
    """
    found: Texts = {}
    for place in owners(container, file) if _is_full_name(file) else ():
        with contextlib.suppress(FileNotFoundError):
            found[place] = control.peek(place, file)
    return found or _listed(control, container, key or file, file)


def _is_full_name(file: str) -> bool:
    """Return whether it is the full name of a control file (CONTROLLER.FILE or a core file), and no
    path.
    """
    return "/" not in file and ("." in file or file in subsys.core_table().by_name)


def _listed(control: ControlFiles, container: Container, key: str, file: str) -> Texts:
    """Find the places in the list of all files, which an error needs, too."""
    have = {place: control.names(place) for place in container.places}
    places = [place for place in owners(container, file) if file in have[place]]
    # Some core files exist for one controller only: cgroup.event_control is a file of memory.
    places = places or [place for place, files in have.items() if file in files]
    if not places:
        raise unknown(container, key, [name for files in have.values() for name in files])
    return dict.fromkeys(places)


def is_control_file(backend: ContainerReader, place: Place) -> bool:
    """Return whether the kernel has a control file with the name of this container in the
    parent.
    """
    return not place.is_root and place.name in control_files(backend, place.parent)


def control_files(backend: ContainerReader, place: Place) -> frozenset[str]:
    """Return the names of the kernel's control files in a container.

    If the container does not exist, the answer is for a child of the nearest parent that does.
    """
    above = place
    while not exists(backend, above) and not above.is_root:
        above = above.parent
    try:
        files = list(backend.files(above))
    except OSError:
        return frozenset()
    if above != place:
        files = [file for file in files if not _is_only_in_roots(file)]
    return frozenset(backend.spelled(above, file) for file in files)


def _is_only_in_roots(file: str) -> bool:
    known = subsys.row(file)
    return known is not None and known.access.where is Where.ROOT


def unknown(container: Container, key: str, known: Iterable[str]) -> PcontError:
    """Return the error for a KEY that the container does not have, with a hint: similar keys, or
    where it is. `known`: the keys that the container has.
    """
    if any(place.is_unified for place in container.places):
        return _unknown_on_v2(container, key, list(known))
    if key == subsys.AUTO_DELETE:
        return no_auto_delete(container.name)
    bare = [name for name, _ in other_names(container.hierarchy.controllers)]
    hint = near(key, {*known, *bare}) or f"pcont get {container.word}"
    elsewhere = {*subsys.NAMES, *subsys.virtual_names()} - set(container.hierarchy.controllers)
    name = _holders(key, Interface.V1)[-1]
    if "." in key and name in elsewhere:
        hint = f"this hierarchy does not have {name}: pcont get {name}:/"
    row = subsys.row(file_of(container.hierarchy, key))
    if (
        row
        and subsys.of(row.name) not in elsewhere
        and not row.access.where.holds(container.is_root)
    ):
        root = container.hierarchy.container("/").name
        hint = "only containers below the root have it" if container.is_root else f"{root} has it"
    return UnknownName(f"{container.name} has no file {key!r}", hint=hint)


def _unknown_on_v2(container: Container, key: str, known: list[str], typed: str = "") -> PcontError:
    """Return the error for a KEY that a container of cgroup v2 does not have.

    `typed`: the name of cgroup v1 that the user typed for it.
    """
    if key in (subsys.AUTO_DELETE, subsys.NOTIFY, subsys.AGENT):
        return Unsupported(f"{container.name} cannot have {key}: cgroup v2 has no release agent")
    if file := file_of_face(subsys.face(key, Interface.V2)):
        return _unknown_on_v2(container, file, known, key)
    name = subsys.of(key)
    table = subsys.load(name, Interface.V2)
    v1_table = None if subsys.is_virtual(name) else subsys.by_key(name)
    lacks = f"{container.name} has no file {typed or key!r}"
    is_v2s = table is not None and key in table.by_name
    is_v1s = key in subsys.core_table().by_name or (v1_table and key in v1_table.by_name)
    if is_v1s and not is_v2s:
        what = f"{container.name} cannot have {key}: it is a file of cgroup v1"
        return Unsupported(what, hint=near(key, known))
    if table and container.hierarchy.unified_member and name not in container.hierarchy.controllers:
        has = f"{container.hierarchy.name} has no {name}"
        return UnknownName(
            f"{lacks}: {has}",
            hint=where_to_find(container.hierarchy, name),
        )
    offered = name in container.hierarchy.controllers
    enabled = any(subsys.of(file) == name and not subsys.is_always_on_v2(file) for file in known)
    if offered and not container.is_root and not enabled:
        parent = container.parent
        return UnknownName(
            f"{lacks}: {name} is not enabled for the children of {parent.name}",
            hint=f"pcont set {parent.word} cgroup.subtree_control=+{name}",
        )
    hint = near(key, known) or f"pcont get {container.word}"
    if table and not offered:
        hint = f"cgroup v2 does not have {name} on this machine: pcont subsys"
    return UnknownName(lacks, hint=hint)


def no_auto_delete(name: str) -> Unsupported:
    """Return the error for a container that cannot have auto_delete. `name`: its PLACE."""
    return Unsupported(f"{name} cannot have {subsys.AUTO_DELETE}", hint=NO_AUTO_DELETE)


def near(key: str, known: Iterable[str]) -> str:
    """Return a hint with up to three similar keys; empty if there are none."""
    names = sorted(known)
    found = similar_words(key, names, cutoff=0.5)
    found = found or [name for name in names if key in name][:3]
    return f"near: {', '.join(found)}" if found else ""
