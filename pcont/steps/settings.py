"""The step that writes control files: several keys, in an order that the kernel accepts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from pcont import explain, subsys
from pcont.backend import Backend, Place, WriteRefused
from pcont.errors import PcontError
from pcont.steps import Step
from pcont.values import Ids


@dataclass(frozen=True)
class Setting:
    """A text for a control file of a place."""

    place: Place
    file: str
    text: str

    @property
    def written(self) -> str:
        """What goes into write(2): zero bytes would do nothing and succeed, a newline empties."""
        return self.text or "\n"


@dataclass
class Write(Step):
    """Write settings, each with one write(2).

    The table's order comes first. A value that is refused while others wait is tried again after
    them: so memory and memsw, exclusive flags and lists find the order that suits the old values.
    """

    settings: Sequence[Setting]
    doing: str
    old: list[tuple[Setting, str]] = field(default_factory=list)
    affinity: dict[int, Ids] = field(default_factory=dict)
    refused: Setting | None = None

    def __post_init__(self) -> None:
        self.settings = sorted(self.settings, key=lambda one: subsys.order(one.file))

    def tell(self, backend: Backend) -> list[str]:
        return [f"echo '{one.text}' > {backend.show(one.place, one.file)}" for one in self.settings]

    def do(self, backend: Backend) -> None:
        waiting = [one for one in self.settings if not subsys.lasting(one.file)]
        while waiting:
            refused = [(one, err) for one in waiting if (err := self._try(backend, one))]
            if len(refused) == len(waiting):
                self.refused, err = refused[0]
                raise err
            waiting = [one for one, _ in refused]
        for one in self.settings:
            if subsys.lasting(one.file):
                self.refused = one
                self._write(backend, one)

    def _try(self, backend: Backend, one: Setting) -> WriteRefused | None:
        self.refused = one
        try:
            self._write(backend, one)
        except WriteRefused as err:
            return err
        return None

    def _write(self, backend: Backend, one: Setting) -> None:
        before = ""
        if not subsys.lasting(one.file):
            # A file that cannot be read cannot be put back; it is written all the same.
            with contextlib.suppress(OSError):
                before = backend.read(one.place, one.file)
        if subsys.moves_affinity(one.file):
            self._remember_affinity(backend, one.place)
        backend.write(one.place, one.file, one.written)
        if before:
            self.old.append((one, before))

    def _remember_affinity(self, backend: Backend, place: Place) -> None:
        for task in backend.read(place, "tasks").split():
            with contextlib.suppress(ProcessLookupError):
                self.affinity.setdefault(int(task), backend.affinity(int(task)))

    def undo(self, backend: Backend) -> None:
        while self.old:
            one, before = self.old.pop()
            backend.write(one.place, one.file, before)
        for task, cpus in self.affinity.items():
            with contextlib.suppress(ProcessLookupError):
                if backend.affinity(task) != cpus:
                    backend.set_affinity(task, cpus)
        self.affinity.clear()

    @property
    def half_done(self) -> bool:
        return bool(self.old)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        one = self.refused or self.settings[0]
        return explain.write(backend, one.place, one.file, one.written, err)
