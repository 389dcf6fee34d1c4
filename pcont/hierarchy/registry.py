"""Find the hierarchies of this machine by name, controller, path or directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple
from pcont.errors import (
    BadValue,
    BadWord,
    NotFound,
    PcontError,
    UnknownName,
    Unsupported,
    UsageProblem,
    from_oserror,
    similar_words,
)
from pcont.hierarchy.container import TIE, Container, Hierarchy, Member, Tie
from pcont.hierarchy.presence import how_to_mount, inactive
from pcont.kernel.paths import check_path, join
from pcont.kernel.types import LEAF_NAME, UNIFIED, Controller, Place, Spelling, Tree
from pcont.virtual.bindings import Binding, parsed_bindings

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend

ONLY_V2 = "cgroup v2 is mounted and has it"


ITS_CONTAINERS = "the containers of cgroup v2: pcont tree unified:/"
REHEARSE = "--force binds it in v1; --backend model tries it out"


def selector_of(tree: Tree, ours: bool) -> str:
    """Return the selector of a single tree: its name if pcont mounted it (`ours`), its controllers,
    or `name=NAME`; for cgroup v2, its id.
    """
    if tree.is_unified:
        return tree.id
    if tree.name and ours:
        return tree.name
    if tree.controllers:
        return ",".join(tree.controllers)
    return f"name={tree.name}"


def _did_you_mean(text: str) -> str:
    """Return a hint with the probable PLACE, if only a colon or a slash is missing."""
    selector, _, path = text.replace(":/", "/").replace(":", "/").partition("/")
    return f"did you mean {selector}:/{path}" if selector else ""


def _usable(name: str, has: Iterable[str]) -> bool:
    """Return whether pcont can provide a controller, given the controllers of this
    kernel.
    """
    with contextlib.suppress(Unsupported):
        return subsys.requires(name) in ("", *has)
    return False


class OptionString(NamedTuple):
    """The controllers of `pcont mount -o` and `pcont bind`: the text as typed, and its words."""

    text: str
    words: tuple[str, ...]


class Registry:
    """The hierarchies that existed when it was created; find them by name, controller, path or
    directory.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.trees: tuple[Tree, ...] = backend.trees()
        self.by_id = {tree.id: tree for tree in self.trees}
        self._facts: dict[str, Mapping[str, str]] = {}
        self._built: dict[str, Hierarchy] = {}
        self._selected: dict[str, Hierarchy] = {}

    @cached_property
    def controllers(self) -> tuple[Controller, ...]:
        """The controllers that the kernel lists in /proc/cgroups."""
        return self.backend.controllers()

    @cached_property
    def hierarchies(self) -> tuple[Hierarchy, ...]:
        """Every hierarchy: one for each tree of the kernel; the home of a tie represents the whole
        tie.
        """
        return tuple(self._hierarchy(tree) for tree in self.trees)

    def rooted_in(self, tree: str) -> Hierarchy | None:
        """Return the hierarchy whose first tree has this id (for a tie, the home); None if there is
        no such tree.
        """
        return self._hierarchy(self.by_id[tree]) if tree in self.by_id else None

    def _hierarchy(self, tree: Tree) -> Hierarchy:
        if tree.id not in self._built:
            self._built[tree.id] = self._build(tree)
        return self._built[tree.id]

    def _build(self, tree: Tree) -> Hierarchy:
        tie = self._tie(tree)
        if tie is None:
            return self._single(tree)
        members = [self._member(tree)]
        for id in sorted(tie.trees, key=UNIFIED.__eq__):
            if id == UNIFIED:
                members.append(self.unified_member(tie))
            else:
                members.append(self._member(self.by_id.get(id) or inactive(id), tie.at))
        needed = members[-1].tree.controllers if tie.mode else ()
        return Hierarchy(tree.name, tie.subsystems, tuple(members), tie, needed)

    def unified_member(self, tie: Tie) -> Member:
        """Return the member of a tie in cgroup v2. Its tree has the controllers of the tie only."""
        tree = self.by_id.get(UNIFIED) or inactive(UNIFIED)
        names = tuple(name for name in tree.controllers if name in tie.subsystems)
        # Not tree._replace(): the tree of the kernel reads its controllers itself, all of them.
        narrow = Tree(UNIFIED, 0, names, "", tree.mounts)
        return self._member(narrow, tie.root_in(UNIFIED))._replace(mode=tie.mode)

    def _single(self, tree: Tree) -> Hierarchy:
        ours = any(mount.ours for mount in tree.mounts)
        member = self._member(tree)
        return Hierarchy(selector_of(tree, ours), member.subsystems, (member,))

    def _member(self, tree: Tree, at: str = "/") -> Member:
        names = [one.name for one in self._bindings(tree) if one.root.path == at]
        return Member(tree, at, tuple(names))

    def _bindings(self, tree: Tree) -> list[Binding]:
        return parsed_bindings(tree.id, self._attributes(tree))

    def _attributes(self, tree: Tree) -> Mapping[str, str]:
        """Return the attributes of a tree's root; empty if they cannot be read."""
        if tree.id not in self._facts:
            try:
                found = self.backend.attributes(Place.at(tree)) if tree.mounted else {}
            except OSError:
                found = {}
            self._facts[tree.id] = found
        return self._facts[tree.id]

    def _tie(self, tree: Tree) -> Tie | None:
        text = self._attributes(tree).get(TIE) if tree.name else None
        return Tie.load(text) if text else None

    @cached_property
    def ties(self) -> list[Hierarchy]:
        return [self._hierarchy(tree) for tree in self.trees if self._has_tie(tree)]

    def _has_tie(self, tree: Tree) -> bool:
        return bool(tree.name and TIE in self._attributes(tree) and self._hierarchy(tree).tie)

    @property
    def v1_trees(self) -> list[Tree]:
        """The trees without that of cgroup v2."""
        return [tree for tree in self.trees if not tree.is_unified]

    @property
    def names(self) -> list[str]:
        """Every word that selects a hierarchy, for messages."""
        bound = [name for tree in self.v1_trees for name in tree.controllers]
        return [*(one.name for one in self.hierarchies if one.name not in bound), *bound]

    def find(self, selector: str) -> Hierarchy:
        """Return the hierarchy that a SELECTOR means. Several words separated by commas are a tie
        without a name.

        Raises BadWord for an empty word, UnknownName or NotFound if no hierarchy matches, and
        BadValue if the words name one tree at different containers.
        """
        if selector not in self._selected:
            self._selected[selector] = self._select(selector)
        return self._selected[selector]

    def _select(self, selector: str) -> Hierarchy:
        plain = selector.removesuffix("/") if selector.endswith(":/") else selector
        words = list(dict.fromkeys(map(self.called, plain.removesuffix(":").split(","))))
        if not all(words):
            raise BadWord(f"there is an empty word in the selector {selector!r}")
        found = [self._word(word) for word in words]
        if len(found) == 1:
            return found[0]
        members = tuple(dict.fromkeys(member for one in found for member in one.members))
        needed = tuple(dict.fromkeys(name for one in found for name in one.needed))
        if all(one.members == members for one in found):
            return found[0]._replace(needed=needed)
        if len({member.tree.id for member in members}) < len(members):
            raise BadValue(f"{selector!r} names one tree twice, at different containers")
        subsystems = dict.fromkeys(name for one in found for name in one.subsystems)
        return Hierarchy(",".join(words), tuple(subsystems), members, needed=needed)

    def _word(self, word: str) -> Hierarchy:
        for tree in self.trees:
            if tree.name and word in (tree.name, f"name={tree.name}"):
                one = self._hierarchy(tree)
                if one.name == word and (one.tie or word not in one.subsystems):
                    return one
        for tree in self.holders([word]):
            # A virtual subsystem belongs to the whole hierarchy, also if that is a tie.
            return self._hierarchy(tree) if subsys.is_virtual(word) else self._single(tree)
        if found := self._of_v2(word):
            return found
        for tree in self.trees:
            # Also for hierarchies of other programs: the kernel has each name only once.
            if tree.name and (word == f"name={tree.name}" or (word == tree.name and tree.mounted)):
                return self._single(tree)
        raise self._unknown(word)

    def _of_v2(self, word: str) -> Hierarchy | None:
        """Return the hierarchy of cgroup v2, if a word means it or one of its controllers."""
        tree = self.by_id.get(UNIFIED)
        if tree and word == UNIFIED:
            return self._single(tree)
        if tree and word in tree.controllers:
            return self._single(tree)._replace(needed=(word,))
        return None

    def _unknown(self, word: str) -> PcontError:
        unmounted = next((tree for tree in self.trees if tree.name == word), None)
        if unmounted:
            return NotFound(
                f"the hierarchy {word} is active but not mounted",
                hint=how_to_mount(self.backend, unmounted),
            )
        if refused := self._only_on_v2(word):
            return refused
        holders = [one.name for one in self.ties if word in one.subsystems]
        if subsys.is_virtual(word) and holders:
            return NotFound(f"{word} is a part of {', '.join(holders)}", hint=f"{holders[0]}:/")
        if word in self.known_subsystems():
            return UnknownName(f"{word} is bound to no hierarchy", hint=f"pcont mount -o {word}")
        if "/" in word:
            name = word.replace(":", "/").partition("/")[0]
            return UsageProblem(f"a HIERARCHY has no path: {word!r}", hint=f"did you mean {name}")
        if not self.names:
            hint = f"there is none yet: pcont mount --name {word} -o {self.example}"
        elif similar := similar_words(word, self.names):
            hint = f"near: {', '.join(similar)}"
        else:
            hint = f"known: {', '.join(self.names)}"
        return UnknownName(f"there is no hierarchy {word!r}", hint=hint)

    def _only_on_v2(self, word: str) -> PcontError | None:
        """Return the error for a controller that v1 cannot have because cgroup v2 has it."""
        if self.is_io_of_v2(word):
            return NotFound("cgroup v2 calls blkio io", hint="write io:/PATH")
        if any(one.unified and one.name == word for one in self.controllers):
            return Unsupported(f"{word}: {ONLY_V2}", hint=ITS_CONTAINERS)
        return None

    @property
    def example(self) -> str:
        """Controllers for the example `pcont mount` in a hint: those of this kernel that work
        without further settings.
        """
        known = self.known_subsystems()
        return ",".join(name for name in ("cpuset", "cpuacct") if name in known) or "none"

    def place(self, text: str) -> Container:
        """Return the container that a PLACE argument means, which need not exist.

        A PLACE is SELECTOR:/path, a SELECTOR for the root, or a directory below a mount, absolute
        or relative. A SELECTOR takes precedence over a directory of the same name. Raises
        UsageProblem for any other form and for the leaf of a container, and NotFound for a
        directory below no mounted hierarchy.
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
        spelling = Spelling(text, path, selector, "", "/", "", "/")
        found = self.find(selector).container(path, spelling)
        if LEAF_NAME in path:
            _refuse_leaf(found)
        return found

    def _bare(self, text: str, selector: str) -> Container:
        """Return the root of a hierarchy, or else the container of a directory in the
        current one.
        """
        try:
            return self._spelled(text, selector, "/")
        except NotFound:
            found = None if text.endswith(":") else self._below_a_mount(text)
            if not found:
                raise
        return found

    def _below_a_mount(self, text: str) -> Container | None:
        """Return the container of a relative directory; None if the current directory is below no
        mount.
        """
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
        # A directory of the home selects the tie, one of a member only that tree.
        chosen = self._hierarchy(tree).container(path, spelling)
        if LEAF_NAME in path:
            _refuse_leaf(chosen)
        return chosen

    def seen_in_ties(self, container: Container) -> Iterator[Container]:
        """Yield, for a container of a single tree, the same container in each tie that the tree is
        a member of.
        """
        if container.hierarchy.tie or len(container.hierarchy.members) > 1:
            return
        (place,) = container.places
        for tie in self.ties:
            for member in tie.members:
                path = member.inside(place.path) if member.tree.id == place.tree else None
                if path is not None:
                    yield tie.container(path)

    def keepers(self, name: str) -> list[Tree]:
        """Return the mounted trees in which pcont provides a controller, at any
        container.
        """
        return [
            tree for tree in self.trees if any(one.name == name for one in self._bindings(tree))
        ]

    def known_subsystems(self) -> list[str]:
        """Return the names that `pcont mount -o` accepts: the controllers of the kernel, and those
        that pcont provides.
        """
        has = [one.name for one in self.controllers if one.enabled]
        has += [name for name in self.v2_controllers if name not in has]
        return [*has, *(name for name in self.backend.virtual_subsystems() if _usable(name, has))]

    @property
    def v2_controllers(self) -> tuple[str, ...]:
        """Return the controllers of cgroup v2; /proc/cgroups does not list io, which v1 calls
        blkio.
        """
        tree = self.by_id.get(UNIFIED)
        return tree.controllers if tree else ()

    def is_io_of_v2(self, name: str) -> bool:
        """Return whether it is the name of v1 for the controller io of cgroup v2."""
        return name == "blkio" and "io" in self.v2_controllers

    def name_in_v2(self, name: str) -> str:
        """Return what cgroup v2 calls a controller of v1."""
        return "io" if self.is_io_of_v2(name) else name

    def virtual_in(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the names that are controllers which pcont provides."""
        asked = [name for name in names if subsys.is_virtual(name)]
        found = self.backend.virtual_subsystems() if asked else ()
        return tuple(name for name in names if name in found)

    def called(self, word: str) -> str:
        """Return the canonical name of a controller for one of its other names; the word itself if
        the kernel has a controller of that name.
        """
        meant = subsys.called(word)
        if meant != word and any(one.name == word for one in self.controllers):
            return word
        return meant

    def parsed(self, options: str) -> OptionString:
        """Split an option string at its commas, and replace other names of controllers by their
        canonical names.
        """
        return OptionString(options, tuple(map(self.called, options.split(","))))

    def holders(self, names: Iterable[str]) -> list[Tree]:
        """Return the v1 trees that have one of these controllers at their roots."""
        wanted = set(names)
        virtual = set(self.virtual_in(wanted))
        return [
            tree
            for tree in self.v1_trees
            if wanted & set(tree.controllers)
            or (virtual and virtual & set(self._member(tree).virtual))
        ]


def _refuse_leaf(container: Container) -> None:
    """Raise UsageProblem for the leaf of a container of cgroup v2, or what is below one."""
    above = container
    while container.places[-1].is_unified and not above.is_root:
        if above.places[-1].is_leaf:
            raise UsageProblem(
                f"{above.name} has the tasks of {above.parent.name}, and is no container itself",
                hint=f"name {above.parent.name}",
            )
        above = above.parent
