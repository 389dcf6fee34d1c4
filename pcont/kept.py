"""Subsystems that the kernel lacks, kept by pcont: files of a container that are attributes of it.

They are read and written like the kernel's, with its errnos. What is enforced is enforced by a
controller of the kernel, whose files follow: all of them, or none. Nothing runs in between.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from errno import EACCES, EINVAL
from typing import Any, NoReturn, cast

from pcont import subsys
from pcont.backend import Backend, Place, WriteRefused
from pcont.site import LiveSite, kept_roots
from pcont.tables import ControlFile, EntryRule, Subsystem, Wanted


def with_kept(backend: Backend) -> Backend:
    """The same backend, with the files of the subsystems that pcont keeps."""
    return cast(Backend, _Keeping(backend))


class _Keeping:
    """A backend that answers for the files that its kernel has not."""

    def __init__(self, backend: Backend) -> None:
        self._kernel = backend

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._kernel, verb)

    def files(self, place: Place) -> dict[str, bool]:
        """With those that are kept."""
        found = self._kernel.files(place)
        for name, root in kept_roots(self._kernel, place).items():
            rows = _table(name).files
            there = [row for row in rows if row.where.holds(place == root)]
            found |= {row.name: row.writable for row in there}
        return found

    def read(self, place: Place, file: str) -> str:
        """The whole text of a control file."""
        site, row = self._kept(place, file)
        return self._kernel.read(place, file) if row is None else _text(site, row)

    def write(self, place: Place, file: str, text: str) -> None:
        """One write(2), or what is kept, with what follows."""
        if file in subsys.TASK_FILES:
            self._check_entry(place, self._entry_rules(place))
        site, row = self._kept(place, file)
        if row is None:
            self._kernel.write(place, file, text)
        else:
            self._keep(site, row, text)

    def enter(self, place: Place, tasks: Iterable[int]) -> Iterator[int]:
        """Write tasks into a container; who may not enter is refused like by the kernel."""
        rules = self._entry_rules(place)
        if not rules:
            yield from self._kernel.enter(place, tasks)
            return
        for task in tasks:
            self._check_entry(place, rules)
            yield from self._kernel.enter(place, [task])

    def _entry_rules(self, place: Place) -> list[tuple[EntryRule, Place]]:
        """What says who may enter, each with the root of its subsystem."""
        roots = kept_roots(self._kernel, place).items()
        return [(rule, root) for name, root in roots for rule in _table(name).entry]

    def _check_entry(self, place: Place, rules: Iterable[tuple[EntryRule, Place]]) -> None:
        for rule, root in rules:
            if breach := rule(LiveSite(cast(Backend, self), place, root)):
                path = self._kernel.show(place, "tasks")
                raise WriteRefused(breach.errno, os.strerror(breach.errno), path)

    def _kept(self, place: Place, file: str) -> tuple[LiveSite, ControlFile | None]:
        """The row of a kept file that is there, and the container as its rules see it."""
        name = file.partition(".")[0]
        root = kept_roots(self._kernel, place).get(name) if subsys.is_kept(name) else None
        site = LiveSite(cast(Backend, self), place, root or Place(place.tree))
        row = _table(name).by_name.get(file) if root else None
        return site, row if row and row.where.holds(place == root) else None

    def _keep(self, site: LiveSite, row: ControlFile, text: str) -> None:
        place = site.place
        if not row.writable:
            raise PermissionError(EACCES, os.strerror(EACCES), self._kernel.show(place, row.name))
        try:
            wanted = row.type.parse(text)
        except (ValueError, OverflowError):
            self._refuse(place, row, EINVAL)
        wanted = row.joined(site.value(row.name), wanted) if row.joined else wanted
        for rule in row.rules:
            if breach := rule(site, Wanted(site, row.name, wanted)):
                self._refuse(place, row, breach.errno)
        if row.computed:
            return  # what is written there is not kept
        before = self._kernel.attributes(place).get(row.name)
        try:
            self._kernel.set_attribute(place, row.name, row.type.show(wanted))
            self._follow(site, row)
        except OSError:
            with contextlib.suppress(OSError):
                self._kernel.set_attribute(place, row.name, before)
                self._follow(site, row)
            raise

    def _refuse(self, place: Place, row: ControlFile, errno: int) -> NoReturn:
        raise WriteRefused(errno, os.strerror(errno), self._kernel.show(place, row.name))

    def _follow(self, site: LiveSite, row: ControlFile) -> None:
        """Make the kernel's files read what follows, where anything was ever set."""
        table = _table(row.name.partition(".")[0])
        root = LiveSite(site.backend, site.top, site.top)
        for there, file, text in table.follows(root) if table.follows else ():
            assert isinstance(there, LiveSite)
            place = there.place
            if not set(table.by_name) & set(self._kernel.attributes(place)):
                continue
            # The root of a tree has no limit, and no file for one.
            with contextlib.suppress(FileNotFoundError):
                if self._kernel.read(place, file).rstrip("\n") != text:
                    self._kernel.write(place, file, text)


def _text(site: LiveSite, row: ControlFile) -> str:
    """What a kept file reads."""
    if row.computed:
        return f"{row.type.show(row.computed(site))}\n"
    kept = site.backend.attributes(site.place).get(row.name)
    return f"{row.type.show(row.default) if kept is None else kept}\n"


def _table(name: str) -> Subsystem:
    table = subsys.load(name)
    assert table
    return table
