"""Subsystems that the kernel lacks, kept by pcont: files of a container that are attributes of it.

They are read and written like the kernel's, with its errnos. What is enforced is enforced by a
controller of the kernel, whose files follow, or by programs in the kernel (backend.Meter), which
have the values of their own files. Nothing runs in between.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from errno import EINVAL, ENOENT
from typing import Any, NoReturn, cast

from pcont import subsys
from pcont.kernel.interfaces import Backend, exists
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import EntryRule, Proposed
from pcont.virtual.bindings import virtual_roots
from pcont.virtual.site import LiveSite, entry_of, making_of

ATTEMPTS = 10

Follow = tuple[Place, str, str]
Keep = tuple[Place, str, str | None]

_putting_back: ContextVar[bool] = ContextVar("putting_back", default=False)


@contextlib.contextmanager
def putting_back() -> Iterator[None]:
    """In the block all returns to where it was: who may make and enter containers is not asked."""
    token = _putting_back.set(True)
    try:
        yield
    finally:
        _putting_back.reset(token)


def with_kept(backend: Backend) -> Backend:
    """The same backend, with the files of the subsystems that pcont keeps."""
    return cast(Backend, _Keeping(backend))


@dataclass(frozen=True)
class Plan:
    """What a write to a file comes to that pcont keeps, or has a part in.

    `keeps`: what becomes of attributes of containers, None where one goes. `follows`: what is to be
    written into files of the kernel afterwards. `metered`: what the programs in the kernel are to
    know.
    """

    keeps: tuple[Keep, ...] = ()
    follows: tuple[Follow, ...] = ()
    metered: int | None = None


def plan_write(backend: Backend, place: Place, file: str, text: str) -> Plan:
    """A write to a kept file, by the rules; OSError as the kernel would have it."""
    found = _find(backend, place, file)
    if found is None:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), backend.show(place, file))
    row, site = found
    if not row.writable:
        _refuse(backend, place, file, EINVAL)
    try:
        wanted = row.type.parse(text)
    except (ValueError, OverflowError):
        _refuse(backend, place, file, EINVAL)
    wanted = row.joined(site.value(file), wanted) if row.joined else wanted
    for rule in row.rules:
        if breach := rule(site, Proposed(site, file, wanted)):
            _refuse(backend, place, file, breach.errno)
    if row.computed:
        return Plan()
    if row.metered:
        return Plan(metered=wanted)
    root = replace(site, place=site.top, wanted={(place, file): wanted})
    follows = _unlike(root, following(_table(site.subsystem), root))
    return Plan(((place, file, row.type.show(wanted)),), tuple(follows))


def write_all(backend: Backend, planned: Plan) -> None:
    """What is kept, and what follows, one after the other; nothing takes it back."""
    for place, name, text in planned.keeps:
        if backend.attributes(place).get(name) != text:
            backend.set_attribute(place, name, text)
    for place, file, text in planned.follows:
        backend.write(place, file, text)


def following(table: Subsystem, root: LiveSite) -> list[Follow]:
    """What the kernel's files must read below a root, where anything was ever set."""
    # A container that goes meanwhile takes the whole look with it.
    for attempt in range(ATTEMPTS):
        try:
            return [
                (there.place, file, text)
                for there, file, text in (table.follows(root) if table.follows else ())
                if isinstance(there, LiveSite) and there.is_set(table.by_name)
            ]
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1 or not exists(root.backend, root.place):
                raise
    return []


def _unlike(root: LiveSite, found: Iterable[Follow]) -> Iterator[Follow]:
    """What reads something else now."""
    for where, file, text in found:
        # The root of a tree has no limit, and no file for one.
        with contextlib.suppress(FileNotFoundError):
            if root.backend.read(where, file).rstrip("\n") != text:
                yield where, file, text


def _find(backend: Backend, place: Place, file: str) -> tuple[ControlFile, LiveSite] | None:
    """The row of a kept file that is there, and the container as its rules see it."""
    name = subsys.of(file)
    root = virtual_roots(backend, place).get(name)
    row = _table(name).by_name.get(file) if root else None
    if root is None or row is None or not row.where.holds(place == root):
        return None
    return row, LiveSite(backend, place, root, name)


def _refuse(backend: Backend, place: Place, file: str, errno: int) -> NoReturn:
    raise WriteRefused(errno, os.strerror(errno), backend.show(place, file))


def _table(name: str) -> Subsystem:
    table = subsys.load(name)
    assert table
    return table


