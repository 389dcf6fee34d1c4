"""A hierarchy as trees kept in step, and where to find each one: the kernel is the only database.

A hierarchy of one tree is one of the kernel's, whoever mounted it. A tie has several members and a
home: a named tree of pcont's own whose root remembers, as an attribute, what is tied.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from shlex import quote

from pcont import subsys
from pcont.backend import (
    Backend,
    Controller,
    Place,
    Spelling,
    Tree,
    below,
    check_path,
    exists,
    is_outside,
    join,
)
from pcont.errors import (
    BadValue,
    BadWord,
    NotFound,
    PcontError,
    UnknownName,
    Unsupported,
    UsageProblem,
    from_oserror,
)
from pcont.site import KEPT, as_kept, kept_at, kept_in, seen_from

TIE = "tie"

ONLY_V2 = "cgroup v2 is mounted and has it, and pcont does not drive v2 trees yet"
REHEARSE = "--backend cgroupfs takes it for v1 when mounting; --backend model rehearses"


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
        return json.dumps(vars(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Tie | None:
        """The reverse; None where the text is not pcont's."""
        try:
            facts = json.loads(text)
            lists = {name: _words(facts[name]) for name in facts if name != "at"}
            check_path(facts["at"])
            return cls(at=join("/", facts["at"]), **lists)
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
        return Place(self.tree.id, join(self.at, path), spelling)


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

    @property
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


def as_seen_from(backend: Backend, container: Container) -> Iterator[tuple[Place, str, str]]:
    """What the container has to remember for those who see it as the root: PLACE, name and text.

    So it is in a cgroup namespace (cgroup_namespaces(7)): what is above cannot be read there.
    """
    for place in container.places:
        if text := as_kept(seen_from(backend, place)):
            yield place, KEPT, text
    if tie := container.hierarchy.tie:
        yield container.places[0], TIE, replace(tie, at="/", made_at=(), mounted=()).dump()


def present(backend: Backend, container: Container) -> list[Place]:
    """The places of the container that are there: all, none, or some where it is partial.

    NotFound where a tree is active but not mounted: what is in it cannot be seen.
    """
    check_seen(backend, container.hierarchy, gone=False)
    return [place for place in container.places if exists(backend, place)]


def at_least_partial(backend: Backend, container: Container) -> list[Place]:
    """The places that are there, of which there must be one; NotFound otherwise."""
    there = present(backend, container)
    if not there:
        required(backend, container)
    return there


def with_evidence(container: Container, there: Iterable[Place]) -> list[Place]:
    """The places that tell who is in the container: in the root of a home is everybody."""
    places = list(there)
    if container.is_root and container.hierarchy.tie and len(places) > 1:
        return [place for place in places if place != container.places[0]]
    return places


def required(backend: Backend, container: Container) -> Container:
    """The container, which must be there in every tree; NotFound otherwise."""
    check_seen(backend, container.hierarchy)
    there = present(backend, container)
    missing = [place for place in container.places if place not in there]
    if missing and there:
        raise NotFound(
            f"{container.name} is partial: it is missing in {', '.join(p.tree for p in missing)}",
            path=backend.show(there[0]),
            hint=f"complete it: pcont create {container.word}; "
            f"or remove what is there: pcont rm {container.word}",
        )
    if missing:
        raise NotFound(
            f"there is no container {container.name}",
            path=backend.show(missing[0]),
            hint=_neighbours(backend, container),
        )
    return container


def _neighbours(backend: Backend, container: Container) -> str:
    """The containers beside one that is not there whose names look like it."""
    near: list[str] = []
    last = container.path.rpartition("/")[2]
    with contextlib.suppress(OSError):
        for parent in container.parent.places:
            if last in [backend.spelled(parent, file) for file in backend.files(parent)]:
                return f"that is a control file: pcont get {container.parent.word} {last}"
        names = backend.children(container.parent.places[0])
        near = difflib.get_close_matches(last, names, n=3)
    if near:
        return f"near: {', '.join(container.parent.child(name).name for name in near)}"
    return f"pcont tree {quote(container.hierarchy.name)}"


def inactive(id: str) -> Tree:
    """Return a tree that the kernel has removed, or has with other controllers."""
    words = id.split(",")
    name = next((word.removeprefix("name=") for word in words if "=" in word), "")
    return Tree(id, 0, tuple(word for word in words if "=" not in word), name)


