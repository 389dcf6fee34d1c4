"""The same containers in several trees of this machine, and the processes of a load in them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pcont.backend_cgroupfs import Cgroupfs
from pcont.kernel.types import UNIFIED, Place
from tests.stress import AnyLoad, Paths, running


@dataclass(frozen=True)
class Census:
    """How many processes are in the one container of every tree, in the other, or else."""

    arrived: int
    left: int
    split: int
    ended: int


@dataclass(frozen=True)
class SeparateTrees:
    """Trees of the kernel's controllers and of names, with containers below /`name` in each.

    `ok` is a command of pcont that must succeed.
    """

    ok: Callable[..., str]
    name: str
    controllers: Sequence[str]
    names: Sequence[str]

    @property
    def selector(self) -> str:
        return ",".join([*self.controllers, *self.names])

    @property
    def trees(self) -> list[str]:
        return [*self.controllers, *(f"name={name}" for name in self.names)]

    def at(self, path: str) -> str:
        """The PLACE of a container, in all trees."""
        return f"{self.selector}:/{self.name}{path}"

    def paths(self, path: str) -> Paths:
        return dict.fromkeys(self.trees, f"/{self.name}{path}")

    def folder(self, tree: str, path: str) -> Path:
        return Path(Cgroupfs().show(Place(tree, f"/{self.name}{path}")))

    def tasks(self, path: str) -> dict[str, list[int]]:
        """The tasks in a container, tree by tree."""
        folders = {tree: self.folder(tree, path) for tree in self.trees}
        return {
            tree: [int(task) for task in (folder / _list_of(tree)).read_text().split()]
            for tree, folder in folders.items()
        }

    def is_empty(self, path: str) -> bool:
        return not any(self.tasks(path).values())

    def census(self, found: Iterable[Paths | None], source: str, target: str) -> Census:
        """Count which tasks are where."""
        count = Counter(self._verdict(one, source, target) for one in found)
        return Census(count["arrived"], count["left"], count["split"], count["ended"])

    def _verdict(self, found: Paths | None, source: str, target: str) -> str:
        if not found:
            return "ended"
        here = {tree: found[tree] for tree in self.trees}
        known = {"arrived": self.paths(target), "left": self.paths(source)}
        return next((word for word, paths in known.items() if here == paths), "split")

    @contextmanager
    def load(self, load: AnyLoad, path: str) -> Iterator[AnyLoad]:
        """A load that begins in a container; nothing of it is left afterwards, frozen or not."""
        with running(load), self._thawing():
            self.ok("attach", self.at(path), str(load.root))
            load.go()
            yield load

    @contextmanager
    def _thawing(self) -> Iterator[None]:
        try:
            yield
        finally:
            for tree, (file, text) in THAWED.items():
                for folder in _below(self.folder(tree, "")) if tree in self.controllers else ():
                    (folder / file).write_text(text)


# How containers are thawed in the trees that can freeze them.
THAWED = {"freezer": ("freezer.state", "THAWED"), UNIFIED: ("cgroup.freeze", "0")}


def _list_of(tree: str) -> str:
    return "cgroup.threads" if tree == UNIFIED else "tasks"


def _below(top: Path) -> list[Path]:
    """The containers that are there, parents before their children."""
    return [top, *sorted(path for path in top.rglob("*") if path.is_dir())]


@contextmanager
def separate_trees(
    ok: Callable[..., str], name: str, controllers: Sequence[str], named: int, *, bind: bool
) -> Iterator[SeparateTrees]:
    """Separate trees with two containers, /a and /b, which are removed whatever pcont did.

    `bind`: the controllers are not mounted.
    """
    names = [f"{name}-{number}" for number in range(named)]
    made = SeparateTrees(ok, name, controllers, names)
    with contextlib.ExitStack() as stack:
        for controller in controllers if bind else ():
            ok("mount", "-o", controller)
            stack.callback(ok, "umount", controller)
        for own in names:
            ok("mount", "-o", "none", "--name", own)
            stack.callback(ok, "umount", own)
        stack.callback(_clear, made)
        ok("create", *map(made.at, ("", "/a", "/b")))
        yield made


def _clear(made: SeparateTrees) -> None:
    for tree in made.trees:
        top = made.folder(tree, "")
        for folder in reversed(_below(top) if top.exists() else []):
            folder.rmdir()
