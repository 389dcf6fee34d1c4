"""The classes Hierarchy and Container, and the tie, a hierarchy of several trees with the same
containers.

A hierarchy of one tree is a cgroup hierarchy of the kernel, mounted by any program. A tie has
several trees (members) and a home: a named tree that pcont mounts, whose root container stores in
an attribute what is tied. pcont keeps no other record of hierarchies.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from pcont.bases import NamedTuple, fields_of, made, on_disk
from pcont.errors import BadValue
from pcont.kernel.paths import below, check_path, is_outside, join
from pcont.kernel.types import UNIFIED, Place, Spelling, Tree

TIE = "tie"

# What the containers of a member of cgroup v2 are.
MODE_THREADED, MODE_DOMAIN = "threaded", "domain"


@on_disk("Tie", "subsystems", "trees", "at", "made_at", "mounted", "unified_at?", "mode?")
class Tie(NamedTuple):
    """The content of the attribute `tie` on the root of a home: the requested controllers, and the
    member trees.

    `subsystems`: the requested controllers. `trees`: the ids of the members. `at`: the path of the
    container in each member that is the hierarchy's root. `made_at`: TREE:PATH of the containers
    that pcont created for that. `mounted`: the ids of the members that pcont mounted.
    `unified_at`: the path of that container in cgroup v2, if it is another one. `mode`: what the
    containers of cgroup v2 are (MODE_THREADED, MODE_DOMAIN); empty if cgroup v2 is no member.
    """

    subsystems: tuple[str, ...]
    trees: tuple[str, ...]
    at: str = "/"
    made_at: tuple[str, ...] = ()
    mounted: tuple[str, ...] = ()
    unified_at: str = ""
    mode: str = ""

    def root_in(self, tree: str) -> str:
        """Return the path of the container in a member that is the root of the hierarchy."""
        return (tree == UNIFIED and self.unified_at) or self.at

    @property
    def made(self) -> list[Place]:
        """The containers that pcont created for the tie, parents first."""
        return [Place.parse(text) for text in self.made_at]

    def dump(self) -> str:
        """Return the text of the attribute, as JSON."""
        import json  # only ties have this attribute

        return json.dumps(fields_of(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Tie | None:
        """Parse the text of the attribute; returns None if it has another format."""
        try:
            import json

            facts = json.loads(text)
            lists = {name: _words(facts[name]) for name in facts if name not in _TEXTS}
            texts = {name: facts[name] for name in _TEXTS if name in facts}
            check_path(facts["at"])
            check_path(texts.get("unified_at", "/"))
            modes = (MODE_THREADED, MODE_DOMAIN) if UNIFIED in lists["trees"] else ("",)
            if texts.get("mode", "") not in modes:
                return None
            return made(cls, {**texts, "at": join("/", facts["at"]), **lists})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, BadValue):
            return None


_TEXTS = ("at", "unified_at", "mode")  # the fields of a tie that are no lists


def as_made_at(places: Iterable[Place]) -> tuple[str, ...]:
    """Return places in the format of `Tie.made_at`, TREE:PATH."""
    return tuple(place.text for place in places)


def _words(found: object) -> tuple[str, ...]:
    """Return a JSON list of strings as a tuple. Raises TypeError for anything else."""
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise TypeError("no list of words")
    return tuple(found)


class Member(NamedTuple):
    """One tree of a hierarchy.

    `at`: the path of the container in it that is the hierarchy's root. `virtual`: the subsystems
    that pcont provides in this tree, in addition to the controllers of the kernel. `mode`: what the
    containers of cgroup v2 are, MODE_THREADED or MODE_DOMAIN; empty for v1, and outside of ties.
    """

    tree: Tree
    at: str = "/"
    virtual: tuple[str, ...] = ()
    mode: str = ""

    @property
    def subsystems(self) -> tuple[str, ...]:
        """All controllers that have files in this tree, including those that were not asked for."""
        return (*self.tree.controllers, *self.virtual)

    def inside(self, path: str) -> str | None:
        """Convert a path of the tree to a path of the hierarchy; None if it is outside of the
        hierarchy.

        A path outside of the cgroup namespace of this process is outside, too.
        """
        return None if is_outside(path) else below(path, self.at)

    def place(self, path: str, spelling: Spelling | None = None) -> Place:
        """Convert a path of the hierarchy to the place in this tree. `spelling`: how the user typed
        it.
        """
        if spelling and spelling.at != self.at:
            spelling = spelling._replace(at=self.at)
        if self.at != "/":
            path = join(self.at, path)
        return Place(self.tree.id, path, spelling, self.tree)


class Hierarchy(NamedTuple):
    """One or more trees with the same containers at the same paths.

    `name`: what selects it on the command line. `subsystems`: the controllers that the user asked
    for. `members`: its trees; if `tie` is set, the first one is the home. `needed`: the controllers
    by which the user selected cgroup v2; its containers are to have them.
    """

    name: str
    subsystems: tuple[str, ...]
    members: tuple[Member, ...]
    tie: Tie | None = None
    needed: tuple[str, ...] = ()

    @property
    def mounted(self) -> bool:
        return all(member.tree.mounted for member in self.members)

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of all members, including those that were not asked for."""
        found = [name for member in self.members for name in member.subsystems]
        if self.unified_member:
            # cgroup v2 counts CPU time and freezes without a controller.
            found += [name for name in self.subsystems if name not in found]
        return tuple(found)

    @property
    def unified_member(self) -> Member | None:
        """The member of cgroup v2, if this is a tie that has one."""
        return next((one for one in self.members if one.mode), None)

    def container(self, path: str, spelling: Spelling | None = None) -> Container:
        """Return the container at a path of the hierarchy, which need not exist. `spelling`: how
        the user typed it.
        """
        return Container(self, join("/", path), spelling)