def is_active(tree: Tree) -> bool:
    """Whether the kernel has it, mounted or not."""
    return tree.number > 0


def where_to_find(one: Hierarchy, subsystem: str) -> str:
    """The hint for a subsystem that a hierarchy lacks: bind it there, where more can be bound."""
    home = one.members[0].tree
    if home.name and any(mount.ours for mount in home.mounts):
        return f"pcont bind {quote(one.name)} {subsystem}"
    return "use a hierarchy that has it: pcont subsys"


def reachable(backend: Backend, tree: Tree) -> None:
    """NotFound where a hierarchy is active but mounted nowhere."""
    if not tree.mounted:
        raise NotFound(
            f"the hierarchy {tree.id} is active but not mounted", hint=how_to_mount(backend, tree)
        )


def check_seen(backend: Backend, one: Hierarchy, *, gone: bool = True) -> None:
    """Raise NotFound if a tree of the hierarchy is not mounted, so that pcont cannot look into it.

    `gone`: also for a member of a tie that the kernel has removed, and which is therefore empty.
    """
    for member in one.members:
        tree = member.tree
        if tree.mounted or not (gone or is_active(tree)):
            continue
        if not one.tie:
            reachable(backend, tree)
        state = "is active but not mounted" if is_active(tree) else "was removed"
        raise NotFound(
            f"a part of {one.name} is not visible: its tree {tree.id} {state}",
            hint=f"mount its missing trees: pcont mount --name {one.name}",
        )


def how_to_mount(backend: Backend, tree: Tree) -> str:
    """The command that makes an active hierarchy reachable again.

    With a MOUNTPOINT where the usual one is taken, as in a cgroup namespace by the mount that shows
    nothing in there.
    """
    usual = backend.default_directory(word := tree.name or ",".join(tree.controllers))
    point = next(one for one in _directories(usual, word) if _is_free(backend, one))
    return brings_back(tree, point if point != usual else "")


def brings_back(tree: Tree, point: str = "") -> str:
    """The command that mounts an active hierarchy, at a directory or at the usual one."""
    what = f"--name {tree.name}" if tree.name else f"-o {','.join(tree.controllers)}"
    return f"pcont mount {what}{f' {quote(point)}' * bool(point)}"


def _directories(usual: str, name: str) -> Iterator[str]:
    """The directories to mount a hierarchy at, the usual one first."""
    yield usual
    yield f"/run/cgroup/{name}"
    yield from (f"/run/cgroup/{name}-{number}" for number in itertools.count(2))


def _is_free(backend: Backend, directory: str) -> bool:
    with contextlib.suppress(OSError):
        return not backend.occupied(directory, entries=True)
    return False


def selector_of(tree: Tree, ours: bool) -> str:
    """What selects a single tree: our own name, the field's `name=x`, or its controllers."""
    if tree.name and ours:
        return tree.name
    if tree.controllers:
        return ",".join(tree.controllers)
    return f"name={tree.name}"


def _did_you_mean(text: str) -> str:
    """The place that somebody may have meant who left out a colon or a slash."""
    selector, _, path = text.replace(":/", "/").replace(":", "/").partition("/")
    return f"did you mean {selector}:/{path}" if selector else ""


def _usable(name: str, has: Iterable[str]) -> bool:
    """Whether pcont can keep a subsystem over the controllers of this kernel."""
    with contextlib.suppress(Unsupported):
        return subsys.over(name) in ("", *has)
    return False


