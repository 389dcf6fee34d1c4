"""Steps that make and remove containers, and keep pcont's facts with them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from pcont import explain, subsys
from pcont.backend import Backend, Place
from pcont.errors import PcontError
from pcont.steps import Step


@dataclass
class Make(Step):
    """mkdir(2) of a container in one tree."""

    place: Place
    doing: str
    made: bool = False

    def tell(self, backend: Backend) -> list[str]:
        return [f"mkdir {backend.show(self.place)}"]

    def do(self, backend: Backend) -> None:
        backend.make(self.place)
        self.made = True

    def undo(self, backend: Backend) -> None:
        if self.made:
            backend.remove(self.place)
            self.made = False

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return explain.make(backend, self.place, err, self.doing)


@dataclass
class Remove(Step):
    """rmdir(2) of a container in one tree; `keep` remembers it for a later step that may fail."""

    place: Place
    doing: str
    keep: bool = True
    removed: bool = False
    settings: list[tuple[str, str]] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)

    def tell(self, backend: Backend) -> list[str]:
        return [f"rmdir {backend.show(self.place)}"]

    def do(self, backend: Backend) -> None:
        if self.keep:
            self.settings = settings(backend, self.place)
            self.attributes = backend.attributes(self.place)
        backend.remove(self.place)
        self.removed = True

    def undo(self, backend: Backend) -> None:
        if not self.removed:
            return
        backend.make(self.place)
        self.removed = False
        for file, text in self.settings:
            if backend.read(self.place, file) != text:
                backend.write(self.place, file, text)
        for name, text in self.attributes.items():
            backend.set_attribute(self.place, name, text)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return explain.remove(backend, self.place, err, self.doing)


def settings(backend: Backend, place: Place) -> list[tuple[str, str]]:
    """Every file of a container that can be read and written again, in the order of writing."""
    found = []
    for file, writable in backend.files(place).items():
        if writable and not subsys.lasting(file) and file not in subsys.TASK_FILES:
            # Some files can only be written, or are switched off on this kernel.
            with contextlib.suppress(OSError):
                found.append((file, backend.read(place, file)))
    return sorted(found, key=lambda pair: subsys.order(pair[0]))


@dataclass
class Mark(Step):
    """Keep a fact of pcont's with a container; None removes it."""

    place: Place
    name: str
    text: str | None
    doing: str
    before: str | None = None
    marked: bool = False

    def tell(self, backend: Backend) -> list[str]:
        where = backend.show(self.place)
        if self.text is None:
            return [f"setfattr -x security.pcont.{self.name} {where}"]
        return [f"setfattr -n security.pcont.{self.name} -v '{self.text}' {where}"]

    def do(self, backend: Backend) -> None:
        self.before = backend.attributes(self.place).get(self.name)
        backend.set_attribute(self.place, self.name, self.text)
        self.marked = True

    def undo(self, backend: Backend) -> None:
        if self.marked:
            backend.set_attribute(self.place, self.name, self.before)
            self.marked = False
