"""The step that creates a container, and its undo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Protocol

from pcont.errors import PcontError
from pcont.kernel.interfaces import CgroupState, Containers, exists
from pcont.kernel.types import Place
from pcont.steps import explain
from pcont.steps.snapshot import place_of, text_of
from pcont.tags import on_disk
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord
from pcont.virtual.files import ControlFiles


class Writer(Protocol):
    """The step that writes the settings of a new container (steps.write.WriteFiles)."""

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        """As of Step."""

    def rehearse(self, backend: CgroupState) -> None:
        """As of Step."""

    def write_all(self, files: ControlFiles, undo_log: UndoLog) -> None:
        """Write the settings. Raises OSError."""

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        """As of Step."""

    def notes(self) -> list[str]:
        """As of Step."""


@on_disk("Absent", "place", "force")
class RemoveCreated(UndoRecord):
    """Undo record of a creation: the container did not exist.

    `force`: remove it even if open files are charged to it.
    """

    place: Place
    force: bool

    def __init__(self, place: Place, force: bool = False) -> None:
        self.place, self.force = place, force

    @property
    def label(self) -> str:
        return f"{self.place.path} of {self.place.tree}"

    def restore(self, backend: Containers) -> Iterator[Action]:
        if exists(backend, self.place):
            yield lambda: backend.remove(self.place, self.force)


@on_disk("AllAbsent", "places", "made")
class RemoveAllCreated(UndoRecord):
    """Undo record of several creations: these containers did not exist.

    `places`: TREE:PATH of each, in the order of creation. `made`: how many were made; None until
    one is refused: then any of them may exist. Raises BadWord for a path that no container can
    have.
    """

    places: list[str]
    made: int | None

    def __init__(self, places: list[str], made: int | None = None) -> None:
        self.places, self.made = places, made
        for text in places:
            place_of(text)

    @property
    def label(self) -> str:
        return f"{len(self.places)} new containers"

    def extend(self, **more: int) -> None:
        self.made = more["made"]

    def restore(self, backend: Containers) -> Iterator[Action]:
        for text in reversed(self.places[: self.made]):
            yield from RemoveCreated(place_of(text)).restore(backend)


class CreateContainer(Step):
    """Create a container in one tree with mkdir(2). `action` names the operation in messages.

    `then`: the step that writes the settings of the container, in all trees, right after that.
    """

    longest_run = 100

    def __init__(self, place: Place, action: str, then: Writer | None = None) -> None:
        self.place, self.action, self.then = place, action, then
        self._recorded: tuple[RemoveAllCreated, int] | None = None
        self._files: ControlFiles
        self._is_made = False

    @classmethod
    def record_run(cls, backend: CgroupState, undo_log: UndoLog, run: Sequence[Step]) -> None:
        steps = [step for step in run if isinstance(step, CreateContainer)]
        record = RemoveAllCreated([text_of(step.place) for step in steps])
        undo_log.record(record)
        files = ControlFiles(backend)
        for number, step in enumerate(steps):
            step._files, step._recorded = files, (record, number)

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        more = self.then.dry_run_lines(backend) if self.then else []
        return [f"mkdir {quote(backend.show(self.place))}", *more]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        if not self._recorded:
            self.record_run(backend, undo_log, [self])
        assert self._recorded
        record, number = self._recorded
        try:
            self._files.make(self.place)
        except OSError:
            if number:
                undo_log.extend(record, made=number)
            else:
                undo_log.drop(record)
            raise
        self._is_made = True
        if self.then:
            self.then.write_all(self._files, undo_log)

    def rehearse(self, backend: CgroupState) -> None:
        ControlFiles(backend).make(self.place)
        self._is_made = True
        if self.then:
            self.then.rehearse(backend)

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        if self.then and self._is_made:
            return self.then.refusal(backend, err)
        return explain.make_refusal(backend, self.place, err, self.action)

    def notes(self) -> list[str]:
        return self.then.notes() if self.then else []
