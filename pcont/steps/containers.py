"""Steps that make and remove containers, and keep pcont's facts with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from shlex import quote

from pcont import explain, subsys
from pcont.backend import Backend, Owner, Place
from pcont.errors import PcontError
from pcont.steps import Action, Step


@dataclass
class Make(Step):
    """mkdir(2) of a container in one tree."""

    place: Place
    doing: str
    made: bool = False

    def tell(self, backend: Backend) -> list[str]:
        return [f"mkdir {quote(backend.show(self.place))}"]

    def do(self, backend: Backend) -> None:
        backend.make(self.place)
        self.made = True

    def undo(self, backend: Backend) -> Iterator[Action]:
        if self.made:
            yield lambda: backend.remove(self.place)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return explain.make(self.place, err, self.doing)


@dataclass
class Remove(Step):
    """rmdir(2) of a container in one tree; `keep` remembers it for a later step that may fail."""

    place: Place
    doing: str
    keep: bool = True
    removed: bool = False
    settings: list[tuple[str, str]] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)

    def tell(self, backend: Backend) -> list[str]:
        return [f"rmdir {quote(backend.show(self.place))}"]

    def do(self, backend: Backend) -> None:
        if self.keep:
            self.settings = settings(backend, self.place)
            self.attributes = backend.attributes(self.place)
            self.owners = backend.owners(self.place)
        backend.remove(self.place)
        self.removed = True

    def undo(self, backend: Backend) -> Iterator[Action]:
        if not self.removed:
            return
        yield lambda: backend.make(self.place)
        for file, text in self.settings:
            yield partial(restore, backend, self.place, file, text)
        for name, text in self.attributes.items():
            yield partial(backend.set_attribute, self.place, name, text)
        yield lambda: backend.set_owners(self.place, self.owners)

    @property
    def final(self) -> bool:
        return not self.keep

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return explain.remove(backend, self.place, err, self.doing)


def settings(backend: Backend, place: Place) -> list[tuple[str, str]]:
    """What has been set in a container, as its files read, in the order of writing."""
    found = []
    for file, writable in backend.files(place).items():
        if subsys.keeps(file, writable):
            # Some files can only be written, or are switched off on this kernel.
            with contextlib.suppress(OSError):
                found.append((file, backend.read(place, file)))
    return sorted(found, key=lambda pair: subsys.order(pair[0]))


def restore(backend: Backend, place: Place, file: str, text: str) -> None:
    """Make a control file read as it did."""
    if backend.read(place, file) != text:
        for target, line in subsys.writes_back(file, text):
            backend.write(place, target, line)


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
        where = quote(backend.show(self.place))
        if self.text is None:
            return [f"setfattr -x security.pcont.{self.name} {where}"]
        return [f"setfattr -n security.pcont.{self.name} -v {quote(self.text)} {where}"]

    def do(self, backend: Backend) -> None:
        self.before = backend.attributes(self.place).get(self.name)
        backend.set_attribute(self.place, self.name, self.text)
        self.marked = True

    def undo(self, backend: Backend) -> Iterator[Action]:
        if self.marked:
            yield lambda: backend.set_attribute(self.place, self.name, self.before)