class _Keeping:
    """A backend that answers for the files that its kernel has not."""

    def __init__(self, backend: Backend) -> None:
        self._kernel = backend

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._kernel, verb)

    @property
    def inner(self) -> Backend:
        """The backend that this one stands on."""
        return self._kernel

    @property
    def _self(self) -> Backend:
        return cast(Backend, self)

    def files(self, place: Place) -> dict[str, bool]:
        """With those that are kept."""
        found = self._kernel.files(place)
        for name, root in virtual_roots(self._kernel, place).items():
            rows = [row for row in _table(name).files if row.where.holds(place == root)]
            there = [row for row in rows if not row.stands_for or row.stands_for in found]
            found |= {row.name: row.writable for row in there}
        return found

    def make(self, place: Place) -> None:
        """mkdir(2), where the rules allow it."""
        breach = None if _putting_back.get() else making_of(self._self, place)
        if breach:
            raise OSError(breach.errno, os.strerror(breach.errno), self._kernel.show(place))
        self._kernel.make(place)

    def read(self, place: Place, file: str) -> str:
        """The whole text of a control file."""
        file = self._meant(place, file)
        kept = subsys.is_kept_file(file, place.controllers)
        found = _find(self._self, place, file) if kept else None
        if found is None:
            return self._kernel.read(place, file)
        row, site = found
        if row.computed:
            return f"{row.type.show(row.computed(site))}\n"
        if row.metered:
            begins = row.begins(site.parent is None)
            value = self._kernel.meter.values(place, site.subsystem).get(file, begins)
            return f"{row.type.show(value)}\n"
        text = self._kernel.attributes(place).get(file)
        return f"{row.type.show(row.default) if text is None else text}\n"

    def write(self, place: Place, file: str, text: str) -> None:
        """One write(2); or what is kept, and what follows, one after the other."""
        if file in subsys.TASK_FILES and (rules := self._entry_rules(place)):
            self._check_entry(place, rules, self._tasks_in(file, text))
        file = self._meant(place, file)
        if not subsys.is_kept_file(file, place.controllers):
            self._kernel.write(place, file, text)
            return
        planned = plan_write(self._self, place, file, text)
        if planned.metered is not None:
            self._kernel.meter.set(place, file, planned.metered)
        write_all(self._kernel, planned)

    def enter(self, place: Place, tasks: Iterable[int]) -> Iterator[int]:
        """Write tasks into a container; who may not enter is refused like by the kernel."""
        rules = self._entry_rules(place)
        if not rules:
            yield from self._kernel.enter(place, tasks)
            return
        for task in tasks:
            self._check_entry(place, rules, [task])
            yield from self._kernel.enter(place, [task])

    def _meant(self, place: Place, file: str) -> str:
        """The file itself, or the one of the kernel's that it is only another name of."""
        kept = subsys.is_kept_file(file, place.controllers)
        found = _find(self._self, place, file) if kept and subsys.stands_for(file) else None
        return found[0].stands_for if found else file

    def _entry_rules(self, place: Place) -> list[tuple[EntryRule, LiveSite]]:
        """What says who may enter, each with the container as the rule sees it."""
        roots = virtual_roots(self._kernel, place).items()
        sites = [LiveSite(self._self, place, root, name) for name, root in roots]
        return [(rule, site) for site in sites for rule in _table(site.subsystem).entry]

    def _tasks_in(self, file: str, text: str) -> list[int]:
        """Return the tasks that a written number means: one task, or the threads of a process.

        A first thread that is a zombie is left out: the kernel shows it in the root containers.
        """
        try:
            task = int(text) or os.getpid()
            if file != "cgroup.procs":
                return [task]
            threads = self._kernel.threads(task)
            return [one for one in threads if not self._kernel.task(one).gone]
        except (ValueError, ProcessLookupError):
            return []

    def _check_entry(
        self,
        place: Place,
        rules: Iterable[tuple[EntryRule, LiveSite]],
        tasks: Iterable[int],
    ) -> None:
        """Ask the rules of each task that is not inside; of one that has ended, nobody."""
        for task in tasks if not _putting_back.get() else ():
            with contextlib.suppress(ProcessLookupError):
                for rule, site in rules:
                    entry = entry_of(self._self, site, task)
                    breach = rule(entry) if entry.origin != place.path else None
                    if breach:
                        _refuse(self._self, place, "tasks", breach.errno)
