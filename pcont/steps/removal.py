"""The step that removes a container, and its undo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from pcont.bases import on_disk
from pcont.errors import PcontError
from pcont.hierarchy.container import Container
from pcont.kernel.refusals import exists
from pcont.kernel.types import Owner, Place
from pcont.steps.created import RemoveCreated
from pcont.steps.snapshot import ContainerState, StateReader, write_back_all
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord, UndoRun
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, CgroupState, ContainerReader, Containers


@on_disk("Present", "place", "settings", "attributes", "owners", "force")
class RecreateRemoved(UndoRecord):
    """Undo record of a removal: the container existed, with these settings, attributes and owners.

    `settings`: pairs of control file and text, in the order of writing. `attributes`: pcont's
    extended attributes by name. `owners`: uid, gid and mode by file name. `force`: open files may
    have been charged to it.
    """

    place: Place
    settings: list[tuple[str, str]]
    attributes: dict[str, str]
    owners: dict[str, Owner]
    force: bool

    def __init__(
        self,
        place: Place,
        settings: list[tuple[str, str]],
        attributes: dict[str, str],
        owners: dict[str, Owner],
        force: bool = False,
    ) -> None:
        self.place, self.settings, self.attributes = place, settings, attributes
        self.owners, self.force = owners, force

    @property
    def label(self) -> str:
        return f"{self.place.path} of {self.place.tree}"

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        if not exists(backend, self.place):
            yield lambda: backend.make(self.place)
        elif self.force:
            yield lambda: backend.enforcer.hold(self.place)
        yield lambda: write_back_all(backend, self.place, self.settings)
        for name, text in self.attributes.items():
            yield partial(backend.set_attribute, self.place, name, text)
        yield lambda: backend.set_owners(self.place, self.owners)


@on_disk("AllPresent", "states", "places", "force", removed="done")
class RecreateAllRemoved(UndoRun):
    """Undo record of several removals: these containers existed.

    `states`: what they were like; most containers are like many others. `places`: pairs of
    TREE:PATH and an index into `states`, in the order of removal. `force`: as of RecreateRemoved.
    Raises BadWord for a path that no container has, and ValueError for another index.
    """

    states: list[ContainerState]
    places: list[tuple[str, int]]
    force: bool
    done: int | None

    def __init__(
        self,
        states: list[ContainerState],
        places: list[tuple[str, int]],
        force: bool = False,
        done: int | None = None,
    ) -> None:
        self.states, self.places, self.force = states, places, force
        if not all(0 <= index < len(states) for _, index in places):
            raise ValueError(f"a place has none of the {len(states)} states")
        self._parsed = [Place.parse(text) for text, _ in places]
        super().__init__(len(places), done)

    def record_of(self, number: int) -> RecreateRemoved:
        place, (_, index) = self._parsed[number], self.places[number]
        return RecreateRemoved(place, *self.states[index], self.force)

    @property
    def label(self) -> str:
        return f"{len(self.places)} removed containers"


class RemoveContainer(Step):
    """Remove a container in one tree with rmdir(2). `action` names the operation in messages.

    `last`: it is the last change of the operation, which is never undone. `force`: remove it even
    if open files are charged to it; those files are charged to no container afterwards.
    `discarded`: what `force` overrode, for the message.
    """

    longest_run = 100  # an entry of the journal for them has some KiB

    def __init__(
        self,
        place: Place,
        action: str,
        last: bool = False,
        force: bool = False,
    ) -> None:
        self.place, self.action, self.last, self.force = place, action, last, force
        self.discarded: str = ""
        self._recorded: tuple[RecreateAllRemoved, int] | None = None
        self._files: ControlFiles

    @classmethod
    def record_run(cls, backend: Backend, undo_log: UndoLog, run: Sequence[Step]) -> None:
        steps = [step for step in run if isinstance(step, RemoveContainer) and not step.last]
        states: dict[str, tuple[int, ContainerState]] = {}
        places: list[tuple[str, int]] = []
        reader, last, index = StateReader(backend), None, 0
        for step in steps:
            try:
                found = reader.state(step.place)
            except OSError as err:
                raise step.refusal(backend, err) from err
            if found is not last:
                index, last = states.setdefault(repr(found), (len(states), found))[0], found
            places.append((step.place.text, index))
        if steps:
            force = any(step.force for step in steps)
            record = RecreateAllRemoved([one for _, one in states.values()], places, force)
            undo_log.record(record)
            record.done = 0  # in the journal, any of them may be missing
            files = ControlFiles(backend)
            for number, step in enumerate(steps):
                step._files, step._recorded = files, (record, number)

    def dry_run_lines(self, backend: ContainerReader) -> list[str]:
        return [f"rmdir {quote(backend.show(self.place))}"]

    def do(self, backend: Backend, undo_log: UndoLog) -> None:
        if self.last:
            undo_log.set_final(RemoveCreated(self.place, self.force))
            backend.remove(self.place, self.force)
            return
        if not self._recorded:
            self.record_run(backend, undo_log, [self])
        assert self._recorded
        record, number = self._recorded
        held = self._held_back() if self.force else ""
        record.done = number + 1
        try:
            backend.remove(self.place, self.force)
        except OSError:
            record.refused(number, undo_log)
            raise
        self.discarded = held

    def irreversible(self) -> list[str]:
        return [f"{self.place.path}: {self.discarded}"] if self.discarded else []

    @property
    def final(self) -> bool:
        return self.last

    def expect_more(self) -> None:
        self.last = False

    def rehearse(self, backend: Containers) -> None:
        backend.remove(self.place, self.force)

    def _held_back(self) -> str:
        from pcont.steps import explain

        return explain.held_back(self._files, self.place)[0]

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        from pcont.steps import explain

        return explain.remove_refusal(backend, self.place, err, self.action)


def removals(
    doomed: Mapping[Container, Sequence[Place]], force: bool = False
) -> list[RemoveContainer]:
    """Return the steps that remove each container from its places, its home last.

    `doomed`: the places where each container exists (`presence.present`). The home comes last
    because pcont finds a container by its home. `force`: remove containers that open files are
    charged to.
    """
    steps = [
        RemoveContainer(place, f"remove {container.name}", force=force)
        for container, places in doomed.items()
        for place in reversed(places)
    ]
    for last in steps[-1:]:
        last.last = True
    return steps