class Registry:
    """What is there now, read once: hierarchies by name, subsystem, path or directory."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.trees: tuple[Tree, ...] = backend.trees()
        self.by_id = {tree.id: tree for tree in self.trees}

    @cached_property
    def controllers(self) -> tuple[Controller, ...]:
        """What the kernel lists."""
        return self.backend.controllers()

    @cached_property
    def hierarchies(self) -> tuple[Hierarchy, ...]:
        """Every hierarchy: the kernel's trees, those of pcont's ties among them as homes."""
        return tuple(self._hierarchy(tree) for tree in self.trees)

    def rooted_in(self, tree: str) -> Hierarchy | None:
        """The hierarchy whose first tree that is: the kernel's, or of a tie the home."""
        return self._hierarchy(self.by_id[tree]) if tree in self.by_id else None

    def _hierarchy(self, tree: Tree) -> Hierarchy:
        tie = self._tie(tree)
        if tie is None:
            return self._single(tree)
        members = [self._member(tree)]
        for id in tie.trees:
            members.append(self._member(self.by_id.get(id) or inactive(id), tie.at))
        return Hierarchy(tree.name, tie.subsystems, tuple(members), tie)

    def _single(self, tree: Tree) -> Hierarchy:
        ours = any(mount.ours for mount in tree.mounts)
        member = self._member(tree)
        return Hierarchy(selector_of(tree, ours), member.subsystems, (member,))

    def _member(self, tree: Tree, at: str = "/") -> Member:
        return Member(tree, at, kept_at(self.backend, Place(tree.id, at)) if tree.mounted else ())

    def _tie(self, tree: Tree) -> Tie | None:
        if not (tree.name and tree.mounted):
            return None
        with contextlib.suppress(OSError):
            text = self.backend.attributes(Place(tree.id)).get(TIE)
            return Tie.load(text) if text else None
        return None

    @property
    def ties(self) -> list[Hierarchy]:
        return [one for one in self.hierarchies if one.tie]

    @property
    def names(self) -> list[str]:
        """Every word that selects a hierarchy, for messages."""
        bound = [name for tree in self.trees for name in tree.controllers]
        return [*(one.name for one in self.hierarchies if one.name not in bound), *bound]

    def find(self, selector: str) -> Hierarchy:
        """The hierarchy that a SELECTOR means; several words are a tie without a name."""
        plain = selector.removesuffix("/") if selector.endswith(":/") else selector
        words = list(dict.fromkeys(map(self.called, plain.removesuffix(":").split(","))))
        if not all(words):
            raise BadWord(f"there is an empty word in the selector {selector!r}")
        found = [self._word(word) for word in words]
        members = tuple(dict.fromkeys(member for one in found for member in one.members))
        if all(one.members == members for one in found):
            return found[0]
        if len({member.tree.id for member in members}) < len(members):
            raise BadValue(f"{selector!r} names one tree twice, at different containers")
        subsystems = dict.fromkeys(name for one in found for name in one.subsystems)
        return Hierarchy(",".join(words), tuple(subsystems), members)

    def _word(self, word: str) -> Hierarchy:
        for one in self.hierarchies:
            if one.name == word and (one.tie or word not in one.subsystems):
                return one
        for tree in self.holders([word]):
            # What pcont keeps is the hierarchy's, be it a tie.
            return self._hierarchy(tree) if subsys.is_kept(word) else self._single(tree)
        for tree in self.trees:
            # Of others, too: a name is that of one hierarchy.
            if tree.name and (word == f"name={tree.name}" or (word == tree.name and tree.mounted)):
                return self._single(tree)
        raise self._unknown(word)

    def _unknown(self, word: str) -> PcontError:
        unmounted = next((tree for tree in self.trees if tree.name == word), None)
        if unmounted:
            return NotFound(
                f"the hierarchy {word} is active but not mounted",
                hint=how_to_mount(self.backend, unmounted),
            )
        if any(one.unified and one.name == word for one in self.controllers):
            return Unsupported(f"{word}: {ONLY_V2}", hint=REHEARSE)
        holders = [one.name for one in self.ties if word in one.subsystems]
        if subsys.is_kept(word) and holders:
            return NotFound(f"{word} is a part of {', '.join(holders)}", hint=f"{holders[0]}:/")
        if word in self.known_subsystems():
            return UnknownName(f"{word} is bound to no hierarchy", hint=f"pcont mount -o {word}")
        if "/" in word:
            name = word.replace(":", "/").partition("/")[0]
            return UsageProblem(f"a HIERARCHY has no path: {word!r}", hint=f"did you mean {name}")
        if not self.names:
            hint = f"there is none yet: pcont mount --name {word} -o {self.example}"
        elif near := difflib.get_close_matches(word, self.names, n=3):
            hint = f"near: {', '.join(near)}"
        else:
            hint = f"known: {', '.join(self.names)}"
        return UnknownName(f"there is no hierarchy {word!r}", hint=hint)

    @property
    def example(self) -> str:
        """Subsystems for a hint that mounts: those of this kernel that need no knowledge."""
        known = self.known_subsystems()
        return ",".join(name for name in ("cpuset", "cpuacct") if name in known) or "none"

    def place(self, text: str) -> Container:
        """The container that a PLACE means.

        That is SELECTOR:/path, a SELECTOR for its root, or a directory below a mount, which may
        be relative. A SELECTOR counts for more than a directory of the same name.
        """
        if text.startswith("/"):
            check_path(text)
            return self._directory(text, text)
        selector, colon, path = text.partition(":/")
        if colon and selector:
            check_path("/" + path)
            return self._spelled(text, selector, path)
        if text.split("/")[0] in (".", ".."):
            return self._relative(text)
        bare = text.removesuffix(":")
        if bare and "/" not in bare and ":" not in bare:
            return self._bare(text, bare)
        if text and ":" not in text and (found := self._below_a_mount(text)):
            return found
        raise UsageProblem(
            f"not a place: {text!r}. Write HIERARCHY:/path, or a cgroup directory",
            hint=_did_you_mean(text),
        )

    def _spelled(self, text: str, selector: str, path: str) -> Container:
        path = join("/", path)
        return self.find(selector).container(path, Spelling(text, path, selector))

    def _bare(self, text: str, selector: str) -> Container:
        """The root of a hierarchy, or a directory in the current one."""
        try:
            return self._spelled(text, selector, "/")
        except NotFound:
            found = None if text.endswith(":") else self._below_a_mount(text)
            if not found:
                raise
        return found

    def _below_a_mount(self, text: str) -> Container | None:
        """The container of a relative directory; None where the current one is below no mount."""
        with contextlib.suppress(NotFound):
            return self._relative(text)
        return None

    def _relative(self, text: str) -> Container:
        check_path("/" + "/".join(word for word in text.split("/") if word not in (".", "..")))
        try:
            start = os.getcwd()
        except OSError as err:
            raise from_oserror(err, f"find the current directory for {text!r}") from err
        return self._directory(text, os.path.join(start, text), start)

    def _directory(self, text: str, directory: str, start: str = "") -> Container:
        directory = self.backend.resolve(directory)
        found = [
            (len(mount.point), tree, mount)
            for tree in self.trees
            for mount in tree.mounts
            if directory == mount.point or directory.startswith(mount.point.rstrip("/") + "/")
        ]
        if not found:
            raise NotFound(
                f"{text!r} is below no mounted hierarchy",
                path=directory,
                hint="list the mounts: pcont hierarchies",
            )
        _, tree, mount = max(found, key=lambda one: one[0])
        path = join(mount.root, directory[len(mount.point) :])
        spelling = Spelling(
            text,
            path,
            directory=mount.point,
            root=mount.root,
            start=start and os.path.realpath(start),
        )
        # The home of a tie stands for the tie; a member is that one tree.
        return self._hierarchy(tree).container(path, spelling)

    def seen_in_ties(self, container: Container) -> Iterator[Container]:
        """Yield a container of a single tree as each tie has it of which this tree is a member."""
        if container.hierarchy.tie or len(container.hierarchy.members) > 1:
            return
        (place,) = container.places
        for tie in self.ties:
            for member in tie.members:
                path = member.inside(place.path) if member.tree.id == place.tree else None
                if path is not None:
                    yield tie.container(path)

    def keepers(self, name: str) -> list[Tree]:
        """The trees where pcont keeps a subsystem, from whatever container on."""
        return [
            tree
            for tree in self.trees
            if tree.mounted and any(one.name == name for one in kept_in(self.backend, tree.id))
        ]

    def known_subsystems(self) -> list[str]:
        """What `mount -o` takes: what the kernel has, and what pcont keeps over it."""
        has = [one.name for one in self.controllers if one.enabled]
        return [*has, *(name for name in self.backend.kept() if _usable(name, has))]

    def kept(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the subsystems that pcont keeps."""
        found = set(self.backend.kept())
        return tuple(name for name in names if name in found)

    def called(self, word: str) -> str:
        """The name of a subsystem that may have another one, too, where the kernel has it not."""
        has = {one.name for one in self.controllers}
        return word if word in has else subsys.called(word)

    def holders(self, names: Iterable[str]) -> list[Tree]:
        """The trees that have one of these subsystems at their roots."""
        wanted = set(names)
        kept = set(self.kept(wanted))
        return [
            tree
            for tree in self.trees
            if wanted & set(tree.controllers) or (kept and kept & set(self._member(tree).kept))
        ]
