"""The step that writes control files: several keys, in an order that the kernel accepts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from shlex import quote

from pcont import explain, subsys
from pcont.backend import Backend, Place, WriteRefused
from pcont.errors import PcontError
from pcont.steps import Action, Step
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
    """Write settings, each with one write(2); `fresh`: of a container that this command made.

    The table's order comes first. A value that is refused while others wait is tried again after
    them: so memory and memsw, exclusive flags and lists find the order that suits the old values.
    What cannot be undone is written when all the rest has been.
    """

    settings: Sequence[Setting]
    doing: str
    fresh: bool = False
    old: list[tuple[Setting, str]] = field(default_factory=list)
    affinity: dict[int, Ids] = field(default_factory=dict)
    refused: Setting | None = None

    def __post_init__(self) -> None:
        self.settings = sorted(self.settings, key=lambda one: subsys.order(one.file))

    def tell(self, backend: Backend) -> list[str]:
        return [
            f"echo {quote(one.text)} > {quote(backend.show(one.place, one.file))}"
            for one in self.settings
        ]

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
                self._write(backend, one)

    def _try(self, backend: Backend, one: Setting) -> WriteRefused | None:
        try:
            self._write(backend, one)
        except WriteRefused as err:
            return err
        return None

    def _write(self, backend: Backend, one: Setting) -> None:
        self.refused = one
        before = None
        if not self.fresh and not subsys.lasting(one.file):
            # A file that cannot be read cannot be put back; it is written all the same.
            with contextlib.suppress(OSError):
                before = backend.read(one.place, one.file)
            if subsys.moves_affinity(one.file):
                self._remember_affinity(backend, one.place)
        backend.write(one.place, one.file, one.written)
        if before is not None:
            self.old.append((one, before))

    def _remember_affinity(self, backend: Backend, place: Place) -> None:
        for task in backend.read(place, "tasks").split():
            with contextlib.suppress(ProcessLookupError):
                self.affinity.setdefault(int(task), backend.affinity(int(task)))

    def undo(self, backend: Backend) -> Iterator[Action]:
        while self.old:
            one, before = self.old.pop()
            for file, text in subsys.writes_back(one.file, before):
                yield partial(backend.write, one.place, file, text)
        for task, cpus in self.affinity.items():
            yield partial(restore_affinity, backend, task, cpus)

    @property
    def final(self) -> bool:
        return not self.fresh and any(subsys.lasting(one.file) for one in self.settings)

    @property
    def half_done(self) -> bool:
        return bool(self.old)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        one = self.refused or self.settings[0]
        return explain.write(backend, one.place, one.file, one.written, err)


def restore_affinity(backend: Backend, task: int, cpus: Ids) -> None:
    """Give a thread the CPUs that it had; asked for only where it has others now."""
    if backend.affinity(task) != cpus:
        backend.set_affinity(task, cpus)


def lasting(backend: Backend, setting: Setting) -> bool:
    """Whether a value, once written, cannot be put back by writing what was read before.

    That is so for resets and triggers, and for files that show something else than they take:
    several lines, or none.
    """
    if subsys.lasting(setting.file):
        return True
    with contextlib.suppress(OSError):
        return not subsys.can_write_back(setting.file, backend.read(setting.place, setting.file))
    return True
