"""A hierarchy as trees kept in step, and where to find each one: the kernel is the only database.

A hierarchy of one tree is one of the kernel's, whoever mounted it. A tie has several members and a
home: a named tree of pcont's own whose root remembers, as an attribute, what is tied.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from shlex import quote

from pcont.errors import BadValue
from pcont.kernel.paths import below, check_path, is_outside, join
from pcont.kernel.types import Place, Spelling, Tree
from pcont.tags import fields_of, made, on_disk

TIE = "tie"


@on_disk("Tie", "subsystems", "trees", "at", "made_at", "mounted")
@dataclass(frozen=True)
class Tie:
    """What a home remembers: the subsystems asked for, and the trees that are members.

    `at`: the container of each member that is the hierarchy's root. `made_at`: TREE:PATH of what
    pcont made for it there. `mounted`: which members pcont mounted.
    """

    subsystems: tuple[str, ...]
    trees: tuple[str, ...]
    at: str = "/"
    made_at: tuple[str, ...] = ()
    mounted: tuple[str, ...] = ()

    @property
    def made(self) -> list[Place]:
        """The containers that pcont made for it, parents first."""
        pairs = [text.partition(":") for text in self.made_at]
        return [Place(tree, path) for tree, _, path in pairs]

    def dump(self) -> str:
        """The text of the attribute."""
        return json.dumps(fields_of(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Tie | None:
        """The reverse; None where the text is not pcont's."""
        try:
            facts = json.loads(text)
            lists = {name: _words(facts[name]) for name in facts if name != "at"}
            check_path(facts["at"])
            return made(cls, {"at": join("/", facts["at"]), **lists})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, BadValue):
            return None


def as_made_at(places: Iterable[Place]) -> tuple[str, ...]:
    """Places as a tie remembers those that were made for it."""
    return tuple(f"{place.tree}:{place.path}" for place in places)


def _words(found: object) -> tuple[str, ...]:
    """A list of words as JSON has it; TypeError for anything else."""
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise TypeError("no list of words")
    return tuple(found)


@dataclass(frozen=True)
class Member:
    """A tree of a hierarchy, and the container in it that is the hierarchy's root.

    `kept`: the subsystems that pcont keeps there itself, over the tree's controllers.
    """

    tree: Tree
    at: str = "/"
    kept: tuple[str, ...] = ()

    @property
    def subsystems(self) -> tuple[str, ...]:
        """All that has files there, asked for or not."""
        return (*self.tree.controllers, *self.kept)

    def inside(self, path: str) -> str | None:
        """A path of the tree as one of the hierarchy; None where it is outside.

        Be it outside of all that can be seen in a cgroup namespace.
        """
        return None if is_outside(path) else below(path, self.at)

    def place(self, path: str, spelling: Spelling | None = None) -> Place:
        """A path of the hierarchy in this tree."""
        if spelling and spelling.at != self.at:
            spelling = replace(spelling, at=self.at)
        return Place.at(self.tree, join(self.at, path), spelling)


@dataclass(frozen=True)
class Hierarchy:
    """One or more trees that hold the same containers at the same paths.

    `name` selects it again on the command line. With a `tie`, the first member is the home.
    """

    name: str
    subsystems: tuple[str, ...]
    members: tuple[Member, ...]
    tie: Tie | None = None

    @property
    def mounted(self) -> bool:
        return all(member.tree.mounted for member in self.members)

    @property
    def controllers(self) -> tuple[str, ...]:
        """Every subsystem of every member, asked for or not."""
        return tuple(name for member in self.members for name in member.subsystems)

    def container(self, path: str, spelling: Spelling | None = None) -> Container:
        """The container at a path of the hierarchy."""
        return Container(self, join("/", path), spelling)


@dataclass(frozen=True)
class Container:
    """A container of a hierarchy: the same path in each of its trees.

    `spelling`: how the user has typed it, or the one that it was derived from.
    """

    hierarchy: Hierarchy
    path: str
    spelling: Spelling | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The PLACE for messages, as the user typed it."""
        return (self.spelling and self.spelling.of(self.path)) or self.canonical

    @property
    def word(self) -> str:
        """The same for hints: one word of a shell."""
        return quote(self.name)

    @property
    def canonical(self) -> str:
        """The PLACE for results, HIERARCHY:/path however it was typed."""
        return f"{self.hierarchy.name}:{self.path}"

    @property
    def is_root(self) -> bool:
        return self.path == "/"

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The container in each tree, the home first."""
        return tuple(member.place(self.path, self.spelling) for member in self.hierarchy.members)

    @property
    def parent(self) -> Container:
        """The container above; the root's is the root."""
        return replace(self, path=self.path.rpartition("/")[0] or "/")

    def child(self, name: str) -> Container:
        return replace(self, path=join(self.path, name))

    def lineage(self) -> list[Container]:
        """From below the root down to this container itself."""
        return [] if self.is_root else [*self.parent.lineage(), self]