class Container:
    """A container of a hierarchy: the same path in each of its trees. It need not exist.

    `spelling`: how the user typed the PLACE that it was found or derived from. Two containers are
    equal if hierarchy and path are; a container never changes.
    """

    def __init__(self, hierarchy: Hierarchy, path: str, spelling: Spelling | None = None) -> None:
        self.hierarchy, self.path, self.spelling = hierarchy, path, spelling
        self._places: tuple[Place, ...] | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Container):
            return NotImplemented
        return self.path == other.path and self.hierarchy == other.hierarchy

    def __hash__(self) -> int:
        return hash(self.path)  # to hash the hierarchy takes long, and most have the same one

    def __repr__(self) -> str:
        return f"Container(hierarchy={self.hierarchy!r}, path={self.path!r})"

    @property
    def name(self) -> str:
        """The PLACE as the user typed it, for messages."""
        return (self.spelling and self.spelling.of(self.path)) or self.canonical

    @property
    def word(self) -> str:
        """The PLACE as one shell word, for commands in hints."""
        return quote(self.name)

    @property
    def canonical(self) -> str:
        """The PLACE as HIERARCHY:/path, for results."""
        return f"{self.hierarchy.name}:{self.path}"

    @property
    def is_root(self) -> bool:
        return self.path == "/"

    @property
    def places(self) -> tuple[Place, ...]:
        """The place in each tree, that in the home first."""
        if self._places is None:
            members, path, spelling = self.hierarchy.members, self.path, self.spelling
            self._places = tuple([member.place(path, spelling) for member in members])
        return self._places

    @property
    def parent(self) -> Container:
        """The parent container; for the root, the root itself."""
        return Container(self.hierarchy, self.path.rpartition("/")[0] or "/", self.spelling)

    def child(self, name: str) -> Container:
        return Container(self.hierarchy, join(self.path, name), self.spelling)

    def lineage(self) -> list[Container]:
        """Return the containers from the first below the root down to this one; empty for
        the root.
        """
        return [] if self.is_root else [*self.parent.lineage(), self]
