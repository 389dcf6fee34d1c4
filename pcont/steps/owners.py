"""The step that gives a container and its control files to another user, and its undo."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from errno import EPERM
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple, on_disk
from pcont.errors import from_oserror
from pcont.kernel.refusals import exists
from pcont.kernel.types import Owner, Place
from pcont.subsys import AGENT, TASK_FILES
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord

if TYPE_CHECKING:
    from pcont.errors import PcontError
    from pcont.kernel.interfaces import CgroupState, Containers


class NewOwner(NamedTuple):
    """A user and a group to own files; None: as before. `text`: as chown(1) takes them."""

    uid: int | None
    gid: int | None
    text: str

    def of(self, before: Owner) -> Owner:
        """Return the owner of a file that had the owner `before`."""
        uid = before.uid if self.uid is None else self.uid
        gid = before.gid if self.gid is None else self.gid
        return Owner(uid, gid, before.mode)


@on_disk("Owners", "place", "owners")
class RestoreOwners(UndoRecord):
    """Undo record of ChangeOwners: the owners of a container and of its files before, by name."""

    place: Place
    owners: dict[str, Owner]

    def __init__(self, place: Place, owners: dict[str, Owner]) -> None:
        self.place, self.owners = place, owners

    @property
    def label(self) -> str:
        return f"the owners of {self.place.path}"

    def restore(self, backend: Containers) -> Iterator[Action]:
        now = backend.owners(self.place) if exists(backend, self.place) else {}
        changed = {
            name: owner for name, owner in self.owners.items() if now.get(name, owner) != owner
        }
        if changed:
            yield lambda: backend.set_owners(self.place, changed)


class ChangeOwners(Step):
    """Give a container to `owner`, and the files into which tasks are written to `entry`.

    `files`: the control files to give, if there; None gives all. `release_agent` stays root's: the
    kernel runs the program in it as root. `action` names the operation in messages.
    """

    def __init__(
        self,
        place: Place,
        owner: NewOwner,
        entry: NewOwner,
        files: Sequence[str] | None,
        action: str,
    ) -> None:
        self.place, self.owner, self.entry = place, owner, entry
        self.files, self.action = files, action

    def _is_given(self, name: str) -> bool:
        return name != AGENT and (not name or self.files is None or name in self.files)

    def _wanted(self, before: Mapping[str, Owner]) -> dict[str, Owner]:
        """Return the new owner of each file whose owner changes, by name."""
        found = {
            name: (self.entry if name in TASK_FILES else self.owner).of(owner)
            for name, owner in before.items()
            if self._is_given(name)
        }
        return {name: owner for name, owner in found.items() if owner != before[name]}

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        if exists(backend, self.place):
            names = [name for name in backend.files(self.place) if self._is_given(name)]
        else:
            names = self._planned_names(backend)
        lines = [self._chown(backend, self.owner, ["", *names])]
        if self.entry != self.owner:
            entries = ["tasks", "cgroup.procs"] if "*" in names else TASK_FILES
            there = [name for name in entries if name in names or "*" in names]
            lines.append(self._chown(backend, self.entry, there))
        return lines

    def _planned_names(self, backend: CgroupState) -> list[str]:
        """Return what to give of a container that is to be created: "*" means all its files."""
        if self.files is None:
            return ["*"]
        enabled: list[str] = []
        if exists(backend, self.place.parent):
            enabled = backend.read(self.place.parent, "cgroup.subtree_control").split()
        return [name for name in self.files if subsys.of(name) in ("cgroup", *enabled)]

    def _chown(self, backend: CgroupState, owner: NewOwner, names: Iterable[str]) -> str:
        """Return the shell command that gives files to an owner; "*" are all files."""
        directory = shlex.quote(backend.show(self.place))
        paths = [f"{directory}/{name}" if name else directory for name in names]
        return f"chown {shlex.quote(owner.text)} {' '.join(paths)}"

    def do(self, backend: Containers, undo_log: UndoLog) -> None:
        before = backend.owners(self.place)
        if wanted := self._wanted(before):
            undo_log.record(RestoreOwners(self.place, {name: before[name] for name in wanted}))
            backend.set_owners(self.place, wanted)

    def rehearse(self, backend: Containers) -> None:
        """Do nothing: no step depends on owners, and a dry run changes none."""

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        reason = "only root can give containers to others" if err.errno == EPERM else ""
        return from_oserror(err, self.action, reason)
