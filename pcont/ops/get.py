"""get: read control files by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import from_oserror
from pcont.hierarchy import keys
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import required
from pcont.kernel.types import UNIFIED, Place
from pcont.records import Value
from pcont.session import Session
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState

WINDOW = 10.0  # seconds in which cpuacct.load is measured


def get(
    session: Session, place: str, names: Iterable[str] = (), *, window: float = WINDOW
) -> list[Value]:
    """Return the values of control files; without keys, of all readable ones except the tasks.

    No kernel has cpuacct.load: if it is named, pcont measures it for `window` seconds. Raises
    NotFound for an unknown key, naming the nearest; Denied if reading is refused.
    """
    container = required(session.backend, session.registry().place(place))
    wanted = list(names)
    if not wanted:
        everything = _all(session.backend, container)
        _note_invalid(session, container, everything)
        return everything
    found, control = [], ControlFiles(session.backend)
    for key in wanted:
        if key == subsys.CPUACCT_LOAD:
            from pcont.ops import stat

            found.append(stat.cpu_load(session, place, window))
            continue
        file, places = keys.find_files(control, container, key)
        first = next(iter(places))
        try:
            texts = [
                control.read(place, file) if text is None else text
                for place, text in places.items()
            ]
        except OSError as err:
            raise from_oserror(err, f"read {file} of {container.name}") from err
        if len(set(texts)) > 1:
            session.warn(f"{file} differs between the trees; this is {first.tree}'s")
        name = session.backend.spelled(first, file)
        found.append(Value(name, subsys.typed(file, texts[0])))
    _note_invalid(session, container, found)
    return found


def _note_invalid(session: Session, container: Container, found: Iterable[Value]) -> None:
    """Warn about a partition of cgroup v2 that the kernel does not make."""
    place = container.places[-1]
    if place.tree != UNIFIED:
        return
    for one in found:
        if one.key == subsys.PARTITION and "invalid" in str(one.value):
            from pcont.steps import partitions

            control = ControlFiles(session.backend)
            session.warn(partitions.note_on_invalid(control, place, str(one.value)))


def _all(backend: CgroupState, container: Container) -> list[Value]:
    found: dict[str, Value] = {}
    control = ControlFiles(backend)
    for place in container.places:
        for file in control.names(place):
            # `ps` shows the tasks.
            if file not in {*found, *subsys.TASK_FILES} and _owned(container, file, place):
                # Some files can only be written, some need more rights.
                with contextlib.suppress(OSError):
                    name, text = backend.spelled(place, file), control.read(place, file)
                    found[file] = Value(name, subsys.typed(file, text))
    return [found[file] for file in sorted(found)]


def _owned(container: Container, file: str, place: Place) -> bool:
    return place in (keys.owners(container, file) or container.places)
